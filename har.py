"""The command line: `python har.py VERB --help`. Each verb is a few lines over the packages.

Knows arguments, and what to say of what was done. Does not know how anything is done. What takes
seconds to import (torch) is imported by the verbs that need it.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data.files import from_environment, home, write_json
from experiments.names import TITLES
from experiments.recipe import add_flags, from_flags
from tracking.arguments import Option, either, file, folder, number, option, switch
from tracking.console import expand_home, run_verb

RESUME = (
    "go on with this run folder, or without RUN with the newest of these settings; an error where "
    "there is none (default: goes on if there is one)"
)
NAMES = f"experiments: {', '.join(TITLES)}"
WHICH = (
    "a run folder, a .pth or .onnx file, an experiment (newest run, else a bundled one), bundled"
)

VERBS: list[tuple[Callable, tuple[Option, ...]]] = []


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status, see `run_verb`."""
    args = _parser().parse_args(argv)
    expand_home(args)
    return run_verb(lambda: args.run(args))


def _verb(*options: Option) -> Callable:
    """Make a function the verb of its name, with these arguments; `data_kth` is `data kth`."""

    def register(run: Callable) -> Callable:
        VERBS.append((run, options))
        return run

    return register


def _recipe_options(verb: ArgumentParser) -> None:
    add_flags(verb.add_argument_group("recipe"))
    verb.add_argument(
        "--record", action="store_true", help="write rows into results/ and the tables of the pages"
    )


def _data_folder(verb: Any) -> None:
    """Take the data's folder by either of two names."""
    default, group = home("Data/KTH-Synth"), verb.add_mutually_exclusive_group()
    text = "the data's folder, <class>/<file> of your own or in KTH's layout (%(default)s)"
    group.add_argument("--data", dest="root", metavar="FOLDER", default=default, help=text)
    group.add_argument("--root", dest="root", metavar="FOLDER", default=default, help="the same")


ROOT = folder("--root", "Data/KTH-Synth")
DATA = (_data_folder, option("--name", "what to call the data in results", dest="data_name"))
SEED = number("--seed", 0)
SEEDS = number("--seeds", [0], nargs="+", metavar="SEED")
RENDERING = (SEED, number("--workers", text="processes (default: one a core that may be used)"))
MEASURING = (
    option("names", "which; all when none is named", nargs="*", metavar="NAME"),
    ROOT,
    option("--real", "real clips to read too (HAR_REAL_CLIPS)", metavar="DIR"),
    file("--imagenet", "ImageNet weights to compare with"),
    option("--elsewhere", "clips <label>/<file> of other places", metavar="DIR"),
    file("--plain", "an encoder that was pre-trained on plain ground"),
    switch("--quick", "a sliver, to see that it works"),
    switch("--no-record", "write nothing into results/"),
)


@_verb(
    folder("--root", "Data/KTH"),
    option(
        "--url", "folder of the zips, for a mirror", default="https://www.csc.kth.se/cvap/actions/"
    ),
    option("--from-zip", "zips fetched by hand; downloads nothing", metavar="DIR"),
)
def data_kth(args: Namespace) -> int:
    """Fetch, check and unpack KTH."""
    from data.download import fetch_kth

    return 0 if fetch_kth(args.root, url=args.url, from_zip=args.from_zip).ok else 1


@_verb(ROOT, number("--segments", 2, "segments a file (%(default)s)"), *RENDERING)
def data_synth(args: Namespace) -> None:
    """Render KTH-Synth."""
    from data.synthetic import render_dataset

    root = render_dataset(args.root, seed=args.seed, segments=args.segments, workers=args.workers)
    _say_rendered("KTH-Synth", root)


@_verb(
    folder("--root", "Data/KTH-Synth-Auxiliary"),
    number("--persons", 400, "how many (%(default)s)"),
    *RENDERING,
)
def data_auxiliary(args: Namespace) -> None:
    """Render the auxiliary training set: many persons of wider variety, one scenario each."""
    from data.synthetic import render_auxiliary

    root = render_auxiliary(args.root, seed=args.seed, persons=args.persons, workers=args.workers)
    _say_rendered("the auxiliary training set", root)


@_verb(
    folder("--root", "Data/KTH-Synth-Others"),
    number("--persons", 6, "how many (%(default)s)"),
    *RENDERING,
)
def data_others(args: Namespace) -> None:
    """Render movements that are none of the six actions, each by so many persons."""
    from data.synthetic import render_others

    root = render_others(args.root, seed=args.seed, persons=args.persons, workers=args.workers)
    _say_rendered("other movements", root)


@_verb(
    option("names", f"{NAMES}; or all", nargs="+", metavar="NAME"),
    *DATA,
    SEEDS,
    _recipe_options,
    option("--log", "log to these too", nargs="+", default=(), choices=("tensorboard", "wandb")),
    either(
        option("--resume", RESUME, nargs="?", const=True, default=False, metavar="RUN"),
        switch("--force", "train anew even if this run is finished"),
    ),
)
def train(args: Namespace) -> None:
    """Train experiments and test them on the test part; under torchrun in several processes."""
    from experiments import run_experiment
    from experiments.table import find_experiment
    from utils import parallel

    names = list(TITLES) if args.names == ["all"] else args.names
    for name in names:
        find_experiment(name)  # before anybody looks at the data
    with parallel.start():
        if parallel.is_main_process():
            _say_what_is_there(args)
        for name in names:
            for seed in args.seeds:
                result = run_experiment(
                    name,
                    root=args.root,
                    data_name=args.data_name,
                    results_dir=home("results") if args.record else None,
                    force=args.force,
                    resume=args.resume,
                    log=args.log,
                    seed=seed,
                    **from_flags(args),
                )
                if parallel.is_main_process():
                    print(f"{result}\n  seed {seed}, {result.about['seconds']} s, {result.run}")
        if args.record and parallel.is_main_process():
            _refresh_tables()


@_verb(
    option("which", WHICH, metavar="RUN_OR_NAME"),
    *DATA,
    option("--person", "who is in a file, where the training was told otherwise, or not at all"),
    option("--split", default="test", choices=("train", "validation", "test", "all")),
    file("--json", "write the evaluation there"),
    switch("--record", "write rows into results/"),
)
def evaluate(args: Namespace) -> None:
    """Evaluate a trained recogniser on a folder."""
    from experiments import evaluate_checkpoint

    result = evaluate_checkpoint(
        args.which,
        args.root,
        split=args.split,
        data_name=args.data_name,
        person=args.person,
        results_dir=home("results") if args.record else None,
    )
    print(result)
    exchanged = result.to_json()
    for action, count in exchanged["per_class"].items():
        print(f"  {action:<14}{count['correct']:>5} / {count['n']}")
    _write_json(args.json, exchanged)
    if args.record:
        _refresh_tables()


@_verb(
    option("names", f"{NAMES}; several are compared", nargs="+", metavar="NAME"),
    *DATA,
    either(
        switch("--official", "the official split, or that of training (default)"),
        number("--folds", text="K folds by subject", metavar="K"),
        switch("--loo", "leave one subject out"),
        number("--repeats", text="N random splits by subject", metavar="N"),
    ),
    number("--seeds", 3, "seeds a fold, 0 to N-1 (%(default)s)", metavar="N"),
    _recipe_options,
    switch("--leakage", "also what a random split of segments would claim"),
    file("--json", "write counts and intervals there"),
)
def crossval(args: Namespace) -> None:
    """Train experiments anew in every fold of persons, and compare them on the same videos."""
    from experiments import crossval
    from experiments import results as kept

    _say_what_is_there(args)
    scheme = crossval.plan_for(
        args.root, person=args.person, folds=args.folds, loo=args.loo, repeats=args.repeats
    )
    recipe, found = from_flags(args), []
    for name in args.names:
        one = crossval.cross_validate(
            name, scheme, root=args.root, data_name=args.data_name, seeds=args.seeds, **recipe
        )
        found.append(one)
        print(f"{one}\n{_by_kind(one)}  {one.run}")
        if args.leakage:
            print(crossval.subject_leakage(name, root=args.root, **recipe))
    pairs = list(kept.comparisons(found))
    for pair in pairs:
        print(pair)
    if args.record and not args.fast:
        rows = [kept.pair_row(pair, found[0]) for pair in pairs]
        kept.record_crossval([row for one in found for row in one.rows()], rows)
        _refresh_tables()
    _write_json(args.json, {one.experiment: one.to_json() for one in found})


def _by_kind(found: Any) -> str:
    """Lay out counts by action, scenario, person and fold, seeds pooled."""
    from evaluation.predictions import UNKNOWN
    from experiments.results import KINDS

    lines = [f"  calibration error of segments {found.calibration_error:.3f}; correct segments by"]
    for kind in KINDS:
        scores = found.by(kind, "segment")
        if scores.keys() == {UNKNOWN}:
            continue
        cells = (f"{name} {score.correct}/{score.n}" for name, score in scores.items())
        lines.append(f"  {kind}: {', '.join(cells)}")
    return "\n".join(lines) + "\n"


EVERY = option(
    "--every", "seconds from one answer to the next (%(default)s)", type=float, default=0.5
)


@_verb(
    option("files", "videos, or folders of them", nargs="+", metavar="FILE_OR_FOLDER"),
    option("--model", WHICH, default="bundled", metavar="RUN_OR_NAME"),
    EVERY,
    number("--top", text="how many classes to list (default: all)"),
    option("--save", "the video with what was seen drawn over it; of several, a folder"),
    option("--timeline", "the timeline as a picture; of several, a folder"),
    option("--explain", "what spoke for the label as a picture; of several, a folder"),
    file("--json", "write everything there"),
    file("--csv", "write a row for each span there"),
)
def predict(args: Namespace) -> int:
    """Name the actions in videos, and when they are done; 1 if some cannot be answered."""
    from experiments.answers import Wanted, answer_all

    options = ("every", "top", "save", "timeline", "explain", "json", "csv")
    wanted = Wanted(**{name: getattr(args, name) for name in options})
    return answer_all(args.model, args.files, wanted, say=_say, complain=_complain)


@_verb(
    option("--camera", "its number, or a file in its stead (%(default)s)", default="0"),
    option("--model", WHICH, default="bundled", metavar="RUN_OR_NAME"),
    EVERY,
    switch("--terminal", "open no window"),
)
def webcam(args: Namespace) -> None:
    """Name the action before a camera as it is done."""
    from experiments import load_recogniser
    from experiments.webcam import watch_camera

    recogniser, window = load_recogniser(args.model), False if args.terminal else None
    for line in watch_camera(recogniser, args.camera, every=args.every, window=window):
        _say(line)


@_verb(option("run_folder", "a finished run's folder", metavar="RUN"), _data_folder)
def report(args: Namespace) -> None:
    """Write the report of a finished run anew."""
    from experiments.reports import report_again

    print(report_again(args.run_folder, args.root))


@_verb(
    option("runs", "two runs to compare; none lists all", nargs="*", metavar="RUN"),
    folder("--runs-dir", "runs", "where they are"),
)
def runs(args: Namespace) -> None:
    """List the runs, newest last, or compare two of them."""
    from tracking.runs import comparison, find_run, list_runs, overview, runs_table

    if not args.runs:
        print(runs_table(list_runs(args.runs_dir)))
        return
    if len(args.runs) != 2:
        raise ValueError(
            f"{len(args.runs)} runs were named; name two to compare them, none to list all"
        )
    print(comparison([overview(find_run(one, args.runs_dir)) for one in args.runs]))


@_verb(
    option("--out", default="models/weights/efficientnet_b0_kth_synth.pth"),
    option("--init", "imagenet (default), random, or a file", default="imagenet"),
    number("--steps", 2400, "batches (default: %(default)s)"),
    option("--cluttered", "share of shots before clutter (%(default)s)", type=float, default=0.5),
    SEED,
)
def pretrain(args: Namespace) -> None:
    """Pre-train the encoder on rendered people and write the weights that are bundled."""
    from experiments.pretraining import pretrain

    init = None if args.init == "random" else args.init
    how = {"seed": args.seed, "steps": args.steps, "cluttered": args.cluttered}
    card = pretrain(Path(args.out), init=init, **how)
    print(json.dumps(card, indent=2))


@_verb(
    option("which", WHICH, metavar="RUN_OR_NAME"),
    file("--onnx", "encoder and head as one ONNX graph"),
    switch("--int8", "with the weights of --onnx in 8 bits"),
    file("--torch-export", "the same by torch.export, a .pt2 file"),
    file("--out", "the head alone, to be bundled (models/weights/recogniser_NAME.pth)"),
)
def export(args: Namespace) -> None:
    """Write a recogniser for elsewhere, or, when no option says how, without its encoder."""
    from experiments.recognisers import export_recogniser, load_recogniser
    from utils.exported import export_onnx, export_torch

    if args.int8 and not args.onnx:
        raise ValueError("--int8 is of an ONNX graph: name its file by --onnx")
    made: list[Path] = []
    if args.onnx or args.torch_export:
        recogniser = load_recogniser(args.which)
        if args.onnx:
            made.append(export_onnx(recogniser, args.onnx, int8=args.int8))
        if args.torch_export:
            made.append(export_torch(recogniser, args.torch_export))
    if args.out or not made:
        made.append(export_recogniser(args.which, out=args.out))
    for path in made:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@_verb(option("--out", "checkpoint", default="models/weights/recogniser_pose.pth"), SEEDS)
def joints(args: Namespace) -> None:
    """Train the classifier of joints on rendered people, without drawing a pixel."""
    from experiments.joints import train_joints

    print(json.dumps(train_joints(Path(args.out), seeds=args.seeds), indent=2))


@_verb(ROOT, folder("--others", "Data/KTH-Synth-Others", "videos of other movements"))
def fuse(args: Namespace) -> None:
    """Train who refuses, and choose on rendered people when the bundled recogniser does."""
    from experiments.fusion import MEMBERS, choose_fusion

    print(json.dumps(choose_fusion(args.root, args.others, members=MEMBERS), indent=2))


@_verb(*MEASURING)
def bench(args: Namespace) -> None:
    """Measure how fast things are, against others and against the bound."""
    from benchmarks.suite import BENCHMARKS, run_benchmark

    _measure("bench", BENCHMARKS, run_benchmark, args)


@_verb(*MEASURING)
def study(args: Namespace) -> None:
    """Answer one question a study: what matters, what carries over to real footage."""
    from experiments.studies import STUDIES, run_study

    _measure("study", STUDIES, run_study, args)


def _measure(kind: str, table: Any, run: Any, args: Namespace) -> None:
    """Run measurements by name, print each and keep its rows as results/<kind>_<name>.csv."""
    from tracking.measurements import as_text, write_rows

    folder, real = home("results"), args.real or from_environment("HAR_REAL_CLIPS")
    named = {name: getattr(args, name) for name in ("imagenet", "elsewhere", "plain")}
    data = {name: path for name, path in {"real": real, **named}.items() if path}
    for name in args.names or table:
        rows = run(name, args.root, quick=args.quick, **data)
        if not (args.no_record or args.quick):
            write_rows(folder / f"{kind}_{name}.csv", rows)
        print(f"{name}: {table[name]}\n{as_text(rows)}\n", flush=True)
    _refresh_tables()


@_verb(switch("--check", "change nothing; exit 1 when stale"))
def results(args: Namespace) -> int:
    """Make the tables of the README and of the pages in results/ and benchmarks/ anew, or check."""
    from experiments import EXPERIMENTS
    from tracking.readmes import check_pages

    if args.check:
        stale = check_pages(home("results"), tuple(EXPERIMENTS))
        print(f"stale tables: {', '.join(stale) or 'none'}")
        return 1 if stale else 0
    print(f"tables made anew: {', '.join(_refresh_tables()) or 'none, all are up to date'}")
    return 0


@_verb(option("path", nargs="?", default="HAR_Human_Action_Recognition.ipynb"))
def notebook(args: Namespace) -> None:
    """Execute a notebook in place, saving after each cell."""
    from tracking.notebook import execute

    cells = execute(args.path)
    print(f"{args.path}: {cells} cells executed")
    _refresh_tables()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="har.py", description="Human action recognition on KTH and KTH-Synth."
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    data = verbs.add_parser("data", help="fetch KTH or render KTH-Synth")
    kinds = data.add_subparsers(title="data sets", required=True, metavar="kth|synth|auxiliary")
    for run, options in VERBS:
        group, _, name = run.__name__.rpartition("_")
        text = str(run.__doc__)
        verb = (kinds if group else verbs).add_parser(name, help=text.rstrip("."), description=text)
        verb.set_defaults(run=run)
        for add_to in options:
            add_to(verb)
    return parser


# saying


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(text: str) -> None:
    print(f"har.py: {text}", file=sys.stderr, flush=True)


def _say_rendered(what: str, root: Path) -> None:
    print(f"{root}: {what}, {sum(1 for _ in root.glob('*/*.avi'))} files")


def _say_what_is_there(args: Namespace) -> None:
    """Describe a folder of one's own; KTH and KTH-Synth are known."""
    from data.survey import survey

    found = survey(args.root, person=args.person)
    if not found.official:
        print(found, flush=True)


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    if path:
        write_json(path, content)
        print(f"written to {path}")


def _refresh_tables() -> list[str]:
    """Keep the tables of the pages in step with results/; return the pages that changed."""
    from experiments import EXPERIMENTS
    from tracking.readmes import write_pages

    return write_pages(home("results"), tuple(EXPERIMENTS))


if __name__ == "__main__":
    sys.exit(main())
