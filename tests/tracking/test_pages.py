"""The pages that people read: their sections, links, tables, and the numbers in their prose."""

import csv
import re
from pathlib import Path

import pytest

from experiments.table import EXPERIMENTS
from tests.tracking.claims import prose, unknown_numbers
from tracking.readmes import COMPOSED, MARKER, PAGES, UNMEASURED, check_pages
from tracking.results import METHODS, SHORT

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
READ = (*PAGES, "docs/RUNNING.md", "docs/OWN_CLASSES.md", "LOG.md", "models/weights/README.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# percentages that are no measurements: the level of intervals; thresholds
NOT_MEASURED = {"README.md": {"95 %"}, "results/README.md": {"95 %", "1 %"}}


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_front_page_is_short_and_has_its_sections():
    assert len(README.splitlines()) <= 200
    headings = " / ".join(line for line in README.splitlines() if line.startswith("#")).lower()
    wanted = (
        "summary",
        "structure",
        "quickstart",
        "reproduce",
        "results and observations",
        "common failure modes",
        "next steps",
        "how to cite",
        "licen",
        "contact",
    )
    assert [section for section in wanted if section not in headings] == []
    needed = ("make notebook", "make test", "islam_shahriar@hotmail.com", "Schuldt", "MIT")
    needed += ("torch.save", "open an issue", "R(2+1)D", "I3D", "TimeSformer", "learnpytorch.io")
    assert [text for text in needed if text.lower() not in README.lower()] == []


def test_the_first_number_is_on_the_first_screen():
    first = next(i for i, line in enumerate(README.splitlines()) if "<!-- results:" in line)
    assert first < 36


def slugs(text):
    """The anchors that headings have on a page of a repository."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def leads(page, link):
    """Whether a link of a page leads to a file, and to a heading of it where it names one."""
    path, _, anchor = link.partition("#")
    if "://" in path:
        return True
    target = (ROOT / page).parent / path if path else ROOT / page
    return target.exists() and (not anchor or anchor in slugs(target.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", READ)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    assert [link for link in LINK.findall(text) if not leads(page, link)] == []


@pytest.mark.parametrize("page", READ)
def test_files_that_are_named_exist(page):
    code = "data|models|utils|evaluation|tracking|experiments|benchmarks|tests"
    named = set(re.findall(rf"`((?:{code})(?:/[\w./]+)?(?:\.py)?)`", text_of(page)))
    made = re.compile(r"models/weights/recogniser_\w+")
    missing = [
        name
        for name in named
        if not ((ROOT / name).exists() or (ROOT / f"{name}.py").exists() or made.match(name))
    ]
    assert missing == []


def test_the_tables_say_what_the_results_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert check_pages("results", tuple(EXPERIMENTS)) == [], "run `python har.py results`"


def test_every_results_file_has_its_table_on_some_page():
    shown = {match["name"] for page in PAGES for match in MARKER.finditer(text_of(page))}
    files = {path.stem for path in (ROOT / "results").glob("*.csv")} - {"real_clips"}
    assert files <= shown and set(COMPOSED) <= shown
    assert UNMEASURED not in README


def test_every_row_was_measured_on_committed_code():
    for path in (ROOT / "results").glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            commits = {row.get("commit", "") for row in csv.DictReader(file)}
        assert not [commit for commit in commits if commit.endswith("+")], path.name


def test_every_experiment_is_called_something():
    assert set(EXPERIMENTS) <= set(METHODS) and set(SHORT) <= set(METHODS)
    assert len(set(METHODS.values())) == len(METHODS)


@pytest.mark.parametrize("page", PAGES)
def test_the_numbers_in_the_prose_are_in_the_results(page):
    allowed = NOT_MEASURED.get(page, ())
    assert unknown_numbers(text_of(page), ROOT / "results", allowed) == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("It has 97 of 216 videos.", ["97 of 216"]),
        ("211 209 209 of 216, or 211, 209 and 209 of the 216", []),
        ("211 209 17 of 216", ["211 209 17 of 216"]),
        ("97.1 ± 0.5 % of 216 [96.0, 98.6]", []),
        ("97.1 ± 4.4 %", []),  # a deviation of real clips
        ("96.9 ± 9.9 %, 12.34 %", ["96.9 ± 9.9 %", "12.34 %"]),
        ("+2.7 percentage points [+1.2, +4.1]", []),
        ("9.9 points [+0.7, +9.6]", ["9.9 points", "[+0.7, +9.6]"]),
        ("[subject-level 94.9, 17.3]", ["[subject-level 94.9, 17.3]"]),
        ("`3 of 9` and\n```\n1 of 9\n```\n<!-- 2 of 9 --> [link](4 of 9)", []),
        ("<!-- results:a -->\n5 of 9\n<!-- /results:a -->\nabout 3 %", []),
    ],
)
def test_numbers_are_told_apart(text, unknown):
    assert unknown_numbers(text, ROOT / "results", allowed=("3 %",)) == unknown


def test_prose_is_one_line():
    assert prose("a\n\n- b `c`\n[d](e.md)") == "a - b [d"
