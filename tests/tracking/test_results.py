"""Rows of results and the tables made from them."""

from pathlib import Path

import pandas as pd
import pytest

from tracking import results as tracking

ROOT = Path(__file__).resolve().parents[2]


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


def table_of(*rows):
    """Rows as they come out of a file."""
    return pd.DataFrame([{name: str(value) for name, value in row.items()} for row in rows])


class TestRows:
    def test_the_same_measurement_replaces_its_row(self, tmp_path):
        path = tmp_path / "results" / "kth-synth.csv"
        tracking.append_result(path, row(correct=5))
        tracking.append_result(path, row(correct=6))
        tracking.append_result(path, row(level="video"))
        tracking.append_result(path, row(seed=1))
        rows = tracking.read_results(path)
        assert rows[["level", "seed", "correct"]].to_numpy().tolist() == [
            ["segment", "0", "6"],
            ["video", "0", "6"],
            ["segment", "1", "6"],
        ]
        assert path.read_text().splitlines()[0] == ",".join(tracking.COLUMNS)
        assert list(path.parent.iterdir()) == [path]

    def test_rows_are_sorted_and_seeds_are_numbers(self, tmp_path):
        for changes in ({"seed": 10}, {"seed": 9}, {"experiment": "average", "seed": 11}):
            tracking.append_result(tmp_path / "a.csv", row(**changes))
        assert tracking.read_results(tmp_path / "a.csv").seed.tolist() == ["11", "9", "10"]

    def test_the_row_of_another_recipe_is_another_and_the_table_names_it(self, tmp_path):
        tracking.append_result(tmp_path / "a.csv", row())
        tracking.append_result(tmp_path / "a.csv", row(recipe="dense"))
        lines = tracking.results_table(tracking.read_results(tmp_path / "a.csv")).splitlines()[2:]
        assert [line.split(" | ")[0] for line in lines] == ["| gru", "| gru, dense"]

    def test_text_is_kept_as_it_is(self, tmp_path):
        path = tmp_path / "a.csv"
        odd = row(recipe="NA", commit="007", weights="null", size='a, "b"', accuracy=2 / 3)
        tracking.append_result(path, odd)
        text = path.read_bytes()
        (read,) = tracking.read_results(path).to_dict("records")
        assert (read["recipe"], read["commit"], read["weights"]) == ("NA", "007", "null")
        assert (read["size"], read["accuracy"]) == ('a, "b"', "0.666667")
        tracking.append_result(path, odd)
        assert path.read_bytes() == text and b"\r" not in text

    @pytest.mark.parametrize(
        "path",
        [
            path
            for path in sorted((ROOT / "results").glob("*.csv"))
            if not path.name.startswith(("bench_", "study_"))  # those are written as a whole
        ],
        ids=lambda path: path.stem,
    )
    def test_a_committed_file_is_written_as_it_was_read(self, path, tmp_path):
        rows = tracking.read_results(path)
        append = {
            tracking.COLUMNS: tracking.append_result,
            tracking.PAIR_COLUMNS: tracking.append_pair,
            tracking.READING_COLUMNS: tracking.append_reading,
        }[tuple(rows.columns)]
        *before, last = path.read_bytes().splitlines(keepends=True)
        (tmp_path / "a.csv").write_bytes(b"".join(before))
        append(tmp_path / "a.csv", rows.iloc[-1].to_dict())
        assert last and (tmp_path / "a.csv").read_bytes() == path.read_bytes()

    def test_a_file_that_is_not_there_has_no_rows(self, tmp_path):
        assert tracking.read_results(tmp_path / "a.csv").empty

    def test_a_reading_is_added_and_never_replaced(self, tmp_path):
        reading = dict.fromkeys(tracking.READING_COLUMNS, "1")
        for _ in range(2):
            tracking.append_reading(tmp_path / "results" / "real.csv", reading)
        rows = tracking.read_results(tmp_path / "results" / "real.csv")
        assert rows.to_dict("records") == [reading] * 2
        del reading["seed"]
        with pytest.raises(ValueError, match="seed"):
            tracking.append_reading(tmp_path / "real.csv", reading)

    def test_a_comparison_is_replaced_by_that_of_the_same_methods(self, tmp_path):
        pair = dict.fromkeys(tracking.PAIR_COLUMNS, "1")
        pair |= {"a": "gru", "b": "average", "difference": 0.022, "low": 0.008}
        path = tmp_path / "pairs-kth.csv"
        for changes in ({"p": 0.5}, {"p": 0.04}, {"b": "ghost"}):
            tracking.append_pair(path, pair | changes)
        rows = tracking.read_results(path)
        assert rows[["b", "p"]].to_numpy().tolist() == [["average", "0.04"], ["ghost", "1"]]
        del pair["verdict"]
        with pytest.raises(ValueError, match="verdict"):
            tracking.append_pair(path, pair)

    def test_missing_and_unknown_columns_are_named(self, tmp_path):
        incomplete = row()
        del incomplete["n"]
        with pytest.raises(ValueError, match=r"differs in \['n'\]"):
            tracking.append_result(tmp_path / "a.csv", incomplete)
        with pytest.raises(ValueError, match="colour"):
            tracking.append_result(tmp_path / "a.csv", row(colour="red"))
        assert not list(tmp_path.iterdir())


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "kind", "file"),
        [
            ("KTH-Synth", "", "kth-synth"),
            ("KTH clips", "", "kth-clips"),
            ("KTH", "", "kth"),
            ("KTH-Synth", "crossval", "crossval-kth-synth"),
            ("KTH-Synth", "pairs", "pairs-kth-synth"),
            ("bench_press", "", "bench-press"),
        ],
    )
    def test_a_data_set_names_its_file(self, name, kind, file):
        assert tracking.results_path(name, "there", kind=kind) == Path("there") / f"{file}.csv"

    @pytest.mark.parametrize("name", ["--", "", "Pairs of people", "crossval KTH"])
    def test_a_name_that_says_nothing_or_another_kind_is_refused(self, name):
        with pytest.raises(ValueError, match=f"name '{name}' cannot .*--data"):
            tracking.results_path(name, "there")


class TestTables:
    def readme(self, tmp_path, *names):
        path = tmp_path / "README.md"
        tables = "".join(
            f"<!-- results:{name} -->\nold\n<!-- /results:{name} -->\n" for name in names
        )
        path.write_text(f"before\n{tables}after\n")
        return path

    def test_the_tables_of_the_readme_are_those_of_the_results(self):
        """To the byte but for the order of experiments, which is the caller's."""
        found = list(tracking.MARKER.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
        assert len(found) > 8
        for match in found:
            rows = tracking.read_results(ROOT / "results" / f"{match['name']}.csv")
            made, shown = tracking.make_table(match["name"], rows), match["table"]
            if match["name"].startswith(tuple(tracking.KINDS)):
                assert made == shown
            else:
                assert sorted(made.splitlines()) == sorted(shown.splitlines())

    def test_runs_in_full(self):
        rows = [
            row(seed=seed, level=level, accuracy=accuracy, person_low=low, person_high=0.9)
            for seed, accuracy, low in ((0, 0.5, 0.5), (1, 0.75, 0.6), (2, 1.0, 0.7))
            for level in ("segment", "video")
        ]
        rows += [row(experiment="average", recipe="dense", trained_on="KTH", seconds=0.4)]
        assert (
            tracking.results_table(table_of(*rows), order=("gru",))
            == """\
| experiment | data, split | trained on | frames | size | segments | videos | seeds | \
parameters | seconds |
|---|---|---|---:|---|---|---|---:|---:|---:|
| average, dense | KTH-Synth, test | KTH | uniform 16 | 96x128 | 6 / 8 = 75.0 % [41.0, \
93.0] |  | 1 | 1,234,567 | 0 |
| gru | KTH-Synth, test | KTH-Synth | uniform 16 | 96x128 | 75.0 ± 25.0 % of 8 [41.0, \
93.0; persons 60.0, 90.0] | 75.0 ± 25.0 % of 8 [41.0, 93.0; persons 60.0, 90.0] | 3 | \
1,234,567 | 12 |
"""
        )

    def test_the_interval_over_persons_is_shown_where_every_seed_has_one(self):
        rows = [row(seed=seed, person_low=low) for seed, low in ((0, 0.5), (1, ""))]
        assert "75.0 ± 0.0 % of 8 [41.0, 93.0] |" in tracking.results_table(table_of(*rows))

    def test_pairs_in_full(self):
        pair = dict.fromkeys(tracking.PAIR_COLUMNS, "1") | {
            "a": "gru",
            "b": "ghost",
            "split": "test",
            "level": "video",
            "seeds": 3,
            "items": 216,
            "persons": 9,
            "difference": 0.0221,
            "low": -0.008,
            "high": 0.05,
            "only_a": 7,
            "only_b": 2,
            "p": 0.0386,
            "verdict": "not worse",
        }
        assert (
            tracking.pairs_table(table_of(pair))
            == """\
| a against b | split, level | difference | only a right | only b right | McNemar p | a is |
|---|---|---|---:|---:|---:|---|
| gru against ghost | test, 216 videos of 9 persons, 3 seeds | +2.2 [-0.8, +5.0] | 7 | \
2 | 0.039 | not worse |
"""
        )

    def measured(self, *rows):
        names = ("task", "method", "value", "unit", "ratio", "note")
        where = {"machine": "2 cores", "date": "2026-01-01"}
        return table_of(*(dict(zip(names, row, strict=True)) | where for row in rows))

    def test_measurements_with_ratios_in_full(self):
        rows = self.measured(
            ("t", "ours", 2, "ms", 1, ""),
            ("t", "other", 1234.5678, "ms", 617.3, "slow"),
            ("u", "ours", 0.00001234, "", "", "alone"),
        )
        assert (
            tracking.measurement_table(rows)
            == """\
| task | method | value | times ours | note |
|---|---|---:|---:|---|
| t | ours | 2 ms | 1 |  |
|  | other | 1,235 ms | 617 | slow |
| u | ours | 1.234e-05 |  | alone |

Measured on 2026-01-01: 2 cores.
"""
        )

    def test_measurements_without_ratios_in_full(self):
        rows = self.measured(("t", "a", 1, "s", "", "x; y"), ("u", "b", 2, "s", "", ""))
        assert (
            tracking.measurement_table(rows)
            == """\
| task | method | value | note |
|---|---|---:|---|
| t | a | 1 s | x; y |
| u | b | 2 s |  |

Measured on 2026-01-01: 2 cores.
"""
        )

    @pytest.mark.parametrize("turned", [False, True])
    def test_tasks_that_share_their_methods_are_a_grid_the_longer_list_downwards(self, turned):
        cells = {("s", "b"): 10, ("s", "a"): 20, ("s", "c"): 30}
        cells |= {("r", "b"): 1, ("r", "a"): 2, ("r", "c"): 3}
        if turned:
            cells = {(method, task): cells[task, method] for task, method in sorted(cells)}
        rows = self.measured(
            *(
                (task, method, value, "%", "", f"{value} of; more" if value > 9 else "")
                for (task, method), value in cells.items()
            )
        )
        first, second = ("a", "b") if turned else ("b", "a")
        across = "r | s" if turned else "s | r"
        values = {"a": ("20 % (20 of)", "2 %"), "b": ("10 % (10 of)", "1 %")}
        lines = [" | ".join(values[name][:: -1 if turned else 1]) for name in (first, second)]
        assert tracking.measurement_table(rows).startswith(
            f"| | {across} |\n|---|---|---|\n| {first} | {lines[0]} |\n| {second} | {lines[1]} |\n"
        )

    def test_the_order_of_experiments_is_the_callers(self):
        rows = table_of(*(row(experiment=name) for name in ("average", "zeta", "ghost", "alpha")))
        lines = tracking.results_table(rows, order=("ghost", "average")).splitlines()[2:]
        names = [line.split(" | ")[0] for line in lines]
        assert names == ["| ghost", "| average", "| alpha", "| zeta"]

    @pytest.mark.parametrize(
        ("name", "columns"),
        [
            ("bench_cost", tracking.MEASUREMENT_COLUMNS),
            ("study_ablation", tracking.MEASUREMENT_COLUMNS),
            ("pairs-kth", tracking.PAIR_COLUMNS),
            ("kth-synth", tracking.COLUMNS),
            ("crossval-kth-synth", tracking.COLUMNS),
            ("benches", tracking.COLUMNS),
        ],
    )
    def test_the_beginning_of_a_name_says_what_the_rows_are(self, name, columns):
        one = dict.fromkeys(columns, "1")
        assert tracking.make_table(name, table_of(one)).startswith("| ")
        for missing in columns:
            rest = {key: value for key, value in one.items() if key != missing}
            with pytest.raises(ValueError, match=rf"lacks \['{missing}'\]"):
                tracking.make_table(name, table_of(rest))

    def test_rows_of_older_code_are_refused_by_name(self):
        old = row()
        del old["recipe"]
        with pytest.raises(ValueError, match=r"gru, 2026-01-01.*lacks \['recipe'\].*measure again"):
            tracking.results_table(table_of(old))

    @pytest.mark.parametrize(
        "make", [tracking.results_table, tracking.pairs_table, tracking.measurement_table]
    )
    def test_no_rows_are_no_table(self, make):
        with pytest.raises(ValueError, match="no rows to make a table of.*har.py bench"):
            make(pd.DataFrame())

    def test_tables_are_written_between_the_markers_and_drift_is_seen(self, tmp_path):
        readme, results = self.readme(tmp_path, "kth-synth", "kth"), tmp_path / "results"
        for name in ("kth-synth", "kth"):
            tracking.append_result(results / f"{name}.csv", row(data=name))
        assert tracking.check_tables(readme, results) == ["kth-synth", "kth"]
        assert tracking.write_tables(readme, results)
        assert not tracking.write_tables(readme, results)
        assert tracking.check_tables(readme, results) == []
        text = readme.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        tracking.append_result(results / "kth.csv", row(data="kth", correct=7, accuracy=0.875))
        assert tracking.check_tables(readme, results) == ["kth"]
        assert list(results.iterdir()) and text == readme.read_text()

    def test_a_marker_without_rows_names_the_file(self, tmp_path):
        with pytest.raises(ValueError, match=r"kth-synth\.csv"):
            tracking.write_tables(self.readme(tmp_path, "kth-synth"), tmp_path)

    def test_a_marker_without_an_end_is_an_error(self, tmp_path):
        readme = tmp_path / "README.md"
        readme.write_text("<!-- results:kth -->\n")
        with pytest.raises(ValueError, match="1 results markers are opened and 0 closed"):
            tracking.check_tables(readme, tmp_path)
