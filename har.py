"""The command line: `python har.py VERB --help`. Each verb is a few lines over experiments, data
and utils.

Knows arguments, and how to say what happened. Does not know how anything is done. What takes
seconds to import (torch) is imported by the verbs that need it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

README, RESULTS = Path("README.md"), Path("results")
HERE = Path(__file__).resolve().parent
FAULT = "this is a fault of the program, not yours: please report it with the lines above"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status: 0, 1 for an error, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            return int(arguments.run(arguments) or 0)
    except KeyboardInterrupt:
        print(
            "interrupted: what was finished stays, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except ModuleNotFoundError as error:
        remedy = (
            ""
            if "pip install" in str(error)
            else f": `pip install -r requirements.txt` into {sys.executable}"
        )
        print(f"har.py: {error}{remedy}", file=sys.stderr)
        return 1
    except Exception as error:
        if _is_meant_for_users(error):
            print(f"har.py: {str(error) or type(error).__name__}", file=sys.stderr)
        else:
            traceback.print_exc()
            print(f"har.py: {FAULT}", file=sys.stderr)
        return 1


def _is_meant_for_users(error: Exception) -> bool:
    """Tell whether the message alone helps: it names a file, a connection, numbers that ran away,
    or a wrong value.

    A wrong value is the user's only where code of ours refuses it; a ValueError out of a library is
    a fault of ours.
    """
    if not isinstance(error, ValueError):
        return isinstance(error, (OSError, FloatingPointError))
    last = traceback.extract_tb(error.__traceback__)[-1]
    refused_here = _is_ours(last.filename) and (last.line or "").startswith("raise ")
    home = getattr(
        sys.modules.get(type(error).__module__), "__file__", None
    )  # a worker's error is raised elsewhere
    return refused_here or (home is not None and _is_ours(home))


def _is_ours(file: str) -> bool:
    """Tell whether a file is this project's own; an environment within the checkout is not."""
    path = Path(file).resolve()
    return path.is_relative_to(HERE) and "site-packages" not in path.relative_to(HERE).parts


# verbs


def data_kth(arguments: argparse.Namespace) -> int:
    """Fetch, check and unpack KTH."""
    from data.download import fetch_kth

    return 0 if fetch_kth(arguments.root, url=arguments.url, from_zip=arguments.from_zip).ok else 1


def data_synth(arguments: argparse.Namespace) -> None:
    """Render KTH-Synth."""
    from data.synthetic.dataset import render_dataset

    root = render_dataset(
        arguments.root, seed=arguments.seed, segments=arguments.segments, workers=arguments.workers
    )
    print(f"{root}: KTH-Synth, {sum(1 for _ in root.glob('*/*.avi'))} files")


def data_crowd(arguments: argparse.Namespace) -> None:
    """Render the crowd: many persons of wider variety, one scenario each, to train on and nothing
    else."""
    from data.synthetic.dataset import render_crowd

    root = render_crowd(
        arguments.root, seed=arguments.seed, persons=arguments.persons, workers=arguments.workers
    )
    print(f"{root}: the crowd, {sum(1 for _ in root.glob('*/*.avi'))} files")


def train(arguments: argparse.Namespace) -> None:
    """Train experiments and measure them on the test persons; under torchrun in several
    processes."""
    from experiments.training import EXPERIMENTS, run_experiment
    from utils import parallel

    names = list(EXPERIMENTS) if arguments.names == ["all"] else arguments.names
    recipe = _recipe(arguments)
    with parallel.start():
        for name in names:
            for seed in arguments.seeds:
                result = run_experiment(
                    name,
                    root=arguments.root,
                    data_name=arguments.data,
                    seed=seed,
                    force=arguments.force,
                    resume=arguments.resume,
                    results_dir=None if arguments.no_record else RESULTS,
                    log=arguments.log,
                    **recipe,
                )
                if parallel.is_main_process():
                    print(f"{result}\n  seed {seed}, {result.about['seconds']} s, {result.run}")
        if parallel.is_main_process():
            _refresh_tables()


def _recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collect the fields of a recipe that the command line names; a number of 0 is named too."""
    told = ("weights", "epochs", "fast", "fine_tune", "mirrored", "extra_root", "every_window")
    given = {name: getattr(arguments, name, None) for name in told}
    recipe = {
        name: value for name, value in given.items() if value is not None and value is not False
    }
    return recipe | ({"weights": None} if arguments.weights == "random" else {})


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure a trained recogniser on a folder."""
    from experiments.training import evaluate_checkpoint

    result = evaluate_checkpoint(
        arguments.which,
        arguments.root,
        split=arguments.split,
        data_name=arguments.data,
        results_dir=RESULTS if arguments.record else None,
    )
    print(result)
    for action, count in result.per_class.items():
        print(f"  {action:<14}{count['correct']:>5} / {count['n']}")
    _write_json(arguments.json, result.to_json())
    if arguments.record:
        _refresh_tables()


def crossval(arguments: argparse.Namespace) -> None:
    """Train experiments anew in every fold of persons, and compare them on the same videos."""
    from experiments.crossval import comparisons, cross_validate, leak, pair_row, persons_in, plan
    from tracking.results import append_pair, append_result, results_path

    scheme = plan(
        persons_in(arguments.root),
        folds=arguments.folds,
        loo=arguments.loo,
        repeats=arguments.repeats,
    )
    recipe, recorded, results = _recipe(arguments), not (arguments.no_record or arguments.fast), []
    for name in arguments.names:
        found = cross_validate(
            name,
            scheme,
            root=arguments.root,
            data_name=arguments.data,
            seeds=arguments.seeds,
            **recipe,
        )
        results.append(found)
        print(f"{found}\n{_by_group(found)}  {found.run}")
        if arguments.leak:
            print(leak(name, root=arguments.root, **recipe))
        if recorded:
            for row in found.rows():
                append_result(results_path(f"crossval {found.data}", RESULTS), row)
    for pair in comparisons(results):
        print(pair)
        if recorded:
            append_pair(
                results_path(f"pairs {results[0].data}", RESULTS), pair_row(pair, results[0])
            )
    _write_json(arguments.json, {found.experiment: found.to_json() for found in results})
    _refresh_tables()


def _by_group(found: Any) -> str:
    """Lay out accuracies by action, scenario, person and fold, seeds pooled."""
    lines = [f"  calibration error of segments {found.calibration_error:.3f}; segments right by"]
    for kind, counts in found.tables("segment").items():
        cells = (f"{name} {count['correct']}/{count['n']}" for name, count in counts.items())
        lines.append(f"  {kind}: {', '.join(cells)}")
    return "\n".join(lines) + "\n"


def predict(arguments: argparse.Namespace) -> None:
    """Name the action in a video file."""
    from experiments.training import load_recogniser
    from utils.predict import predict_video

    prediction = predict_video(load_recogniser(arguments.model), arguments.file)
    print(f"{prediction.file}: {prediction.label}")
    for action, probability in sorted(prediction.probs.items(), key=lambda item: -item[1]):
        print(f"  {action:<14}{probability:>7.1%}")
    _write_json(arguments.json, prediction.to_json())


def report(arguments: argparse.Namespace) -> None:
    """Write the report of a finished run anew."""
    from experiments.training import report_again

    print(report_again(arguments.run_folder, arguments.root))


def runs(arguments: argparse.Namespace) -> None:
    """List the runs, newest last, or compare two of them."""
    from tracking.runs import comparison, find_run, list_runs, overview, runs_table

    if not arguments.runs:
        print(runs_table(list_runs(arguments.runs_dir)))
        return
    if len(arguments.runs) != 2:
        raise ValueError(
            f"{len(arguments.runs)} runs were named; name two to compare them, none to list all"
        )
    print(comparison([overview(find_run(which, arguments.runs_dir)) for which in arguments.runs]))


def pretrain(arguments: argparse.Namespace) -> None:
    """Teach the backbone on rendered people and write the weights that are bundled."""
    from experiments.pretraining import pretrain as teach

    init: Any = None if arguments.init == "random" else arguments.init
    print(
        json.dumps(
            teach(Path(arguments.out), init=init, seed=arguments.seed, steps=arguments.steps),
            indent=2,
        )
    )


def export(arguments: argparse.Namespace) -> None:
    """Write a run's recogniser without its backbone, to be bundled."""
    from experiments.training import export_recogniser

    path = export_recogniser(arguments.which, out=arguments.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def bench(arguments: argparse.Namespace) -> None:
    """Measure how fast things are, against others and against the bound."""
    from benchmarks.suite import PARTS, as_text, run_part

    for name in arguments.parts or PARTS:
        rows = run_part(
            name,
            arguments.root,
            real=arguments.real,
            imagenet=arguments.imagenet,
            quick=arguments.quick,
            results_dir=None if arguments.no_record else RESULTS,
        )
        print(f"{name}: {PARTS[name]}\n{as_text(rows)}\n", flush=True)
    _refresh_tables()


def results(arguments: argparse.Namespace) -> int:
    """Make the tables of the README anew, or check them."""
    from experiments.training import EXPERIMENTS
    from tracking.results import check_tables, write_tables

    if arguments.check:
        stale = check_tables(README, RESULTS, tuple(EXPERIMENTS))
        print(f"stale tables in {README}: {', '.join(stale) or 'none'}")
        return 1 if stale else 0
    changed = write_tables(README, RESULTS, tuple(EXPERIMENTS))
    print(f"{README}: {'tables made anew' if changed else 'tables are up to date'}")
    return 0


def notebook(arguments: argparse.Namespace) -> None:
    """Execute a notebook in place, saving after each cell."""
    from tracking.notebook import execute

    cells = execute(arguments.path)
    print(f"{arguments.path}: {cells} cells executed")
    _refresh_tables()


# arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="har.py", description="Human action recognition on KTH and KTH-Synth."
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _data_arguments(verbs)
    _training_arguments(verbs)
    _using_arguments(verbs)
    _article_arguments(verbs)
    return parser


def _data_arguments(verbs: Any) -> None:
    data = verbs.add_parser("data", help="fetch KTH or render KTH-Synth")
    kinds = data.add_subparsers(title="data sets", required=True, metavar="kth|synth|crowd")
    kth = _verb(kinds, "kth", data_kth)
    kth.add_argument(
        "--root", default="Data/KTH", help="where the videos go (default: %(default)s)"
    )
    kth.add_argument(
        "--url",
        default="https://www.csc.kth.se/cvap/actions/",
        help="folder of the zips, for a mirror",
    )
    kth.add_argument(
        "--from-zip", metavar="DIR", help="folder of zips fetched by hand; nothing is downloaded"
    )
    synth = _verb(kinds, "synth", data_synth)
    synth.add_argument(
        "--root", default="Data/KTH-Synth", help="where the videos go (default: %(default)s)"
    )
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument(
        "--segments", type=int, default=2, help="segments a file (default: %(default)s)"
    )
    synth.add_argument("--workers", type=int, help="processes (default: one a core)")
    crowd = _verb(kinds, "crowd", data_crowd)
    crowd.add_argument(
        "--root", default="Data/KTH-Synth-Crowd", help="where the videos go (default: %(default)s)"
    )
    crowd.add_argument("--seed", type=int, default=0)
    crowd.add_argument(
        "--persons", type=int, default=400, help="each does all six actions (default: %(default)s)"
    )
    crowd.add_argument("--workers", type=int, help="processes (default: one a core)")


def _training_arguments(verbs: Any) -> None:
    verb = _verb(verbs, "train", train)
    verb.add_argument("names", nargs="+", metavar="NAME", help="experiments, or all")
    _root_arguments(verb)
    verb.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED")
    _recipe_arguments(verb)
    verb.add_argument(
        "--extra-root", metavar="DIR", help="another folder, all of which is trained on too"
    )
    verb.add_argument(
        "--log",
        nargs="+",
        default=(),
        choices=("tensorboard", "wandb"),
        help="tell these of it too",
    )
    again = verb.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="RUN",
        help="go on with this run folder, or without RUN with the newest of these settings; an "
        "error "
        "where there is none (default: goes on if there is one)",
    )
    again.add_argument(
        "--force", action="store_true", help="train anew even if this run is finished"
    )
    verb = _verb(verbs, "crossval", crossval)
    verb.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="experiments; several are compared on the same videos",
    )
    _root_arguments(verb)
    schemes = verb.add_mutually_exclusive_group()
    schemes.add_argument(
        "--official", action="store_true", help="the official split alone (default)"
    )
    schemes.add_argument("--folds", type=int, metavar="K", help="K folds by person")
    schemes.add_argument("--loo", action="store_true", help="leave one person out")
    schemes.add_argument(
        "--repeats", type=int, metavar="N", help="N random splits by person, 16 to 9"
    )
    verb.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="seeds a fold, 0 to N-1 (default: %(default)s)",
    )
    _recipe_arguments(verb)
    verb.add_argument(
        "--leak", action="store_true", help="also show what a random split of segments would claim"
    )
    verb.add_argument("--json", metavar="FILE", help="write counts and intervals there")
    verb = _verb(verbs, "pretrain", pretrain)
    verb.add_argument("--out", default="models/weights/efficientnet_b0_kth_synth.pth")
    verb.add_argument(
        "--init", default="imagenet", help="imagenet (default), random, or a state dict's file"
    )
    verb.add_argument("--steps", type=int, default=2400, help="batches (default: %(default)s)")
    verb.add_argument("--seed", type=int, default=0)


def _recipe_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--weights", help="of the backbone: bundled (default), imagenet, random, or a file"
    )
    verb.add_argument("--epochs", type=int, help="largest number of epochs")
    verb.add_argument(
        "--fine-tune", type=int, metavar="STAGES", help="train that many stages of the backbone too"
    )
    verb.add_argument("--mirrored", action="store_true", help="train on mirrored clips too")
    verb.add_argument(
        "--every-window", action="store_true", help="train on windows all over a segment"
    )
    verb.add_argument(
        "--fast", action="store_true", help="a small part of everything, to see that it works"
    )
    verb.add_argument("--no-record", action="store_true", help="write no rows into results/")


def _using_arguments(verbs: Any) -> None:
    verb = _verb(verbs, "runs", runs)
    verb.add_argument(
        "runs", nargs="*", metavar="RUN", help="two run folders, or their names, to compare"
    )
    verb.add_argument(
        "--runs-dir", default="runs", help="where run folders are (default: %(default)s)"
    )
    verb = _verb(verbs, "report", report)
    verb.add_argument("run_folder", metavar="RUN", help="a finished run's folder")
    verb.add_argument(
        "--root", default="Data/KTH-Synth", help="where the run's videos are (default: %(default)s)"
    )
    which = (
        "a run folder, a .pth file, an experiment (its newest finished run, else the bundled "
        "one), or bundled"
    )
    verb = _verb(verbs, "evaluate", evaluate)
    verb.add_argument("which", metavar="RUN_OR_NAME", help=which)
    _root_arguments(verb)
    verb.add_argument("--split", default="test", choices=("train", "validation", "test", "all"))
    verb.add_argument("--json", metavar="FILE", help="write the evaluation there")
    verb.add_argument(
        "--record", action="store_true", help="write rows into results/ and the README's tables"
    )
    verb = _verb(verbs, "predict", predict)
    verb.add_argument("file", metavar="FILE", help="a video")
    verb.add_argument(
        "--model", default="bundled", metavar="RUN_OR_NAME", help=f"{which} (default: bundled)"
    )
    verb.add_argument("--json", metavar="FILE", help="write the prediction there")


def _article_arguments(verbs: Any) -> None:
    verb = _verb(verbs, "bench", bench)
    verb.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="whole, decoding, embedding, growth, cost, predicting, transfer, fewshot, ablation, "
        "realism "
        "(default: all, some two hours)",
    )
    verb.add_argument(
        "--root", default="Data/KTH-Synth", help="folder in KTH's layout (default: %(default)s)"
    )
    verb.add_argument(
        "--real",
        metavar="DIR",
        default=os.environ.get("HAR_REAL_CLIPS"),
        help="real clips to measure too (default: what HAR_REAL_CLIPS says)",
    )
    verb.add_argument(
        "--imagenet",
        metavar="FILE",
        help="ImageNet weights for the ablation: a state dict, or imagenet "
        "to download them (default: their rows are left out)",
    )
    verb.add_argument("--quick", action="store_true", help="a sliver of each, to see that it works")
    verb.add_argument("--no-record", action="store_true", help="write no rows into results/")
    verb = _verb(verbs, "results", results)
    verb.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when a table is stale"
    )
    verb = _verb(verbs, "notebook", notebook)
    verb.add_argument("path", nargs="?", default="HAR_Human_Action_Recognition.ipynb")
    verb = _verb(verbs, "export", export)
    verb.add_argument("which", metavar="RUN_OR_NAME")
    verb.add_argument(
        "--out", metavar="FILE", help="default: models/weights/recogniser_<experiment>.pth"
    )


def _verb(verbs: Any, name: str, run: Any) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=run.__doc__.rstrip("."), description=run.__doc__)
    verb.set_defaults(run=run)
    return verb


def _root_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--root", default="Data/KTH-Synth", help="folder in KTH's layout (default: %(default)s)"
    )
    verb.add_argument(
        "--data", metavar="NAME", help="what to call the data (default: what the folder says)"
    )


# saying


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    if path:
        Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")


def _refresh_tables() -> None:
    """Keep the README's tables in step with results/, where there is a README with tables."""
    from experiments.training import EXPERIMENTS
    from tracking.results import MARKER, write_tables

    if README.is_file() and MARKER.search(README.read_text(encoding="utf-8")):
        write_tables(README, RESULTS, tuple(EXPERIMENTS))


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
