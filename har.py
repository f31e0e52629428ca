"""The command line: `python har.py VERB --help`. Each verb is a few lines over the packages.

Knows arguments, and how to say what happened. Does not know how anything is done. What takes
seconds to import (torch) is imported by the verbs that need it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.files import home, write_json
from experiments.recipe import Recipe

README = Path("README.md")
HERE = Path(__file__).resolve().parent
FAULT = "this is a fault of the program, not yours: please report it with the lines above"
WHICH = "a run folder, a .pth file, an experiment (its newest run, else a bundled one), bundled"


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
        said = "pip install" in str(error)
        remedy = "" if said else f": `pip install -r requirements.txt` into {sys.executable}"
        print(f"har.py: {error}{remedy}", file=sys.stderr)
    except Exception as error:
        if _is_meant_for_users(error):
            print(f"har.py: {str(error) or type(error).__name__}", file=sys.stderr)
        else:
            traceback.print_exc()
            print(f"har.py: {FAULT}", file=sys.stderr)
    return 1


def _is_meant_for_users(error: Exception) -> bool:
    """Tell whether the message alone helps: it names a file, a connection or a wrong value.

    A wrong value is the user's only where code of ours refuses it; a ValueError out of a library is
    a fault of ours.
    """
    if not isinstance(error, ValueError):
        return isinstance(error, (OSError, FloatingPointError))
    last = traceback.extract_tb(error.__traceback__)[-1]
    refused_here = _is_ours(last.filename) and (last.line or "").startswith("raise ")
    # an error of a class of ours may have been raised in a worker process
    file = getattr(sys.modules.get(type(error).__module__), "__file__", None)
    return refused_here or (file is not None and _is_ours(file))


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
    from data.synthetic import render_dataset

    root = render_dataset(
        arguments.root,
        seed=arguments.seed,
        segments=arguments.segments,
        workers=arguments.workers,
    )
    print(f"{root}: KTH-Synth, {sum(1 for _ in root.glob('*/*.avi'))} files")


def data_auxiliary(arguments: argparse.Namespace) -> None:
    """Render the auxiliary training set: many persons of wider variety, one scenario each."""
    from data.synthetic import render_auxiliary

    root = render_auxiliary(
        arguments.root, seed=arguments.seed, persons=arguments.persons, workers=arguments.workers
    )
    print(f"{root}: the auxiliary training set, {sum(1 for _ in root.glob('*/*.avi'))} files")


def train(arguments: argparse.Namespace) -> None:
    """Train experiments and test them on the test persons; under torchrun in several processes."""
    from experiments import EXPERIMENTS, run_experiment
    from utils import parallel

    names = list(EXPERIMENTS) if arguments.names == ["all"] else arguments.names
    with parallel.start():
        for name in names:
            for seed in arguments.seeds:
                result = run_experiment(
                    name,
                    root=arguments.root,
                    data_name=arguments.data,
                    results_dir=None if arguments.no_record else home("results"),
                    force=arguments.force,
                    resume=arguments.resume,
                    log=arguments.log,
                    seed=seed,
                    **_recipe(arguments),
                )
                if parallel.is_main_process():
                    print(f"{result}\n  seed {seed}, {result.about['seconds']} s, {result.run}")
        if parallel.is_main_process():
            _refresh_tables()


def evaluate(arguments: argparse.Namespace) -> None:
    """Evaluate a trained recogniser on a folder."""
    from experiments import evaluate_checkpoint

    result = evaluate_checkpoint(
        arguments.which,
        arguments.root,
        split=arguments.split,
        data_name=arguments.data,
        results_dir=home("results") if arguments.record else None,
    )
    print(result)
    exchanged = result.to_json()
    for action, count in exchanged["per_class"].items():
        print(f"  {action:<14}{count['correct']:>5} / {count['n']}")
    _write_json(arguments.json, exchanged)
    if arguments.record:
        _refresh_tables()


def crossval(arguments: argparse.Namespace) -> None:
    """Train experiments anew in every fold of persons, and compare them on the same videos."""
    from experiments import crossval
    from experiments import results as kept

    schemes = {name: getattr(arguments, name) for name in ("folds", "loo", "repeats")}
    scheme = crossval.plan(crossval.persons_in(arguments.root), **schemes)
    recipe, found = _recipe(arguments), []
    for name in arguments.names:
        one = crossval.cross_validate(
            name,
            scheme,
            root=arguments.root,
            data_name=arguments.data,
            seeds=arguments.seeds,
            **recipe,
        )
        found.append(one)
        print(f"{one}\n{_by_kind(one)}  {one.run}")
        if arguments.leakage:
            print(crossval.subject_leakage(name, root=arguments.root, **recipe))
    pairs = list(kept.comparisons(found))
    for pair in pairs:
        print(pair)
    if not (arguments.no_record or arguments.fast):
        rows = [kept.pair_row(pair, found[0]) for pair in pairs]
        kept.record_crossval([row for one in found for row in one.rows()], rows)
        _refresh_tables()
    _write_json(arguments.json, {one.experiment: one.to_json() for one in found})


def _by_kind(found: Any) -> str:
    """Lay out counts by action, scenario, person and fold, seeds pooled."""
    from experiments.results import KINDS

    lines = [f"  calibration error of segments {found.calibration_error:.3f}; correct segments by"]
    for kind in KINDS:
        scores = found.by(kind, "segment").items()
        cells = (f"{name} {score.correct}/{score.n}" for name, score in scores)
        lines.append(f"  {kind}: {', '.join(cells)}")
    return "\n".join(lines) + "\n"


def predict(arguments: argparse.Namespace) -> None:
    """Name the action in a video file."""
    from experiments import load_recogniser
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
    print(comparison([overview(find_run(one, arguments.runs_dir)) for one in arguments.runs]))


def pretrain(arguments: argparse.Namespace) -> None:
    """Pre-train the encoder on rendered people and write the weights that are bundled."""
    from experiments.pretraining import pretrain

    init = None if arguments.init == "random" else arguments.init
    card = pretrain(Path(arguments.out), init=init, seed=arguments.seed, steps=arguments.steps)
    print(json.dumps(card, indent=2))


def export(arguments: argparse.Namespace) -> None:
    """Write a run's recogniser without its encoder, to be bundled."""
    from experiments.recognisers import export_recogniser

    path = export_recogniser(arguments.which, out=arguments.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def bench(arguments: argparse.Namespace) -> None:
    """Measure how fast things are, against others and against the bound."""
    from benchmarks.suite import BENCHMARKS, run_benchmark

    _measure("bench", BENCHMARKS, run_benchmark, arguments)


def study(arguments: argparse.Namespace) -> None:
    """Answer one question a study: what matters, what carries over to real footage, and the
    like."""
    from experiments.studies import STUDIES, run_study

    _measure("study", STUDIES, run_study, arguments)


def _measure(kind: str, table: Any, run: Any, arguments: argparse.Namespace) -> None:
    """Run measurements by name, print each and keep its rows as results/<kind>_<name>.csv."""
    from tracking.measurements import as_text, write_rows

    folder = home("results")
    for name in arguments.names or table:
        rows = run(name, arguments.root, quick=arguments.quick, **_optional(arguments))
        if not (arguments.no_record or arguments.quick):
            write_rows(folder / f"{kind}_{name}.csv", rows)
        print(f"{name}: {table[name]}\n{as_text(rows)}\n", flush=True)
    _refresh_tables()


def _optional(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the data that some measurements can use, where it was named."""
    named = {name: getattr(arguments, name) for name in ("real", "imagenet")}
    return {name: value for name, value in named.items() if value is not None}


def results(arguments: argparse.Namespace) -> int:
    """Make the tables of the README anew, or check them."""
    from experiments import EXPERIMENTS
    from tracking.results import check_tables

    if arguments.check:
        stale = check_tables(README, home("results"), tuple(EXPERIMENTS))
        print(f"stale tables in {README}: {', '.join(stale) or 'none'}")
        return 1 if stale else 0
    changed = _refresh_tables()
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
    _crossval_arguments(verbs)
    _using_arguments(verbs)
    _article_arguments(verbs)
    return parser


def _data_arguments(verbs: Any) -> None:
    data = verbs.add_parser("data", help="fetch KTH or render KTH-Synth")
    kinds = data.add_subparsers(title="data sets", required=True, metavar="kth|synth|auxiliary")
    kth = _verb(kinds, "kth", data_kth)
    _root_argument(kth, "Data/KTH")
    kth.add_argument(
        "--url",
        default="https://www.csc.kth.se/cvap/actions/",
        help="folder of the zips, for a mirror",
    )
    kth.add_argument("--from-zip", metavar="DIR", help="zips fetched by hand; downloads nothing")
    synth = _verb(kinds, "synth", data_synth)
    _root_argument(synth, "Data/KTH-Synth")
    synth.add_argument("--segments", type=int, default=2, help="segments a file (%(default)s)")
    auxiliary = _verb(kinds, "auxiliary", data_auxiliary)
    _root_argument(auxiliary, "Data/KTH-Synth-Auxiliary")
    auxiliary.add_argument("--persons", type=int, default=400, help="how many (%(default)s)")
    for rendered in (synth, auxiliary):
        rendered.add_argument("--seed", type=int, default=0)
        rendered.add_argument("--workers", type=int, help="processes (default: one a core)")


def _training_arguments(verbs: Any) -> None:
    verb = _verb(verbs, "train", train)
    verb.add_argument("names", nargs="+", metavar="NAME", help="experiments, or all")
    _data_name_arguments(verb)
    verb.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED")
    _recipe_arguments(verb)
    verb.add_argument(
        "--log", nargs="+", default=(), choices=("tensorboard", "wandb"), help="log to these too"
    )
    again = verb.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="RUN",
        help="go on with this run folder, or without RUN with the newest of these settings; an "
        "error where there is none (default: goes on if there is one)",
    )
    again.add_argument(
        "--force", action="store_true", help="train anew even if this run is finished"
    )
    verb = _verb(verbs, "pretrain", pretrain)
    verb.add_argument("--out", default="models/weights/efficientnet_b0_kth_synth.pth")
    verb.add_argument("--init", default="imagenet", help="imagenet (default), random, or a file")
    verb.add_argument("--steps", type=int, default=2400, help="batches (default: %(default)s)")
    verb.add_argument("--seed", type=int, default=0)


def _crossval_arguments(verbs: Any) -> None:
    verb = _verb(verbs, "crossval", crossval)
    verb.add_argument("names", nargs="+", metavar="NAME", help="experiments; several are compared")
    _data_name_arguments(verb)
    schemes = verb.add_mutually_exclusive_group()
    schemes.add_argument("--official", action="store_true", help="the official split (default)")
    schemes.add_argument("--folds", type=int, metavar="K", help="K folds by subject")
    schemes.add_argument("--loo", action="store_true", help="leave one subject out")
    schemes.add_argument("--repeats", type=int, metavar="N", help="N random splits by subject")
    verb.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="seeds a fold, 0 to N-1 (%(default)s)"
    )
    _recipe_arguments(verb)
    verb.add_argument(
        "--leakage", action="store_true", help="also what a random split of segments would claim"
    )
    _json_argument(verb, "counts and intervals")


def _recipe_arguments(verb: argparse.ArgumentParser) -> None:
    """Make a flag of every field of a recipe that has a help text; not given, it stays None."""
    group = verb.add_argument_group("recipe")
    for setting in dataclasses.fields(Recipe):
        if text := setting.metadata.get("help"):
            flag, default = f"--{setting.name.replace('_', '-')}", setting.default
            if default is False:
                how: dict[str, Any] = {"action": "store_true", "default": None}
            elif isinstance(default, tuple):
                how = {"nargs": len(default), "type": int, "metavar": ("HEIGHT", "WIDTH")}
            else:
                how = {"type": str if default is None else type(default), "metavar": "VALUE"}
            shown = "" if default in (None, False) else f" (default: {default})"
            group.add_argument(flag, help=text + shown, **how)
    verb.add_argument("--no-record", action="store_true", help="write no rows into results/")


def _recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collect the fields of a recipe that the command line names."""
    named = {f.name: getattr(arguments, f.name, None) for f in dataclasses.fields(Recipe)}
    recipe = {name: value for name, value in named.items() if value is not None}
    if recipe.get("weights") == "random":
        recipe["weights"] = None
    if "size" in recipe:
        recipe["size"] = tuple(recipe["size"])
    return recipe


def _using_arguments(verbs: Any) -> None:
    verb = _verb(verbs, "runs", runs)
    verb.add_argument("runs", nargs="*", metavar="RUN", help="two runs to compare; none lists all")
    verb.add_argument("--runs-dir", default=home("runs"), help="where they are (%(default)s)")
    verb = _verb(verbs, "report", report)
    verb.add_argument("run_folder", metavar="RUN", help="a finished run's folder")
    _root_argument(verb, "Data/KTH-Synth")
    verb = _verb(verbs, "evaluate", evaluate)
    verb.add_argument("which", metavar="RUN_OR_NAME", help=WHICH)
    _data_name_arguments(verb)
    verb.add_argument("--split", default="test", choices=("train", "validation", "test", "all"))
    _json_argument(verb, "the evaluation")
    verb.add_argument("--record", action="store_true", help="write rows into results/")
    verb = _verb(verbs, "predict", predict)
    verb.add_argument("file", metavar="FILE", help="a video")
    verb.add_argument("--model", default="bundled", metavar="RUN_OR_NAME", help=WHICH)
    _json_argument(verb, "the prediction")


def _article_arguments(verbs: Any) -> None:
    for name, run in (("bench", bench), ("study", study)):
        verb = _verb(verbs, name, run)
        verb.add_argument("names", nargs="*", metavar="NAME", help="which; all when none is named")
        _root_argument(verb, "Data/KTH-Synth")
        real = os.environ.get("HAR_REAL_CLIPS")
        verb.add_argument("--real", metavar="DIR", default=real, help="real clips to read too")
        verb.add_argument("--imagenet", metavar="FILE", help="ImageNet weights to compare with")
        verb.add_argument("--quick", action="store_true", help="a sliver, to see that it works")
        verb.add_argument("--no-record", action="store_true", help="write nothing into results/")
    verb = _verb(verbs, "results", results)
    verb.add_argument("--check", action="store_true", help="change nothing; exit 1 when stale")
    verb = _verb(verbs, "notebook", notebook)
    verb.add_argument("path", nargs="?", default="HAR_Human_Action_Recognition.ipynb")
    verb = _verb(verbs, "export", export)
    verb.add_argument("which", metavar="RUN_OR_NAME")
    verb.add_argument("--out", metavar="FILE", help="(models/weights/recogniser_NAME.pth)")


def _verb(verbs: Any, name: str, run: Any) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=run.__doc__.rstrip("."), description=run.__doc__)
    verb.set_defaults(run=run)
    return verb


def _root_argument(verb: argparse.ArgumentParser, default: str) -> None:
    verb.add_argument("--root", default=home(default), help="the data's folder (%(default)s)")


def _data_name_arguments(verb: argparse.ArgumentParser) -> None:
    _root_argument(verb, "Data/KTH-Synth")
    verb.add_argument("--data", metavar="NAME", help="what to call the data")


def _json_argument(verb: argparse.ArgumentParser, what: str) -> None:
    verb.add_argument("--json", metavar="FILE", help=f"write {what} there")


# saying


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    if path:
        write_json(path, content)
        print(f"written to {path}")


def _refresh_tables() -> bool:
    """Keep the README's tables in step with results/, where there is a README with tables."""
    from experiments import EXPERIMENTS
    from tracking.results import MARKER, write_tables

    if not (README.is_file() and MARKER.search(README.read_text(encoding="utf-8"))):
        return False
    return write_tables(README, home("results"), tuple(EXPERIMENTS))


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
