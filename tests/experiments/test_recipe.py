"""The settings of a run: what they become in training, and how tables name them."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.recipe import FAST_EPOCHS, Recipe

ROOT = Path(__file__).resolve().parents[2]


def test_settings_are_those_of_the_training_loop():
    wanted = {"epochs": 7, "lr": 0.5, "schedule": "onecycle", "patience": 3, "seed": 9}
    wanted |= {"label_smoothing": 0.2, "weight_decay": 0.3}
    settings = dataclasses.asdict(Recipe(**wanted).settings())
    assert {name: settings[name] for name in wanted} == wanted
    assert Recipe().settings().epochs == 40


def test_tuning_takes_a_tenth_of_the_rate_and_a_fast_run_few_epochs():
    assert Recipe(fine_tune=1, lr=0.5).settings().lr == 0.05
    assert Recipe(fast=True).settings().epochs == FAST_EPOCHS
    assert Recipe(fast=True, epochs=2).settings().epochs == 2


@pytest.mark.parametrize(("setting", "value"), [("epochs", 0), ("lr", 0.0), ("patience", 0)])
def test_what_makes_no_sense_is_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} is {value}; it must be above 0"):
        Recipe(**{setting: value}).settings()


def test_tables_name_what_differs_from_the_default():
    assert Recipe().in_words() == ""
    told_elsewhere = Recipe(weights=None, size=(24, 32), seed=3, fast=True, fine_tune=2)
    assert told_elsewhere.in_words() == ""
    recipe = Recipe(dense=True, epochs=2, horizontal_flip=True)
    assert recipe.in_words() == "horizontal flip, dense, epochs 2"
    assert Recipe(fine_tune=2, weights="mine/start.pth").weights_in_words() == (
        "start.pth, 2 stages tuned"
    )
    assert Recipe(weights=None).weights_in_words() == "random"
    assert Recipe().weights_in_words() == "bundled"


def test_every_setting_but_the_seed_has_a_help_text():
    without = {f.name for f in dataclasses.fields(Recipe) if not f.metadata.get("help")}
    assert without == {"seed"}


def test_it_is_there_without_torch_and_numpy():
    code = "import sys, experiments.recipe; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
