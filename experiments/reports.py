"""The report of a run: written when it is finished, and anew whenever somebody asks.

Knows a run's folder, its result and the folder of its data. Does not know how it was trained.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import DEFAULT, place
from data.kth import Segment, find_segments
from data.schema import check
from experiments.results import Result
from tracking import report, runs
from tracking.page import HTML, write_report
from utils.checkpoint import load_checkpoint

# what a report says of a run's configuration
CONFIG = {
    "experiment": {"whole_file": bool},
    "data": {"files": int, "hash": str},
    "backbone": str,
    "recipe": {"person?": (str, None)},
}


def write_run_report(
    result: Result,
    segments: Sequence[Segment],
    extra: runs.Config,
    config: runs.Config,
) -> tuple[list[report.Mistake], Mapping[str, Any]]:
    """Write the report into the run's folder; return the mistakes and figures in it."""
    mistakes = report.find_mistakes(result.predictions, segments)
    figures = report.make_figures(result.experiment, result.predictions, result.history)
    origin = {
        "run": Path(result.run).name,
        **result.about,
        "data files": config["data"]["files"],
        "data hash": config["data"]["hash"],
        "backbone weights": config["backbone"],
        **{f"version of {name}": version for name, version in extra.get("versions", {}).items()},
    }
    sections = report.make_sections(
        result.predictions,
        result.history,
        mistakes,
        figures,
        about={name: getattr(result, name) for name in ("experiment", "data", "split")},
        config=config,
        origin=origin,
        headline=str(result),
    )
    title = f"{result.experiment} on {result.data}, {result.split} split"
    try:
        write_report(result.run, title, sections)
    except OSError as error:
        said = f"no report of {result.run} could be written ({error}); its result is kept"
        warnings.warn(said, stacklevel=3)
    return mistakes, figures


def report_again(which: str | Path, root: str | Path = DEFAULT) -> Path:
    """Make report.html and report.json of a finished run anew and return the page.

    Frames of mistakes are read from the data set under root; where they are not, the report says
    so.

    Raises:
        FileNotFoundError: `which` is no finished run's folder.
        ValueError: It is the folder of a cross-validation, whose page is made by cross-validating.
    """
    run = runs.RunFolder(which)
    if not run.finished:
        raise FileNotFoundError(
            f"{which} is no folder of a finished run; `python har.py runs` lists those there are"
        )
    if "scheme" in run.config:
        raise ValueError(
            f"{which} is the folder of a cross-validation; its page is {run.path / HTML}, made "
            "anew by the same `python har.py crossval` command, which trains nothing again"
        )
    result, config = Result.of_run(run), run.config
    check(config, CONFIG, str(run.path / "config.json"))
    try:
        segments = find_segments(
            place(root, "Data/KTH-Synth"),
            whole_files=config["experiment"]["whole_file"],
            person=config["recipe"].get("person"),
        )
    except FileNotFoundError:
        segments = []
    write_run_report(result, segments, load_checkpoint(run.best)["extra"], config)
    return run.path / HTML
