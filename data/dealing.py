"""Dealing somebody's own data set into parts: by its folders, else by person, else by file.

Knows classes and whom segments belong to. Does not know KTH's official split, nor what is done with
the parts.
"""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from data.items import PARTS, Person, Segment, check_disjoint, classes_of

HANDS = 5  # one tests, one validates, the others train; fewer where a class has fewer persons
FEWEST = 3  # one for each part
TRIES = 20  # ways of shuffling
BY_FILE = (
    "no persons are known, so files are dealt: somebody may be trained on in one file and tested "
    "in another, and the accuracy says little about people whom the model has not seen; tell the "
    "persons with --person, a regular expression or a CSV file with the columns file,person"
)


def deal(segments: Sequence[Segment], where: str) -> dict[str, list[Segment]]:
    """Sort segments into "train", "validation" and "test", in their order.

    Folders train, validation and test, where they are there, are the split; a validation or test
    folder that is missing is dealt from the training one. Else a fifth of the persons, of all
    classes alike, validates and another fifth is tested, as near as so few allow; files count as
    persons where none are known, with a warning.

    Raises:
        ValueError: There are fewer than two classes, too few persons or files of a class, videos
            beside the folders of a split, or a person in two of these. The message names `where`.
    """
    if len(classes_of(segments)) < 2:
        raise ValueError(f"{where} has one class, {classes_of(segments)[0]!r}; it takes two")
    parts = _by_folder(segments, where)
    dealt = parts["train"]
    lacking = [part for part in ("test", "validation") if not parts[part]]
    if lacking and dealt:
        if all(segment.video.person is None for segment in dealt):
            warnings.warn(BY_FILE, stacklevel=3)
        hands = hands_of(dealt, where, fewest=1 + len(lacking))
        for part, hand in zip(lacking, hands, strict=False):
            parts[part] = [segment for segment in dealt if segment.video.who in hand]
        taken = set().union(*hands[: len(lacking)])
        parts["train"] = [segment for segment in dealt if segment.video.who not in taken]
    check_disjoint(parts)
    _check_whole(parts, where)
    return parts


def hands_of(
    segments: Sequence[Segment], where: str, *, k: int | None = None, fewest: int = FEWEST
) -> list[set[Person]]:
    """Deal persons, or files where no person is known, into hands that show every class alike.

    Args:
        segments: Whose persons are dealt.
        where: What messages call the data.
        k: How many hands; None deals HANDS, or fewer down to `fewest` where there are too few.
        fewest: See k.

    Raises:
        ValueError: There are too few persons or files of a class.
    """
    videos = list(dict.fromkeys(segment.video for segment in segments))
    actions, whose = [str(v.action) for v in videos], [v.who for v in videos]
    who_does = defaultdict(set)
    for action, who in zip(actions, whose, strict=True):
        who_does[action].add(who)
    rarest = min(who_does, key=lambda action: len(who_does[action]))
    there = len(who_does[rarest])
    for hands in range(k or min(HANDS, there), (k or fewest) - 1, -1):
        for seed in range(TRIES if hands <= there else 0):
            if found := _dealt(actions, whose, hands, seed):
                return found
    files = all(video.person is None for video in videos)
    what = "videos" if files else "persons"
    raise ValueError(
        f"{where}: {rarest!r} has {there} {what}, and every one of {k or fewest} parts takes "
        f"{what} of its own in every class; add {what}, or leave {rarest!r} out"
        + ("" if k else ", or sort the videos into folders train, validation and test")
    )


def thinned(segments: Sequence[Segment], step: int) -> list[Segment]:
    """Keep every so many-th segment of each class, from the first."""
    seen: dict[str | None, int] = defaultdict(int)
    kept = []
    for segment in segments:
        if seen[segment.video.action] % step == 0:
            kept.append(segment)
        seen[segment.video.action] += 1
    return kept


def _dealt(
    actions: Sequence[str], whose: Sequence[Person], hands: int, seed: int
) -> list[set[Person]]:
    """Deal by one way of shuffling; nothing where a hand lacks a class."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(set(whose)) == len(whose)  # then it need not look at groups, which takes long
    how = (StratifiedKFold if alone else StratifiedGroupKFold)(
        hands, shuffle=True, random_state=seed
    )
    names = None if alone else np.array(list(map(str, whose)))
    places = [places for _, places in how.split(actions, actions, names)]
    shown = [{actions[place] for place in hand} for hand in places]
    if any(len(one) < len(set(actions)) for one in shown):
        return []
    return [{whose[place] for place in hand} for hand in places]


def _by_folder(segments: Sequence[Segment], where: str) -> dict[str, list[Segment]]:
    """Sort segments by the part in whose folder they lie; all of them train where there is none."""
    inside = [segment.video.part is not None for segment in segments]
    if not any(inside):
        return {part: list(segments) if part == "train" else [] for part in PARTS}
    if not all(inside):
        beside = next(segment.video.place for segment in segments if not segment.video.part)
        raise ValueError(
            f"{where} has folders of a split and {len(inside) - sum(inside)} segments beside them, "
            f"such as in {beside}; put every class folder into train, validation or test"
        )
    parts = {part: [s for s in segments if s.video.part == part] for part in PARTS}
    if not parts["train"]:
        raise ValueError(f"{where} has folders of a split but no videos in train/<class>/")
    return parts


def _check_whole(parts: Mapping[str, Sequence[Segment]], where: str) -> None:
    """Refuse classes that nothing is learned of, and name those that nobody measures."""
    for part, segments in parts.items():
        seen = {segment.video.action for segment in segments}
        if lacking := [name for name in classes_of(segments) if name not in seen]:
            said = f"{where}: no video in {part} shows {', '.join(lacking)}"
            if part == "train":
                raise ValueError(f"{said}, so that it could not be learned; add some")
            warnings.warn(said, stacklevel=4)
