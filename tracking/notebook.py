"""Executing a notebook in place, saved after every cell, so that it can be watched and an
interruption loses one cell at most.

Knows .ipynb files and Jupyter kernels. Does not know what the notebook is about.
"""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from data.files import write_text


def execute(path: str | Path, *, timeout: int | None = None, progress: bool = True) -> int:
    """Run every cell of a notebook in a fresh kernel; return the number of code cells.

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
    # this environment's kernel, not the user's of that name
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.read(path, as_version=4)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in codes:  # a run that is cut off must not leave a mixture of two
        cell.update(outputs=[], execution_count=None)
        cell.metadata.pop("execution", None)  # when it began and ended
    total = sum(bool(cell.source.strip()) for cell in codes)
    bar = tqdm(total=total, desc=path.name, unit="cell", disable=not progress)

    def started(*, cell: NotebookNode, **_: object) -> None:
        headings = [line for line in cell.source.splitlines() if line.startswith("#")]
        if cell.cell_type == "markdown" and headings:
            bar.set_postfix_str(headings[-1].lstrip("# ")[:40])

    def executed(**_: object) -> None:
        write_text(path, nbformat.writes(notebook) + "\n")
        bar.update()

    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        on_cell_start=started,
        on_cell_executed=executed,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    with bar:
        try:
            client.execute()
        except (CellControlSignal, DeadKernelError) as error:
            place = f"code cell {client.code_cells_executed} of {total}"
            raise ValueError(f"{path}: {place} failed: {error}") from error
        finally:
            write_text(path, nbformat.writes(notebook) + "\n")
    return client.code_cells_executed
