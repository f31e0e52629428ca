"""Figures of videos: their frames, where they are annotated, and what is predicted over time.

Knows arrays of images and their places in time. Does not know where frames came from or what a
class means.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Transform
from numpy import ndarray
from PIL import Image

from utils.viz.canvas import (
    WIDEST,
    check_some,
    figure_of,
    legend_below,
    make_panels,
    pack,
    proxies,
    shades,
    styled,
    with_grid,
)

FRAME_INCHES = 1.35  # width of one frame in a grid, at most
MOST_THUMBNAILS = 10  # along a time axis
LONG_GAP = 5  # times the usual step in time; no line is drawn across
TINT, YELLOW = 0.5, np.array([1.0, 0.87, 0.1])  # of an activation map at its highest
# what the marker at a file's middle says -> its shape and filling
INSIDE = {
    "middle frame in a segment": ("o", "white"),
    "middle frame in none": ("X", "black"),
}
VISIBLE = {
    "middle frame shows a person": ("o", "white"),
    "middle frame shows nobody": ("X", "black"),
}


def frame_grid(
    rows: Mapping[str, ndarray],
    *,
    title: str = "",
    columns: int = 8,
    caption: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Show clips as rows of frames, one row a label, at most `columns` of each, evenly spread.

    Args:
        rows: Label -> (T, H, W) or (T, C, H, W), bytes or floats in [0, 1]; T may differ.
        columns: Largest number of frames in a row.
        caption: A line under a figure of its own, such as which way time runs.
    """
    check_some(rows)
    clips = {label: _images(clip, label, columns) for label, clip in rows.items()}
    width, count = max(map(len, clips.values())), len(clips)
    height, breadth = next(iter(clips.values())).shape[1:3]
    names = 0.3 + 0.075 * max(len(line) for label in clips for line in label.splitlines())
    inches = min(FRAME_INCHES, (WIDEST - names) / width)
    size = inches * width + names, inches * height / breadth * count + 0.5 + 0.25 * bool(caption)
    panels = make_panels(axis, title, size, (count, width))
    for first, (label, clip) in enumerate(clips.items()):
        row = panels[first * width :][:width]
        for panel, image in zip(row, clip, strict=False):
            _show(panel, image)
        for panel in row[len(clip) :]:
            panel.axis("off")
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    if caption and axis is None:
        figure_of(panels[0]).supxlabel(caption, fontsize=9)
    return figure_of(panels[0])


def mistake_label(name: str, truth: str, predicted: str, probability: float) -> str:
    """Label the row of a misclassified clip in a `frame_grid`."""
    return f"{name}\nis {truth}\nclassified as {predicted} ({probability:.0%})"


def activation_figure(
    images: Mapping[str, ndarray],
    maps: Mapping[str, ndarray],
    *,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Lay a class activation map over one grey image a label: yellow, lighter in grey print too,
    with a line where it reaches half of its range.

    Args:
        images: Label -> (H, W), bytes or floats in [0, 1].
        maps: Label -> (h, w) of any size and range; each is brought to 0..1 by itself.
    """
    check_some(images)
    if set(images) != set(maps):
        raise ValueError(
            f"images of {', '.join(images)} and maps of {', '.join(maps)}; give one map an image"
        )
    columns = min(len(images), 6)
    rows = -(-len(images) // columns)
    greys = {label: _grey(image, label) for label, image in images.items()}
    height, width = next(iter(greys.values())).shape
    inches = min(2.2, (WIDEST - 0.2) / columns)
    size = inches * columns + 0.2, (inches * height / width + 0.25) * rows + 0.35
    panels = make_panels(axis, title, size, (rows, columns))
    for panel, (label, grey) in zip(panels, greys.items(), strict=False):
        heat = _enlarged(maps[label], label, grey.shape)
        tint = TINT * heat[..., None]
        _show(panel, (1 - tint) * grey[..., None] + tint * YELLOW)
        panel.contour(heat, [0.5], colors="white", linewidths=2.6)
        panel.contour(heat, [0.5], colors="black", linewidths=1.2)
        panel.set_title(label, fontsize=9)
    for panel in panels[len(images) :]:
        panel.axis("off")
    if axis is None:
        pack(panels[0])
    return figure_of(panels[0])


def track_figure(
    frames: ndarray,
    boxes: ndarray,
    points: ndarray,
    bones: Sequence[tuple[int, int]],
    *,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Show frames with a box and a skeleton over whoever was found; nan where nobody was.

    Args:
        frames: (T, H, W), bytes or floats in [0, 1].
        boxes: Left, top, right and bottom edge in pixels (T, 4).
        points: Places of P points in pixels (T, P, 2 or more).
        bones: Which points are joined.

    Raises:
        ValueError: There are not as many boxes and points as frames.
    """
    if not len(frames) == len(boxes) == len(points):
        raise ValueError(
            f"{len(frames)} frames, {len(boxes)} boxes and {len(points)} sets of points; give one "
            "of each a frame"
        )
    images = _images(frames, "frames", len(frames))
    height, width = images.shape[1:3]
    inches = min(2 * FRAME_INCHES, WIDEST / len(images))
    size = inches * len(images), inches * height / width + 0.4
    panels = make_panels(axis, title, size, (1, len(images)))
    for panel, image, box, found in zip(panels, images, boxes, points, strict=True):
        _show(panel, image)
        left, top, right, bottom = np.asarray(box, dtype=float) - 0.5  # edges between pixels
        around = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
        for line in (around, *(np.asarray(found)[list(bone), :2] - 0.5 for bone in bones)):
            panel.plot(*line.T, color="black", lw=2.6)
            panel.plot(*line.T, color="white", lw=1.2)
        panel.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return figure_of(panels[0])


def segment_timeline(
    timelines: Mapping[str, tuple[int, Sequence[tuple[int, int]]]],
    *,
    middles: Mapping[str, tuple[ndarray, bool]] | None = None,
    title: str = "",
    fps: float = 25.0,
    axis: Axes | None = None,
) -> Figure:
    """Draw where annotated segments lie in files, and what a file's middle frame is like.

    Without `middles`, the marker at the middle says whether it lies in a segment; with them,
    whether it shows a person, and the frame stands at the end of its bar.

    Args:
        timelines: Label -> (frames of the file, its (start, stop) ranges, 0-based, end-exclusive).
        middles: Label -> (its middle frame (H, W), whether a person is visible in it).
        fps: Frames a second, for the time axis.
    """
    check_some(timelines)
    if middles is not None and (missing := set(timelines) - set(middles)):
        raise ValueError(f"no middle frame of {', '.join(sorted(missing))}; give one a file")
    [axis] = make_panels(axis, title, (8.5, (0.34, 0.52)[bool(middles)] * len(timelines) + 1.2))
    longest = max(frames for frames, _ in timelines.values()) / fps
    kinds = VISIBLE if middles else INSIDE
    for y, (label, (frames, ranges)) in enumerate(timelines.items()):
        axis.barh(y, frames / fps, 0.62, color="0.93", ec="0.5", lw=0.6)
        starts, stops = np.reshape(ranges, (-1, 2)).T / fps
        axis.barh(y, stops - starts, 0.62, starts, color="0.62", ec="black", lw=0.8)
        middle = frames // 2
        good = any(start <= middle < stop for start, stop in ranges)
        if middles:
            image, good = middles[label]
            row = 1 / len(timelines)
            box = frames / fps + 0.012 * longest, 1 - (y + 0.96) * row, 0.13 * longest, 0.92 * row
            _inset(axis, _grey(image, label), box, axis.get_xaxis_transform(), "W")
        marker, fill = list(kinds.values())[0 if good else 1]
        axis.plot(middle / fps, y, marker, color="black", ms=7, mfc=fill)
    axis.set_yticks(range(len(timelines)), list(timelines))
    axis.set(ylim=(len(timelines) - 0.5, -0.5), xlim=(0, longest * (1.15 if middles else 1.02)))
    axis.set_xlabel("time in the file (s)")
    segment = Patch(fc="0.62", ec="black", label="annotated segment")
    rest = Patch(fc="0.93", ec="0.5", label="not annotated")
    legend_below(axis, 4, [segment, rest, *proxies(kinds)])
    return figure_of(axis)


def frame_probability_timeline(
    frame_probs: ndarray,
    classes: Sequence[str],
    *,
    frames: Sequence[int] | None = None,
    thumbnails: ndarray | None = None,
    shown_above: float = 0.05,
    title: str = "",
    fps: float = 25.0,
    axis: Axes | None = None,
) -> Figure:
    """Draw how probable classes are, frame by frame, and the frames above their own time.

    A class has a line when it is anywhere more probable than `shown_above`, or the most probable.
    Lines end where frames are missing for long.

    Args:
        frame_probs: (T, K) probabilities of the K classes.
        frames: The T frame numbers in the file; 0..T-1 when not given.
        thumbnails: (T, H, W) or (T, C, H, W), the frames that were classified; as many are shown
            as find room.
        fps: Frames a second, for the time axis.
    """
    probs = np.asarray(frame_probs)
    _check_probs(probs, classes, thumbnails)
    seconds = np.asarray(range(len(probs)) if frames is None else frames) / fps
    if thumbnails is None:
        [axis] = make_panels(axis, title, (WIDEST, 3.3))
    else:
        ratios, share = {"height_ratios": (1, 3.4)}, {"sharex": True}
        above, axis = make_panels(axis, title, (WIDEST, 4.2), (2, 1), share=share, **ratios)
        for at in _draw_thumbnails(above, seconds, thumbnails):
            axis.axvline(at, color="0.85", lw=0.8, zorder=0)
    drawn = probs.max(0) > shown_above
    drawn[probs.max(0).argmax()] = True
    _draw_probs(axis, seconds, probs, classes, drawn)
    axis.set(ylim=(-0.03, 1.03), xlabel="time (s)", ylabel="probability")
    handles = axis.get_legend_handles_labels()[0]
    if not drawn.all():
        others = "other" if drawn.sum() == len(classes) - 1 else "others"
        handles.append(Line2D([], [], ls="", label=f"{others} below {100 * shown_above:g} %"))
    legend_below(axis, min(len(handles), 7), handles)
    return with_grid(axis)


# helpers


def _check_probs(probs: ndarray, classes: Sequence[str], thumbnails: ndarray | None) -> None:
    steps, count = probs.shape
    if count != len(classes):
        raise ValueError(f"probabilities of {count} classes do not fit {len(classes)} names")
    if thumbnails is not None and len(thumbnails) != steps:
        raise ValueError(
            f"{len(thumbnails)} thumbnails do not fit {steps} rows of probabilities; give one a row"
        )


def _draw_probs(
    axis: Axes, seconds: ndarray, probs: ndarray, classes: Sequence[str], drawn: ndarray
) -> None:
    """Draw the lines of some classes; a class keeps its marker whichever others are drawn."""
    steps = np.diff(seconds)
    usual = np.median(steps) if len(steps) else 0.0
    gaps = np.flatnonzero(steps > LONG_GAP * usual) + 1
    at, rows = np.insert(seconds.astype(float), gaps, np.nan), np.insert(probs, gaps, np.nan, 0)
    tones, every = iter(shades(int(drawn.sum()))), -(-len(seconds) // 25)
    looks = styled(dict(zip(classes, rows.T, strict=True)))
    for (name, row, marker, line), wanted in zip(looks, drawn, strict=True):
        if wanted:
            line |= {"color": next(tones), "marker": marker, "ms": 4, "lw": 1.6}
            axis.plot(at, row, label=name, markevery=every, **line)


def _draw_thumbnails(panel: Axes, seconds: ndarray, thumbnails: ndarray) -> list[float]:
    """Stand frames over their own times, none over another, and return these times."""
    first, last = float(seconds[0]), float(seconds[-1])
    width = max(last - first, 0.04) / (MOST_THUMBNAILS - 1)
    times: list[float] = []
    for image, at in zip(_images(thumbnails, "thumbnails", len(seconds)), seconds, strict=True):
        if not times or at - times[-1] > 0.999 * width:
            box = at - 0.48 * width, 0.0, 0.96 * width, 1.0
            _inset(panel, image, box, panel.get_xaxis_transform(), "S")
            times.append(float(at))
    panel.set_xlim(first - 0.55 * width, last + 0.55 * width)
    panel.axis("off")
    return times


def _inset(
    panel: Axes,
    image: ndarray,
    box: tuple[float, float, float, float],
    space: Transform,
    anchor: str,
) -> None:
    """Show an image, bordered and undistorted, in a box (x, y, width, height) of a panel."""
    inset = panel.inset_axes(box, transform=space)
    inset.set_anchor(anchor)
    _show(inset, image)


def _enlarged(heat: ndarray, label: str, shape: tuple[int, ...]) -> ndarray:
    """Bring a map (h, w) to 0..1 and smoothly to an image's size."""
    heat = np.asarray(heat, dtype=np.float32)
    if heat.ndim != 2 or not heat.size:
        raise ValueError(f"{label}: an activation map of shape {heat.shape}; give (h, w)")
    heat = (heat - heat.min()) / (np.ptp(heat) or 1.0)
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)


def _grey(image: ndarray, label: str) -> ndarray:
    """Bring an image (H, W), bytes or floats, to floats in [0, 1]."""
    image = np.asarray(image)
    if image.ndim != 2 or not image.size:
        raise ValueError(f"{label}: an image of shape {image.shape}; give (H, W)")
    return _images(image[None], label, 1)[0]


def _images(clip: ndarray, label: str, most: int) -> ndarray:
    """Bring `most` frames of (T, H, W) or (T, C, H, W), evenly spread, bytes or floats, to floats
    in [0, 1], channels last."""
    clip = np.asarray(clip)
    if clip.ndim < 3 or not len(clip) or clip.shape[1:-2] not in ((), (1,), (3,)):
        raise ValueError(
            f"{label}: a clip of shape {clip.shape}; give (T, H, W), or (T, C, H, W), C 1 or 3"
        )
    places = np.linspace(0, len(clip) - 1, min(most, len(clip)))
    clip = clip[places.round().astype(int)]
    if clip.dtype == np.uint8:
        clip = clip / 255.0
    return (np.moveaxis(clip, 1, -1) if clip.ndim == 4 else clip).clip(0.0, 1.0)


def _show(axis: Axes, image: ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)
    axis.set(xticks=[], yticks=[])
