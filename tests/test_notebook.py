"""A notebook is executed in place; what was finished when a cell fails is in the file."""

import nbformat
import pytest

from utils import notebook


def write(path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# Chapter one")]
    old = nbformat.v4.new_output("stream", text="old")
    cells += [nbformat.v4.new_code_cell(source, outputs=[old], execution_count=9) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    return [("".join(o.get("text", o.get("ename", "")) for o in c.outputs), c.execution_count) for c in cells[1:]]


def test_cells_run_in_order_in_the_notebooks_folder(tmp_path):
    path = write(tmp_path / "a.ipynb", "x = 2", "print(x + 1)", "import os; print(os.path.basename(os.getcwd()))")
    assert notebook.execute(path, progress=False) == 3
    assert outputs(path) == [("", 1), ("3\n", 2), (f"{tmp_path.name}\n", 3)]
    assert "execution" not in nbformat.read(path, as_version=4).cells[2].metadata
    assert list(tmp_path.glob("*.part")) == []


def test_a_failing_cell_is_named_and_what_came_before_is_kept(tmp_path):
    path = write(tmp_path / "a.ipynb", "print('done')", "1 / 0", "print('never')")
    with pytest.raises(RuntimeError, match=r"(?s)code cell 2 of 3 failed.*ZeroDivisionError"):
        notebook.execute(path, progress=False)
    assert outputs(path) == [("done\n", 1), ("ZeroDivisionError", 2), ("", None)]


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.ipynb"):
        notebook.execute(tmp_path / "b.ipynb")
