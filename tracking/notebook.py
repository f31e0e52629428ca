"""Executing a notebook in place, cell by cell, so that it can be watched and an interruption loses
one cell at most.

Knows .ipynb files and Jupyter kernels. Does not know what the notebook is about.
"""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm


def execute(path: str | os.PathLike, *, timeout: int | None = None, progress: bool = True) -> int:
    """Run every cell of a notebook in a fresh kernel and save it after each; return the number of
    code cells.

    Args:
        path: The notebook; its folder is the kernel's working folder.
        timeout: Seconds that a single cell may take, None for any time.
        progress: Show a progress bar with the section that is running.

    Raises:
        FileNotFoundError: There is no such notebook.
        ValueError: A cell failed; the message has its number and its error, and what came before is
            saved.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no notebook at {path}")
    os.environ.setdefault(
        "JUPYTER_PREFER_ENV_PATH", "1"
    )  # this environment's kernel, not the user's of that name
    notebook = _cleared(nbformat.read(path, as_version=4))
    folder = {"metadata": {"path": str(path.resolve().parent)}}
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", record_timing=False, resources=folder
    )
    codes = [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]
    with (
        client.setup_kernel(),
        tqdm(codes, desc=path.name, unit="cell", disable=not progress) as bar,
    ):
        for number, index in enumerate(bar, 1):
            bar.set_postfix_str(_heading(notebook, index))
            try:
                client.execute_cell(notebook.cells[index], index, execution_count=number)
            except CellExecutionError as error:
                raise ValueError(
                    f"{path}: code cell {number} of {len(codes)} failed: {error}"
                ) from error
            finally:
                _save(notebook, path)
    return len(codes)


def _cleared(notebook: NotebookNode) -> NotebookNode:
    """Drop old outputs, so that a run that is cut off does not leave a mixture of two."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("execution", None)
    return notebook


def _heading(notebook: NotebookNode, index: int) -> str:
    for cell in reversed(notebook.cells[:index]):
        lines = [line for line in cell.source.splitlines() if line.startswith("#")]
        if cell.cell_type == "markdown" and lines:
            return lines[-1].lstrip("# ")[:40]
    return ""


def _save(notebook: NotebookNode, path: Path) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    os.replace(temporary, path)
