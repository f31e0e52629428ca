"""Trained recognisers: found, loaded, evaluated on any folder in KTH's layout, exported.

Knows checkpoints by name and what a recogniser is made of. Does not know how it was trained.
"""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from data.files import DEFAULT, place, read_json
from data.items import PARTS, Segment, labelled, ordered
from data.kth import SPLITS, dataset_name, find_segments, is_official, is_real, select
from data.persons import persons_rule
from data.schema import check, check_numbers
from evaluation.predictions import Predictions
from experiments.datasets import dense_clips, shown_dataset
from experiments.results import Result, about_run, check_recordable, record, record_reading
from experiments.table import EXPERIMENTS, Experiment, find_experiment
from tracking import runs
from tracking.runs import Config
from utils.checkpoint import TrainingState, load_checkpoint, restore_weights, save_checkpoint
from utils.data_setup import VideoDataset, create_dataloaders
from utils.engine import evaluate, pick_device
from utils.exported import read_onnx
from utils.features import look_at
from utils.predict import Fusion, Recogniser
from utils.preprocessing import Preprocessing

WEIGHTS = Path(__file__).resolve().parents[1] / "models" / "weights"
APPEARANCE = WEIGHTS / "recogniser_stacked_gru.pth"  # the bundled head of whole images
FUSION = WEIGHTS / "recogniser_fusion.json"  # the default: who is in it, and when it refuses
# what a checkpoint's extra must tell of a recogniser, and how large what it tells may be
TOLD = {
    "classes": [str],
    "experiment": str,
    "shown": {
        "sampler": {"name": str, "frames?": int},
        "transform": {"size": [int]},
        "frame_offset": float,
        "reader": {"name": str, "finder?": {"rate?": float}},
    },
    "frames": str,
    "model": dict,
    "backbone": {"weights": str, "fingerprint": str},
    "parameters": int,
    "data": str,
    "auxiliary_data?": (str, None),
    "recipe?": str,
    "clip_seconds?": (float, None),
    "person?": str,
    "dealt?": {part: [str] for part in PARTS},
    "seed": int,
}
BUILT_FROM = {"experiment", "shown", "model"}
WEIGHTS_ALONE = (
    "it holds weights and not what to build of them, as `train_model` leaves them: build the model "
    "yourself and call utils.checkpoint.restore_weights, or train it by run_experiment"
)
MEMBER = {"checkpoint": str, "reader_of?": str}
FUSED = {"name": str, "members": [MEMBER], "refusers?": [MEMBER], "threshold?": (float, None)}
# files that are no checkpoint of a training, by their suffix
READERS: dict[str, Callable[[Path], dict[str, Any]]] = {".onnx": read_onnx}
MOST, MOST_PIXELS = 8192, 1 << 28  # a setting; pixels of a clip: 1 GiB


def resolve(which: str | Path, runs_dir: str | Path = DEFAULT) -> Path:
    """Return the file that a run folder, a .pth or .onnx file, an experiment's name or "bundled"
    names.

    An experiment's name means its newest finished run, else the bundled recogniser. Raises
    FileNotFoundError saying what would help.
    """
    text, runs_dir = str(which), place(runs_dir, "runs")
    if text == "bundled":
        return _there(FUSION)
    if text in EXPERIMENTS:
        run = runs.newest_run(runs_dir, text)
        if run is None and not _bundled_path(text).is_file():
            raise FileNotFoundError(
                f"no finished run of {text!r} under {runs_dir} and no bundled recogniser of that "
                f"name: train it with `python har.py train {text}`"
            )
        return run.best if run else _bundled_path(text)
    path = Path(which)
    if path.is_dir():
        run = runs.RunFolder(path)
        if not run.best.is_file():
            raise FileNotFoundError(
                f"{path} holds no best.pth; it is no run folder, or its run was cut off before the "
                "first epoch ended: run the same training again, it goes on"
            )
        return run.best
    if path.is_file():
        return path
    raise FileNotFoundError(
        f"{text!r} is neither a run folder nor a checkpoint file nor one of the experiments "
        f"{', '.join(EXPERIMENTS)}"
    )


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no bundled recogniser at {path}: fetch this checkout anew")
    return path


def _bundled_path(name: str) -> Path:
    return WEIGHTS / f"recogniser_{name}.pth"


def load_recogniser(
    which: str | Path = "bundled",
    *,
    runs_dir: str | Path = DEFAULT,
    experiment: Experiment | None = None,
) -> Any:
    """Load a recogniser, or a fusion of several, by anything that `resolve` understands.

    Its checkpoint alone decides the preprocessing; what builds its model, and its reader's class,
    are those of the table's row of its experiment, or of the experiment given.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It cannot be used for predicting; the message says why.
    """
    path = resolve(which, runs_dir)
    if path.suffix == ".json":
        return load_fusion(path)
    checkpoint = READERS.get(path.suffix, load_checkpoint)(path)
    try:
        extra = _checked(checkpoint["extra"])
        if not (row := experiment or EXPERIMENTS.get(extra["experiment"])):
            raise ValueError(
                f"it is of the experiment {extra['experiment']!r}, which is no row of the table "
                f"({', '.join(EXPERIMENTS)}); give the experiment"
            )
        shown = Preprocessing.from_config(extra["shown"], type(row.shown.reader))
        model = checkpoint.get("network") or _restored(extra, row, shown, checkpoint)
    except KeyError as error:
        raise ValueError(f"{path} cannot be used for predicting: no {error} in it") from error
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be used for predicting: {error}") from error
    model = model.to(pick_device()).eval()
    return Recogniser(model, shown, tuple(extra["classes"]), extra.get("clip_seconds"), extra)


def _restored(extra: Config, row: Experiment, shown: Preprocessing, stored: Config) -> Any:
    """Build the model that a checkpoint describes, with its weights."""
    _check_shapes(extra, row, shown, stored)
    model = _built(extra, row, shown, pretrained=stored["backbone"] is None)
    restore_weights(model, stored)
    return model


def _checked(extra: Any) -> Config:
    """Return what a checkpoint's extra tells if a recogniser can be of it; ValueError says what
    cannot be."""
    try:
        check(extra, TOLD, "its extra")
    except ValueError as error:
        if set(extra) >= BUILT_FROM:
            raise
        raise ValueError(f"{error}; {WEIGHTS_ALONE}") from error
    if not extra["classes"]:
        raise ValueError("its extra has no classes")
    if len(set(extra["classes"])) < len(extra["classes"]):
        raise ValueError(f"its extra names a class twice: {', '.join(extra['classes'])}")
    check_numbers(extra["shown"], 0, MOST, "its extra.shown")
    check_numbers(extra["model"], 0, MOST, "its extra.model")
    check_numbers(extra.get("clip_seconds"), 1e-3, 3600, "its extra.clip_seconds")
    finder = extra["shown"]["reader"].get("finder", {})
    check_numbers(finder.get("rate"), 1e-3, MOST, "its extra.shown.reader.finder.rate")
    frames, size = extra["shown"]["sampler"].get("frames", 1), extra["shown"]["transform"]["size"]
    if (pixels := math.prod((frames, *size))) > MOST_PIXELS:
        raise ValueError(
            f"its clips are {frames} frames of {' x '.join(map(str, size))}, {pixels:,} pixels; "
            f"{MOST_PIXELS:,} are the most"
        )
    return extra


def _check_shapes(extra: Config, row: Experiment, shown: Preprocessing, stored: Config) -> None:
    """Build the model without memory for its weights, and refuse a checkpoint of other shapes."""
    with torch.device("meta"):
        model = _model(extra, row, shown, weights=None)
    head = getattr(model, "head", model) if hasattr(model, "backbone") else model
    wanted, there = sum(w.numel() for w in head.state_dict().values()), stored["temporal"].values()
    held = sum(w.numel() for w in there if isinstance(w, torch.Tensor))
    if wanted != held:
        raise ValueError(
            f"the checkpoint is of another model than this {type(head).__name__}: its extra tells "
            f"of {wanted:,} weights, it holds {held:,}"
        )


def load_fusion(path: Path) -> Fusion:
    """Load the recognisers that a file names, and what it says of them together.

    A member may be shown what another experiment's reader reads, by whose name it then goes. The
    last member lends its classes and what else is told of a recogniser.

    Raises ValueError when the file names no recognisers, or an experiment that there is not.
    """
    told = read_json(path)
    if not isinstance(told, dict) or not told.get("members"):
        raise ValueError(f"{path} names no recognisers; the bundled one is {FUSION.name}")
    check(told, FUSED, str(path))
    check_numbers(told.get("threshold"), 0, 1, f"{path}.threshold")
    return fusion_of(told, path.parent)


def fusion_of(told: Config, folder: Path) -> Fusion:
    """Load the recognisers of a folder that a fusion's file would name."""
    members = [_member(one, folder) for one in told["members"]]
    refusers = tuple(_member(one, folder) for one in told.get("refusers", ()))
    classes = members[-1].classes
    _check_first(members[0])
    for one in (*members, *refusers):
        if lacking := set(classes) - set(one.classes):
            raise ValueError(
                f"a fusion's members know the same classes; {one.extra['experiment']!r} lacks "
                f"{lacking}"
            )
    extras = [one.extra for one in members]
    pairs = zip(told["members"], extras, strict=True)
    names = [one.get("reader_of", of["experiment"]) for one, of in pairs]
    extra = {
        **extras[-1],
        "experiment": told["name"],
        "frames": "; ".join(one["frames"] for one in extras),
        "recipe": " + ".join(names),
        "auxiliary_data": " + ".join(one["data"] for one in extras[:-1]),
        "parameters": sum(one.extra["parameters"] for one in (*members, *refusers)),
    }
    return Fusion(tuple(members), classes, told.get("threshold"), extra, refusers)


def _member(named: Mapping[str, str], folder: Path) -> Recogniser:
    """Load a recogniser that a fusion's file names, with the reader that it is given there."""
    path = folder / named["checkpoint"]
    if path.suffix == ".json":
        raise ValueError(f"{path} is no recogniser but names several; a fusion's members are .pth")
    one = load_recogniser(path)
    reader = find_experiment(named.get("reader_of", one.extra["experiment"])).shown.reader
    return dataclasses.replace(one, shown=dataclasses.replace(one.shown, reader=reader))


def _check_first(one: Recogniser) -> None:
    """Refuse a first member that looks for no person: the others are shown what it finds."""
    name, reader = one.extra["experiment"], one.shown.reader
    if not hasattr(reader, "finder"):
        raise ValueError(
            f"a fusion's first member brings the person finder; that of {name!r} reads "
            f"{type(reader).__name__}: name an experiment of which it takes the reader (reader_of)"
        )


def _built(extra: Config, row: Experiment, shown: Preprocessing, *, pretrained: bool) -> Any:
    """Build the model that a checkpoint's extra describes; pretrained brings the encoder's weights.

    Raises ValueError when those are not the weights that the head was trained on.
    """
    described = extra["backbone"]
    model = _model(extra, row, shown, weights=described["weights"] if pretrained else None)
    if (
        pretrained
        and hasattr(model, "encode")
        and model.backbone.fingerprint() != described["fingerprint"]
    ):
        raise ValueError(
            f"its head was trained on other encoder weights ({described['fingerprint']}) than "
            f"{described['weights']!r} has now ({model.backbone.fingerprint()}): train it anew"
        )
    return model


def _model(extra: Config, row: Experiment, shown: Preprocessing, *, weights: str | None) -> Any:
    given = {"num_classes": len(extra["classes"]), "channels": shown.channels, "weights": weights}
    return row.build(**given, **extra["model"])


def export_recogniser(
    which: str | Path, *, runs_dir: str | Path = DEFAULT, out: str | Path | None = None
) -> Path:
    """Write a run's recogniser without its encoder, small enough to bundle: that is the bundled
    one.

    Returns the file, models/weights/recogniser_<experiment>.pth when `out` is None. Raises
    ValueError when the run used other weights than the bundled ones, or knows other classes than
    the bundled recogniser whose place it would take.
    """
    source = resolve(which, runs_dir)
    recogniser, checkpoint = load_recogniser(source), load_checkpoint(source)
    extra = recogniser.extra
    if extra["backbone"]["weights"] != "bundled":
        raise ValueError(
            f"{source} was trained on weights {extra['backbone']['weights']!r}; only a recogniser "
            "on the bundled weights can leave its encoder out"
        )
    head: nn.Module = recogniser.model.head.cpu().half()  # half the file
    path = Path(out or _bundled_path(extra["experiment"]))
    if out is None and path.is_file():
        _check_same_classes(path, extra["classes"])
    state = TrainingState(epoch=checkpoint["epoch"], best=checkpoint["best"])
    save_checkpoint(path, head, state, extra=extra)
    return path


def _check_same_classes(path: Path, classes: Sequence[str]) -> None:
    """Refuse to put a recogniser in the place of one of other classes."""
    there = load_checkpoint(path)["extra"]["classes"]
    if list(classes) != list(there):
        raise ValueError(
            f"a recogniser of {', '.join(classes)} would take the place of {path.name}, of "
            f"{', '.join(there)}: name another file (--out)"
        )


# evaluating


def evaluate_checkpoint(
    which: str | Path | Recogniser | Fusion,
    root: str | Path = DEFAULT,
    *,
    split: str = "test",
    data_name: str | None = None,
    runs_dir: str | Path = DEFAULT,
    results_dir: str | Path | None = None,
    cache_dir: str | Path | None = DEFAULT,
    dense: bool | None = None,
    progress: bool = True,
    person: str | None = None,
) -> Result:
    """Evaluate a trained recogniser on a split of any folder <class>/<file> of its classes.

    Args:
        which: A recogniser, or anything that `resolve` understands.
        root: The folder; by default KTH-Synth.
        split: "train", "validation", "test" or "all"; "all" takes files without a person too. Of
            the data that it was trained on the parts are those of the training, and what has come
            since is tested; else those of the folder, or KTH's official ones.
        data_name: What to call the data; None takes what the folder says.
        runs_dir: Where run folders are.
        results_dir: Where rows of results go; None writes none.
        cache_dir: Where features are kept; None keeps none.
        dense: With a fixed stride, average the probabilities of clips all over a segment, half a
            clip length apart, instead of evaluating the one in its middle; None does so when it was
            trained that way. A fusion always slides over the segment, as in predicting.
        progress: Show progress bars.
        person: How persons are told, see `data.persons`; None does as the training did on this
            data.

    Raises:
        ValueError: The split has no segments under root, or they show what is none of the classes.
    """
    started, root = time.perf_counter(), place(root, "Data/KTH-Synth")
    data_name = data_name or dataset_name(root)
    if results_dir is not None:
        check_recordable(data_name, results_dir)
    recogniser: Any = which
    if not isinstance(which, Recogniser | Fusion):
        recogniser = load_recogniser(which, runs_dir=runs_dir)
    extra = recogniser.extra
    segments = _asked_for(recogniser, Path(root), split, data_name, person)
    if split not in ("train", "validation"):  # whoever names those knows
        _warn_of_training_persons(segments, extra, data_name)
    dense = bool(extra.get("dense")) if dense is None else dense
    where, refused = place(cache_dir, "cache"), 0
    if isinstance(recogniser, Fusion):
        predictions, refused = predict_segments(recogniser, segments, where, progress=progress)
    else:
        clips = dense_clips(segments, recogniser.shown) if dense else segments
        dataset = shown_dataset(
            recogniser.model, clips, recogniser.shown, cache_dir=where, progress=progress
        )
        predictions = predict_dataset(recogniser, dataset)
    about = about_run(extra, seconds=time.perf_counter() - started)
    result = Result(extra["experiment"], data_name, split, predictions, about, refused=refused)
    if results_dir is not None:
        record(result, results_dir)
        if is_real(root):
            record_reading(result, results_dir=results_dir)
    return result


def _asked_for(
    recogniser: Any, root: Path, split: str, data_name: str, person: str | None
) -> list[Segment]:
    """Return the segments of a split, labelled by the recogniser's classes."""
    extra = recogniser.extra
    same = data_name == extra.get("data")
    rule = persons_rule(root, extra.get("person") if same and person is None else person)
    found = find_segments(root, whole_files=bool(extra.get("whole_file")), person=rule)
    segments, dealt = labelled(found, recogniser.classes), extra.get("dealt")
    if split in PARTS and same and dealt:
        part_of = {who: part for part, inside in dealt.items() for who in inside}
        chosen = [s for s in segments if part_of.get(str(s.video.who), "test") == split]
    elif (
        split in PARTS
        and all(segment.video.part for segment in segments)
        and not is_official(found, rule)
    ):
        chosen = [segment for segment in segments if segment.video.part == split]
    else:
        chosen = select(segments, split)
    if not chosen:
        raise ValueError(f"no segments of split {split!r} under {root}; --split all takes all")
    return chosen


def predict_segments(
    fusion: Fusion,
    segments: Sequence[Segment],
    cache_dir: str | Path | None = None,
    *,
    progress: bool = False,
) -> tuple[Predictions, int]:
    """Return a fusion's predictions of the classes for segments, and how many it would refuse.

    A file is searched once, and where it was searched before not at all.
    """
    reader = fusion.members[0].shown.reader
    paths = [segment.video.path for segment in segments]
    found = look_at(reader, paths, cache_dir=cache_dir, progress=progress)
    log_probs, refused = [], 0
    for segment in tqdm(segments, "predicting", leave=False, disable=not progress):
        path = segment.video.path
        said = fusion.predict(path, segment.start, segment.stop, found=found[path])
        log_probs.append([np.log(max(said.probs[name], 1e-12)) for name in fusion.classes])
        refused += said.label not in fusion.classes
    return Predictions.of(np.array(log_probs), segments), refused


def predict_dataset(recogniser: Recogniser, dataset: VideoDataset) -> Predictions:
    """Return a recogniser's predictions for a data set made by `shown_dataset`."""
    model = recogniser.model
    network = model.head if hasattr(model, "encode") else model
    loader = create_dataloaders({"evaluation": dataset}, batch_size=64)["evaluation"]
    log_probs, _ = evaluate(network, loader)
    return Predictions.of(log_probs, dataset.segments).pooled("segment")


def _warn_of_training_persons(segments: Sequence[Segment], extra: Config, data_name: str) -> None:
    """Persons (or files) of the training or validation split, of the recogniser's own data set, are
    no test."""
    dealt: Mapping[str, Any] = extra.get("dealt") or SPLITS
    seen = {str(who) for part in ("train", "validation") for who in dealt[part]}
    there = {s.video.who for s in segments if str(s.video.who) in seen}
    known = ordered(there)
    if known and data_name == extra.get("data"):
        what = "files" if all(s.video.person is None for s in segments) else "persons"
        warnings.warn(
            f"{what} {', '.join(map(str, known))} of {data_name} took part in this recogniser's "
            "training or choice; the accuracy on them says nothing about other people",
            stacklevel=3,
        )
