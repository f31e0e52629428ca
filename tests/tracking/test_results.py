"""Run folders, rows of results and the tables made from them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tracking import results as tracking
from tracking.results import RunFolder


def row(**changes):
    values = {
        "experiment": "gru",
        "data": "KTH-Synth",
        "trained_on": "KTH-Synth",
        "split": "test",
        "level": "segment",
        "n": 8,
        "correct": 6,
        "accuracy": 0.75,
        "low": 0.41,
        "high": 0.93,
        "person_low": "",
        "person_high": "",
        "seed": 0,
        "recipe": "",
        "parameters": 1234567,
        "frames": "uniform 16",
        "size": "96x128",
        "weights": "bundled",
        "weights_hash": "0123456789abcdef",
        "seconds": 12.4,
        "commit": "0123456789",
        "date": "2026-01-01",
    }
    return values | changes


class TestRunFolder:
    def test_a_run_is_finished_by_its_result(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {"seed": 1})
        assert run.path.name.startswith("gru-") and not run.finished and run.config == {"seed": 1}
        run.finish({"accuracy": 0.5})
        assert run.finished and run.result == {"accuracy": 0.5}
        assert run.best == run.path / "best.pth"

    def test_two_runs_in_one_second_get_two_folders(self, tmp_path):
        paths = {RunFolder.create(tmp_path, "gru", {}).path for _ in range(3)}
        assert len(paths) == 3
        assert [run.path for run in tracking.find_runs(tmp_path, "gru")] == sorted(paths)

    def test_a_thousand_runs_in_one_second_are_too_many(self, tmp_path, monkeypatch):
        def taken(*_, **__):
            raise FileExistsError

        monkeypatch.setattr(tracking.Path, "mkdir", taken)
        with pytest.raises(OSError, match="a thousand runs named gru-.*look for a loop"):
            RunFolder.create(tmp_path, "gru", {})

    def test_history_is_numbers_and_a_repeated_epoch_replaces_what_followed(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {})
        assert run.history == []
        for epoch, loss in ((1, 0.9), (2, 0.8), (3, 0.7), (2, 0.75)):
            run.log_epoch({"epoch": epoch, "val_loss": loss})
        assert run.history == [{"epoch": 1.0, "val_loss": 0.9}, {"epoch": 2.0, "val_loss": 0.75}]

    def test_a_name_does_not_find_the_runs_of_a_longer_name(self, tmp_path):
        RunFolder.create(tmp_path, "ghost_whole", {}).finish({})
        (tmp_path / "ghost-notes").mkdir()
        assert tracking.find_runs(tmp_path, "ghost") == []
        assert tracking.newest_run(tmp_path, "ghost") is None

    def test_newest_is_the_newest_finished_one_beyond_nine_in_a_second(self, tmp_path):
        for number in ("", "-2", "-9", "-10"):
            folder = tmp_path / f"gru-20260101-120000{number}"
            folder.mkdir()
            (folder / "result.json").write_text("{}")
        RunFolder.create(tmp_path, "gru", {})  # newer, unfinished
        assert tracking.newest_run(tmp_path, "gru").path.name == "gru-20260101-120000-10"

    def test_a_run_is_found_again_by_its_configuration(self, tmp_path):
        first = RunFolder.create(tmp_path, "gru", {"seed": 0, "epochs": 3})
        first.finish({})
        RunFolder.create(
            tmp_path, "gru", {"epochs": 3, "seed": 0}
        )  # the same run, started again and cut off
        other = RunFolder.create(tmp_path, "gru", {"seed": 1, "epochs": 3})
        assert tracking.matching_run(tmp_path, "gru", {"epochs": 3, "seed": 0}).path == first.path
        assert tracking.matching_run(tmp_path, "gru", {"seed": 1, "epochs": 3}).path == other.path
        assert tracking.matching_run(tmp_path, "gru", {"seed": 2, "epochs": 3}) is None

    def test_a_folder_with_a_broken_config_matches_nothing(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {})
        (run.path / "config.json").write_text("{")
        assert tracking.matching_run(tmp_path, "gru", {}) is None

    def test_a_write_that_fails_leaves_the_old_file(self, tmp_path, monkeypatch):
        run = RunFolder.create(tmp_path, "gru", {})
        run.finish({"accuracy": 1})
        monkeypatch.setattr(
            os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left"))
        )
        with pytest.raises(OSError, match="no space"):
            run.finish({"accuracy": 2})
        assert run.result == {"accuracy": 1}


class TestRows:
    def test_the_same_measurement_replaces_its_row(self, tmp_path):
        path = tmp_path / "results" / "kth-synth.csv"
        tracking.append_result(path, row(correct=5))
        tracking.append_result(path, row(correct=6))
        tracking.append_result(path, row(level="video"))
        tracking.append_result(path, row(seed=1))
        rows = tracking.read_results(path)
        assert [(r["level"], r["seed"], r["correct"]) for r in rows] == [
            ("segment", "0", "6"),
            ("video", "0", "6"),
            ("segment", "1", "6"),
        ]
        assert path.read_text().splitlines()[0] == ",".join(tracking.COLUMNS)
        assert list(path.parent.iterdir()) == [path]

    def test_another_recipe_is_another_measurement_and_the_table_names_it(self, tmp_path):
        tracking.append_result(tmp_path / "a.csv", row())
        tracking.append_result(tmp_path / "a.csv", row(recipe="every window"))
        lines = tracking.results_table(tracking.read_results(tmp_path / "a.csv")).splitlines()[2:]
        assert [line.split(" | ")[0] for line in lines] == ["| gru", "| gru, every window"]

    def test_a_reading_is_added_and_never_replaced(self, tmp_path):
        reading = dict.fromkeys(tracking.READING_COLUMNS, "1")
        for _ in range(2):
            tracking.append_reading(tmp_path / "results" / "real.csv", reading)
        assert tracking.read_results(tmp_path / "results" / "real.csv") == [reading] * 2
        with pytest.raises(ValueError, match="seed"):
            tracking.append_reading(
                tmp_path / "real.csv", {k: v for k, v in reading.items() if k != "seed"}
            )

    def test_a_comparison_is_replaced_by_that_of_the_same_methods_and_has_a_table(self, tmp_path):
        pair = dict.fromkeys(tracking.PAIR_COLUMNS, "1")
        pair |= {"a": "gru", "b": "average", "difference": 0.022, "low": 0.008}
        path = tmp_path / "pairs-kth.csv"
        for changes in ({"p": 0.5}, {"p": 0.04}, {"b": "ghost"}):
            tracking.append_pair(path, pair | changes)
        rows = tracking.read_results(path)
        assert [(row["b"], row["p"]) for row in rows] == [("average", "0.04"), ("ghost", "1")]
        line = tracking.pairs_table(rows).splitlines()[2]
        assert "gru against average" in line and "+2.2 [+0.8, +100.0]" in line
        readme = tmp_path / "README.md"
        readme.write_text("<!-- results:pairs-kth -->\n<!-- /results:pairs-kth -->\n")
        assert tracking.write_tables(readme, tmp_path) and "gru against ghost" in readme.read_text()
        with pytest.raises(ValueError, match="verdict"):
            tracking.append_pair(path, {k: v for k, v in pair.items() if k != "verdict"})

    def test_the_commit_says_whether_code_was_changed(self, tmp_path):
        assert tracking.code_commit(tmp_path) == "unknown"
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        (tmp_path / "code.py").write_text("1")
        for command in (["init", "-q"], ["add", "code.py"], ["commit", "-qm", "first"]):
            subprocess.run([*git, *command], check=True)
        commit = tracking.code_commit(tmp_path)
        assert re.fullmatch(r"[0-9a-f]{10}", commit)
        (tmp_path / "notes.txt").write_text("no code")
        assert tracking.code_commit(tmp_path) == commit
        (tmp_path / "code.py").write_text("2")
        assert tracking.code_commit(tmp_path) == commit + "+"

    def test_missing_and_unknown_columns_are_named(self, tmp_path):
        incomplete = row()
        del incomplete["n"]
        with pytest.raises(ValueError, match="n"):
            tracking.append_result(tmp_path / "a.csv", incomplete)
        with pytest.raises(ValueError, match="colour"):
            tracking.append_result(tmp_path / "a.csv", row(colour="red"))

    @pytest.mark.parametrize(
        ("name", "slug"), [("KTH-Synth", "kth-synth"), ("KTH clips", "kth-clips"), ("KTH", "kth")]
    )
    def test_a_data_set_names_its_file(self, name, slug):
        assert tracking.results_path(name, "there") == Path("there") / f"{slug}.csv"

    def test_a_name_without_a_letter_is_refused(self):
        with pytest.raises(ValueError, match="--"):
            tracking.results_path("--")


class TestTables:
    def readme(self, tmp_path, name="kth-synth"):
        path = tmp_path / "README.md"
        path.write_text(f"before\n<!-- results:{name} -->\nold\n<!-- /results:{name} -->\nafter\n")
        return path

    def test_one_seed_shows_counts_and_interval(self, tmp_path):
        table = tracking.results_table([{k: str(v) for k, v in row().items()}])
        line = table.splitlines()[2]
        assert (
            "6 / 8 = 75.0 % [41.0, 93.0]" in line
            and "KTH-Synth, test" in line
            and "1,234,567" in line
        )
        assert all(text.count("|") == line.count("|") for text in table.splitlines())

    def test_the_interval_over_persons_follows(self):
        rows = [
            row(seed=seed, person_low=low, person_high=0.9) for seed, low in ((0, 0.5), (1, 0.7))
        ]
        line = tracking.results_table(
            [{k: str(v) for k, v in r.items()} for r in rows]
        ).splitlines()[2]
        assert "75.0 ± 0.0 % of 8 [41.0, 93.0; persons 60.0, 90.0]" in line

    def test_seeds_are_summed_up_as_mean_and_deviation(self):
        rows = [row(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.5, 0.75, 1.0))]
        line = tracking.results_table(
            [{k: str(v) for k, v in r.items()} for r in rows]
        ).splitlines()[2]
        assert "75.0 ± 25.0 % of 8" in line and "| 3 |" in line

    def test_rows_of_older_code_are_refused_by_name(self):
        old = {name: str(value) for name, value in row().items() if name != "recipe"}
        with pytest.raises(ValueError, match=r"gru, 2026-01-01.*lacks \['recipe'\].*measure again"):
            tracking.results_table([old])

    def test_the_order_of_experiments_is_the_callers(self):
        rows = [
            {k: str(v) for k, v in row(experiment=name).items()}
            for name in ("average", "zeta", "ghost")
        ]
        lines = tracking.results_table(rows, order=("ghost", "average")).splitlines()[2:]
        assert [line.split(" | ")[0] for line in lines] == ["| ghost", "| average", "| zeta"]

    def test_tables_are_written_between_the_markers_and_drift_is_seen(self, tmp_path):
        readme, results = self.readme(tmp_path), tmp_path / "results"
        tracking.append_result(results / "kth-synth.csv", row())
        assert tracking.check_tables(readme, results) == ["kth-synth"]
        assert tracking.write_tables(readme, results)
        assert not tracking.write_tables(readme, results)
        assert tracking.check_tables(readme, results) == []
        text = readme.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        tracking.append_result(results / "kth-synth.csv", row(correct=7, accuracy=0.875))
        assert tracking.check_tables(readme, results) == ["kth-synth"]

    def test_a_marker_without_rows_names_the_file(self, tmp_path):
        with pytest.raises(ValueError, match=r"kth-synth\.csv"):
            tracking.write_tables(self.readme(tmp_path), tmp_path)

    def test_a_marker_without_an_end_is_an_error(self, tmp_path):
        readme = tmp_path / "README.md"
        readme.write_text("<!-- results:kth -->\n")
        with pytest.raises(ValueError, match="1 results markers are opened and 0 closed"):
            tracking.check_tables(readme, tmp_path)


def test_the_hash_ignores_the_order_of_keys_and_nothing_else():
    assert tracking.config_hash({"a": 1, "b": [1, 2]}) == tracking.config_hash(
        {"b": [1, 2], "a": 1}
    )
    assert tracking.config_hash({"a": 1, "b": [1, 2]}) != tracking.config_hash(
        {"a": 1, "b": [2, 1]}
    )


def test_config_file_is_readable_by_people(tmp_path):
    run = RunFolder.create(tmp_path, "gru", {"seed": 1})
    written = json.loads((run.path / "config.json").read_text())
    assert written == {"name": "gru", "hash": run.hash, "config": {"seed": 1}}
