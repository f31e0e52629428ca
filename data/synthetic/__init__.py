"""KTH-Synth: KTH's files, names and annotations with rendered people in them."""

from data.synthetic.dataset import render_auxiliary, render_dataset, visible
from data.synthetic.others import render_others

__all__ = ["render_auxiliary", "render_dataset", "render_others", "visible"]
