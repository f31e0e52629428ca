"""The notebook: every cell runs in fast mode, and the committed file is one clean run without
residue."""

import json
import shutil
from pathlib import Path

import pytest

from data.synthetic.dataset import render_dataset
from experiments.training import EXPERIMENTS
from tracking import results as tracking
from tracking.notebook import execute

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "HAR_Human_Action_Recognition.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def sources(cells, kind):
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_every_cell_runs_in_fast_mode(tmp_path, monkeypatch):
    """A copy in a folder of its own: its runs and caches must not meet the reader's."""
    synth = render_dataset(
        tmp_path / "Data" / "KTH-Synth",
        persons=(11, 12, 19, 20, 22, 2),
        scenarios=(1,),
        progress=False,
        workers=1,
    )
    shutil.copytree(ROOT / "results", tmp_path / "results")
    copy = Path(shutil.copy(NOTEBOOK, tmp_path))
    monkeypatch.setenv("HAR_FAST", "1")
    monkeypatch.setenv("HAR_SYNTH_ROOT", str(synth))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ran = execute(copy, timeout=240, progress=False)
    assert ran == len(sources(json.loads(copy.read_text(encoding="utf-8"))["cells"], "code")) > 20
    assert any((tmp_path / "runs" / "fast").glob("gru-*/result.json"))


def test_it_was_committed_after_one_clean_run(cells):
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for cell in cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error" and output.get("name") != "stderr", output
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_it_is_an_article(cells):
    assert NOTEBOOK.stat().st_size < 5e6
    code = sources(cells, "code")
    assert len(sources(cells, "markdown")) >= 0.8 * len(code)
    assert all(len(text.splitlines()) <= 16 for text in code)
    assert not any(word in text for text in code for word in ("!pip", "%%writefile", "\nclass "))


def test_its_tables_say_what_the_results_say(cells):
    tables = []
    for path in (ROOT / "results").glob("*.csv"):
        rows = tracking.read_results(path)
        if path.name.startswith("bench_"):
            tables.append(tracking.bench_table(rows))
        elif path.name.startswith("pairs-"):
            tables.append(tracking.pairs_table(rows))
        elif set(tracking.COLUMNS) <= set(rows[0]):
            tables.append(tracking.results_table(rows, order=tuple(EXPERIMENTS)))
    now = set("\n".join(tables).splitlines())
    shown = [
        line
        for cell in cells
        if "_table(" in "".join(cell["source"])
        for output in cell.get("outputs", [])
        for line in "".join(output.get("data", {}).get("text/markdown", "")).splitlines()
        if line.startswith("| ")
    ]
    assert len(shown) > 60
    assert [line for line in shown if line not in now] == [], (
        "run `make notebook`: results have changed since"
    )


def test_the_ideas_come_in_order_and_each_is_predicted_before_it_runs(cells):
    story = "\n".join("".join(cell["source"]) for cell in cells)
    places = [
        story.index(f'run("{name}", seed)')
        for name in ("ghost", "middle", "average", "gru_uniform", "gru")
    ]
    assert places == sorted(places)
    for start, end in zip([0, *places], places, strict=False):
        assert "**Prediction.**" in story[start:end]


def test_a_failing_cell_is_named_and_what_came_before_is_kept(tmp_path):
    import nbformat

    path = tmp_path / "broken.ipynb"
    code = [nbformat.v4.new_code_cell(source) for source in ("print('first')", "1 / 0")]
    notebook = nbformat.v4.new_notebook(cells=code)
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match="(?s)code cell 2 of 2.*ZeroDivisionError"):
        execute(path, progress=False)
    assert "first" in json.dumps(nbformat.read(path, 4).cells[0].outputs)
