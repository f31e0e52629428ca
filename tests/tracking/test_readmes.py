"""Tables of README files: written between markers, and checked."""

import pytest

from tests.tracking.test_results import row
from tracking import readmes
from tracking.results import append_result


def page(tmp_path, *names):
    path = tmp_path / "README.md"
    tables = "".join(f"<!-- results:{name} -->\nold\n<!-- /results:{name} -->\n" for name in names)
    path.write_text(f"before\n{tables}after\n")
    return path


def test_tables_are_written_between_the_markers_and_drift_is_seen(tmp_path):
    readme, results = page(tmp_path, "kth-synth", "kth"), tmp_path / "results"
    for name in ("kth-synth", "kth"):
        append_result(results / f"{name}.csv", row(data=name))
    assert readmes.check_tables(readme, results) == ["kth-synth", "kth"]
    assert readmes.write_tables(readme, results)
    assert not readmes.write_tables(readme, results)
    assert readmes.check_tables(readme, results) == []
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    append_result(results / "kth.csv", row(data="kth", correct=7, accuracy=0.875))
    assert readmes.check_tables(readme, results) == ["kth"]
    assert list(results.iterdir()) and text == readme.read_text()


def test_a_marker_without_rows_says_so(tmp_path):
    readme = page(tmp_path, "study_x")
    assert readmes.write_tables(readme, tmp_path)
    assert f"{readmes.UNMEASURED}: there is no `results/study_x.csv`.\n" in readme.read_text()
    assert readmes.check_tables(readme, tmp_path) == []


def test_all_pages_that_are_there_are_filled_and_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    append_result("results/kth.csv", row(data="kth"))
    front = page(tmp_path, "kth")
    (tmp_path / "results" / "README.md").write_text(front.read_text())
    stale = ["README.md: kth", "results/README.md: kth"]
    assert readmes.check_pages("results") == stale
    assert readmes.write_pages("results") == ["README.md", "results/README.md"]
    assert readmes.write_pages("results") == readmes.check_pages("results") == []


def test_a_page_whose_results_are_damaged_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page(tmp_path, "kth").read_text()
    append_result("results/kth.csv", row(data="kth", accuracy=float("nan")))
    with pytest.warns(UserWarning, match=r"README\.md stay as they are: .*accuracy is 'nan'"):
        assert readmes.write_pages("results") == []
    assert (tmp_path / "README.md").read_text() == text


def test_a_marker_without_an_end_is_an_error(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results:kth -->\n")
    with pytest.raises(ValueError, match="1 results markers are opened and 0 closed"):
        readmes.check_tables(readme, tmp_path)
