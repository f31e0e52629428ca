"""What is tried, and how it is trained and evaluated: the names that others import.

They are fetched when they are first used, so that `experiments.recipe` alone does not import torch.
"""

import importlib
from typing import Any

_HOMES = {
    "EXPERIMENTS": "table",
    "Experiment": "table",
    "Recipe": "recipe",
    "cross_validate": "crossval",
    "evaluate_checkpoint": "recognisers",
    "fit": "training",
    "load_recogniser": "recognisers",
    "run_experiment": "training",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
