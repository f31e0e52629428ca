"""The experiments' names and titles, for a command line that must not wait for torch.

What each of them is stands in `experiments.table`, which holds the same names.
"""

TITLES = {
    "ghost": "Ghost frame",
    "middle": "Middle frame",
    "average": "Multi-frame averaging",
    "gru_uniform": "Bi-GRU over the whole segment",
    "gru": "EfficientNet-B0 + Bi-GRU",
    "average_window": "Averaging at a fixed stride",
    "tcn": "EfficientNet-B0 + temporal convolution",
    "stacked": "Stacked greyscale, averaged",
    "stacked_gru": "Stacked greyscale + Bi-GRU",
    "cutout_gru": "Person cut out, stacked + Bi-GRU",
    "crop_gru": "Following the person, stacked + Bi-GRU",
    "pose": "Joints + Bi-GRU",
    "ghost_whole": "Ghost frame, whole file",
    "middle_whole": "Middle frame, whole file",
}
