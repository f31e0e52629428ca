"""What is tried, and how it is trained and measured: the names that others import."""

from experiments.training import EXPERIMENTS, Recipe, load_recogniser, run_experiment

__all__ = ["EXPERIMENTS", "Recipe", "load_recogniser", "run_experiment"]
