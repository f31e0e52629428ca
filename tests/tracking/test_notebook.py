"""The notebook: every cell runs in fast mode, and the committed file is one clean run without
residue; notebooks in other folders, which import this code."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from data.synthetic.dataset import render_dataset
from experiments.table import EXPERIMENTS
from tests.tracking.claims import unknown_numbers
from tracking import results as tracking
from tracking.notebook import execute
from tracking.readmes import composed

ROOT = Path(__file__).resolve().parents[2]
STORY = "HAR_Human_Action_Recognition.ipynb"
NOTEBOOKS = (STORY, "HAR_Synthetic_to_Real.ipynb")
# percentages that are no measurements: chance of six classes, the level of intervals, what others
# published, shares that the text defines
NOT_MEASURED = {"16.7 %", "95 %", "71.7 %"}
# (cells, words of prose, bytes, most bytes of a picture)
MOST = (60, 4000, 2_600_000, 150_000)


@pytest.fixture(params=NOTEBOOKS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def cells(name):
    return cells_of(ROOT / name)


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def sources(cells, kind):
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def outputs(cells, kind):
    """Everything of one kind, such as text/plain, that the cells' outputs hold."""
    for cell in cells:
        for output in cell.get("outputs", []):
            yield "".join(output.get("data", {}).get(kind, output.get("text", "")))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs_in_fast_mode(tmp_path, monkeypatch, name):
    """A copy in a folder of its own: its runs and caches must not meet the reader's."""
    synth = render_dataset(
        tmp_path / "Data" / "KTH-Synth",
        persons=(11, 12, 19, 20, 22, 2),
        scenarios=(1,),
        progress=False,
        workers=1,
    )
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copytree(ROOT / "models" / "weights", tmp_path / "models" / "weights")
    copy = Path(shutil.copy(ROOT / name, tmp_path))
    monkeypatch.setenv("HAR_FAST", "1")
    monkeypatch.setenv("HAR_SYNTH_ROOT", str(synth))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ran = execute(copy, timeout=400, progress=False)
    assert ran == len(sources(cells_of(copy), "code")) > 15
    if name == STORY:
        assert any((tmp_path / "runs" / "fast").glob("gru-*/result.json"))


def test_it_was_committed_after_one_clean_run(cells):
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for cell in cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error" and output.get("name") != "stderr", output
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_the_time_it_says_is_the_time_its_cells_took(cells):
    """Of the run that is committed, and not of one that found everything there."""
    [minutes] = re.findall(r"wall time of this notebook: ([\d.]+) minutes", printed_text(cells))
    took = timedelta()
    for cell in cells:
        if times := cell["metadata"].get("execution"):
            started, ended = (
                datetime.fromisoformat(times[f"iopub.{what}"].replace("Z", "+00:00"))
                for what in ("execute_input", "status.idle")
            )
            took += ended - started
    imports = 0.5  # minutes, before its clock starts
    assert 0 < took.total_seconds() / 60 <= float(minutes) + imports


def printed_text(cells):
    return "\n".join(outputs(cells, "text/plain"))


def only_imports(text):
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(text).body)


def test_it_is_short_and_shows_its_code(name, cells):
    most_cells, most_words, most_bytes, most_picture = MOST
    prose_cells, code = sources(cells, "markdown"), sources(cells, "code")
    assert len(cells) <= most_cells and sum(len(text.split()) for text in prose_cells) <= most_words
    assert (ROOT / name).stat().st_size <= most_bytes
    for picture in outputs(cells, "image/png"):
        assert len(picture) * 3 / 4 <= most_picture
    assert all(len(text.splitlines()) <= 20 for text in code if not only_imports(text))
    assert not any(word in text for text in code for word in ("!pip", "%%writefile", "\nclass "))
    for text in code:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 5, f"{node.name} belongs into a module"


def test_every_picture_is_told_in_words(cells):
    for cell in cells:
        pictures = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        assert not pictures or len(cell["metadata"].get("alt", "").split()) >= 8, cell["source"]


def test_its_tables_say_what_the_results_say(cells):
    """A part of a file's rows may be laid out otherwise than all of them: numbers are compared."""
    now = {
        number
        for path in (ROOT / "results").glob("*.csv")
        if path.stem != "real_clips"
        for number in numbers_in(tracking.make_table(path.stem, tracking.read_results(path)))
    }
    now |= numbers_in(composed("summary", ROOT / "results", tuple(EXPERIMENTS)))
    shown = [
        line
        for cell in cells
        if "results." in "".join(cell["source"])
        for line in "".join(outputs([cell], "text/markdown")).splitlines()
        if line.startswith("| ")
    ]
    assert len(shown) > 20
    assert [line for line in shown if not numbers_in(line) <= now] == [], (
        "run `make notebooks`: results have changed since"
    )


def numbers_in(text):
    """Counts of seeds such as "373 369 369" are one; a space that does not break is a space."""
    plain = text.replace("\xa0", " ")
    return set(re.findall(r"\d[\d.,]*(?: \d+)*", plain))


def test_the_numbers_in_its_prose_are_in_its_outputs_or_in_the_results(cells):
    shown = " ".join([*outputs(cells, "text/plain"), *outputs(cells, "text/markdown")])
    text = "\n\n".join(sources(cells, "markdown"))
    unknown = unknown_numbers(text, ROOT / "results", NOT_MEASURED)
    assert [claim for claim in unknown if claim.removesuffix(" %") not in shown] == []


def test_each_idea_has_a_hypothesis_before_it_runs():
    story = "\n".join("".join(cell["source"]) for cell in cells_of(ROOT / STORY))
    places = [
        story.index(f'"{name}"', story.index("## Idea 1"))
        for name in ("ghost", "middle", "average", "gru", "stacked")
    ]
    assert places == sorted(places)
    headings = [found.start() for found in re.finditer(r"^## Idea \d", story, re.MULTILINE)]
    assert len(headings) == 5
    for start in headings:
        assert "**Hypothesis" in story[start : story.index("run(", start)]


def make_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def printed(notebook):
    return [output["text"] for cell in notebook.cells for output in cell.get("outputs", [])]


def test_a_failing_cell_is_named_and_what_came_before_is_kept(tmp_path):
    path = make_notebook(tmp_path / "broken.ipynb", "print('first')", "", "1 / 0", "print('never')")
    notebook = nbformat.read(path, 4)
    notebook.cells[3].outputs = notebook.cells[0].outputs = [
        nbformat.v4.new_output("stream", text="of an old run")
    ]
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match=r"(?s)broken\.ipynb: code cell 2 of 3.*ZeroDivisionError"):
        execute(path, progress=False)
    first, _, failed, never = nbformat.read(path, 4).cells
    assert [output["text"] for output in first.outputs] == ["first\n"]
    assert failed.outputs[0]["ename"] == "ZeroDivisionError"
    assert (first.execution_count, failed.execution_count) == (1, 2)
    assert never.outputs == [] and never.execution_count is None
    assert list(tmp_path.iterdir()) == [path]


def test_a_notebook_runs_in_its_folder_and_is_saved_after_every_cell(tmp_path, capsys):
    """The second cell looks at the file and finds the first cell's output in it."""
    path = make_notebook(
        tmp_path / "look.ipynb",
        "print('fir' + 'st')",
        "print('first' in open('look.ipynb').read())",
    )
    notebook = nbformat.read(path, 4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("text\n## The section"))
    nbformat.write(notebook, path)
    assert execute(path) == 2
    assert printed(nbformat.read(path, 4)) == ["first\n", "True\n"]
    bar = capsys.readouterr().err
    assert "look.ipynb" in bar and "2/2" in bar and "The section" in bar


def test_a_kernel_that_dies_and_a_cell_that_takes_too_long_are_named(tmp_path):
    path = make_notebook(tmp_path / "a.ipynb", "1", "import os; os._exit(1)")
    with pytest.raises(ValueError, match="code cell 2 of 2 failed: .*died"):
        execute(path, progress=False)
    path = make_notebook(tmp_path / "b.ipynb", "import time; time.sleep(60)")
    with pytest.raises(ValueError, match="(?s)code cell 1 of 1 failed: .*timed out"):
        execute(path, timeout=1, progress=False)


def test_a_notebook_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebook at .*a.ipynb"):
        execute(tmp_path / "a.ipynb")


IMPORTS = """\
import models.backbone, models.temporal, utils.data_setup, utils.engine, utils.viz
from data.files import home
print(utils.viz.__file__, home("runs"), sep="\\n")"""


def test_the_kernel_imports_this_code_in_any_folder(tmp_path, monkeypatch):
    """Installed as `make kernel` does it, into a folder that Jupyter looks into."""
    spec = tmp_path / "prefix" / "share" / "jupyter"
    chosen = [f"RUN={sys.executable}", f"KERNEL_AT=--prefix={tmp_path / 'prefix'}", "VENV=.venv"]
    command = ["make", "-C", str(ROOT), "-o", ".venv/.core", "kernel", *chosen]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(command, check=True, capture_output=True, env=outer)
    assert json.loads((spec / "kernels" / "har-kth" / "kernel.json").read_text())["env"] == {
        "PYTHONPATH": str(ROOT),
        "HAR_HOME": str(ROOT),
    }
    monkeypatch.setenv("JUPYTER_PATH", str(spec))
    for name in ("PYTHONPATH", "HAR_HOME"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(IMPORTS)])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="har-kth", resources=resources).execute()
    assert printed(notebook) == [f"{ROOT / 'utils' / 'viz' / '__init__.py'}\n{ROOT / 'runs'}\n"]


@pytest.mark.slow
def test_one_line_of_path_does_the_same_in_any_kernel(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "HAR_HOME"):
        monkeypatch.delenv(name, raising=False)
    line = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    path = make_notebook(tmp_path / "elsewhere.ipynb", line, IMPORTS)
    assert execute(path, progress=False) == 2
    assert printed(nbformat.read(path, 4)) == [f"{ROOT / 'utils' / 'viz' / '__init__.py'}\nruns\n"]
