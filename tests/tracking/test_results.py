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


def plain(table):
    """A table with spaces that may be broken into lines, as a reader types them."""
    return table.replace("\N{NO-BREAK SPACE}", " ")


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
        lines = tracking.results_table(tracking.read_results(tmp_path / "a.csv")).splitlines()[2:4]
        names = [line.split(" | ")[0] for line in lines]
        assert names == ["| Bi-GRU (`gru`)", "| Bi-GRU (`gru`), dense"]

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


DAMAGE = {
    "an older header": (lambda text: text.replace(",recipe", ""), r"cells|differs in \['recipe'\]"),
    "a foreign line": (lambda text: "<html></html>\n", "differs in"),
    "a column twice": (
        lambda text: "".join(f"{line},data\n" for line in text.splitlines()),
        r"differs in \['data'\]",
    ),
    "many digits": (
        lambda text: text.replace(",1234567,", f",{'9' * 5000},"),
        "9{12}.{0,20} no number",
    ),
    "another file": (lambda text: "a;b\n1;2\n", "differs in"),
    "not a number": (lambda text: text.replace(",1234567,", ",nan,"), "row 2: parameters is 'nan'"),
    "a short row": (lambda text: text + "gru,KTH\n", "row 3: not 22 cells"),
    "a long field": (lambda text: text + "a" * 200_000 + "\n", "line 3: no row of CSV"),
    "no text": (lambda text: text + "\udcff", "no row of CSV"),
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_file_that_takes_no_row_is_refused_and_left_as_it_is(self, tmp_path, damage):
        change, said = DAMAGE[damage]
        path = tmp_path / "kth.csv"
        tracking.check_file(path, tracking.COLUMNS)
        tracking.append_result(path, row())
        tracking.check_file(path, tracking.COLUMNS)
        before = change(path.read_text()).encode("utf-8", "surrogateescape")
        path.write_bytes(before)
        with pytest.raises(ValueError, match=rf"kth\.csv.*({said})"):
            tracking.check_file(path, tracking.COLUMNS)
        with pytest.raises(ValueError, match=rf"kth\.csv.*({said})"):
            tracking.append_result(path, row(seed=1))
        assert path.read_bytes() == before


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
    def test_runs_in_full(self):
        rows = [
            row(seed=seed, level=level, accuracy=accuracy, person_low=low, person_high=0.9)
            for seed, accuracy, low in ((0, 0.5, 0.5), (1, 0.75, 0.6), (2, 1.0, 0.7))
            for level in ("segment", "video")
        ]
        rows += [row(experiment="average", recipe="dense", trained_on="KTH", seconds=0.4)]
        rows += [row(experiment="tcn", seed=seed) for seed in (0, 1, 2)]
        assert (
            plain(tracking.results_table(table_of(*rows), order=("gru",)))
            == f"""\
| method | segments, % | videos, % | frames | parameters |
|---|---|---|---|---:|
| multi-frame averaging (`average`), dense, trained on KTH, 1 seed | \
75.0 (6 of 8) [W 41.0, 93.0] |  | 16 uniform | 1,234,567 |
| Bi-GRU (`gru`) | 75.0 ± 25.0 of 8 [W 41.0, 93.0] | 75.0 ± 25.0 of 8 [W 41.0, 93.0] | \
16 uniform | 1,234,567 |
| temporal convolution (`tcn`) | 75.0 ± 0.0 of 8 [W 41.0, 93.0] |  | 16 uniform | 1,234,567 |

KTH-Synth, test, trained on KTH-Synth, 3 seeds, unless a row says otherwise. {tracking.INTERVALS}"""
        )

    def test_the_interval_over_persons_is_shown_where_they_are_many_and_every_seed_has_one(self):
        many = {"n": 216, "person_high": 0.9}
        rows = [row(seed=seed, person_low=0.6 + 0.1 * seed, **many) for seed in (0, 1)]
        assert "75.0 ± 0.0 of 216 [65.0, 90.0] |" in plain(tracking.results_table(table_of(*rows)))
        rows[1]["person_low"] = ""
        assert "75.0 ± 0.0 of 216 [W 41.0, 93.0] |" in plain(
            tracking.results_table(table_of(*rows))
        )

    @pytest.mark.parametrize(
        ("changes", "cells"),
        [
            ({"frames": "mean of uniform 8"}, "mean of 8 uniform"),
            ({"frames": "8x4, frame offset 2"}, "8 x stride 4, stacks of 3"),
            ({"frames": "24x2; 8x4"}, "24 x stride 2; 8 x stride 4"),
            ({"size": "144x192"}, "16 uniform, 144x192"),
            ({"experiment": "new", "weights": "imagenet"}, "16 uniform, imagenet"),
        ],
    )
    def test_what_a_model_is_shown_is_in_words_with_what_is_unusual(self, changes, cells):
        table = plain(tracking.results_table(table_of(row(**changes))))
        assert f" | {cells} | 1,234,567 |" in table
        assert ("| new | " in table) == ("experiment" in changes)

    def test_a_cell_is_broken_before_its_interval_alone(self):
        rows = table_of(*(row(seed=seed) for seed in (0, 1)))
        cell = tracking.results_table(rows).splitlines()[2].split(" | ")[1]
        assert cell.split(" ") == [
            "75.0\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.0\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}8",
            "[W\N{NO-BREAK SPACE}41.0,\N{NO-BREAK SPACE}93.0]",
        ]

    def test_comparisons_on_several_things_say_on_what_in_a_column(self):
        pair = dict.fromkeys(tracking.PAIR_COLUMNS, "1")
        table = tracking.pairs_table(table_of(pair, pair | {"split": "2"}))
        assert table.splitlines()[2].endswith(" | 1 1s of 1 persons, 1 seeds, 1 |")
        assert table.splitlines()[3].endswith(" | 1 1s of 1 persons, 1 seeds, 2 |")

    def test_the_summary_sets_rendered_videos_beside_real_segments(self):
        rendered = [
            row(seed=seed, level=level, n=216, correct=200 + seed, accuracy=(200 + seed) / 216)
            for seed in (0, 1)
            for level in ("segment", "video")
        ]
        rendered += [row(experiment="tcn", level="video"), row(experiment="ghost", level="video")]
        real = [row(seed=seed, correct=50 + seed, n=52, data="KTH clips") for seed in (0, 1)]
        assert (
            plain(tracking.summary_table(table_of(*rendered), table_of(*real)))
            == """\
| method | frames | parameters | KTH-Synth test, videos, % | real KTH, segments |
|---|---|---:|---|---|
| ghost frame (`ghost`) | 16 uniform | 1,234,567 | 75.0 (6 of 8) [W 41.0, 93.0] |  |
| Bi-GRU (`gru`) | 16 uniform | 1,234,567 | 92.8 ± 0.3 of 216 [W 41.0, 93.0] | \
50 51 of 52 [W 41.0, 93.0] |
"""
        )

    def test_a_cross_validation_in_short(self):
        rows = [row(split="5-fold by subject", level=level) for level in ("segment", "video")]
        assert (
            plain(tracking.crossval_table(table_of(*rows)))
            == """\
| method | scheme | segments, % | videos, % |
|---|---|---|---|
| Bi-GRU (`gru`) | 5-fold by subject | 75.0 (6 of 8) [W 41.0, 93.0] | 75.0 (6 of 8) \
[W 41.0, 93.0] |
"""
        )

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
            plain(tracking.pairs_table(table_of(pair)))
            == """\
| a | b | difference | a is | only a right | only b right | McNemar p |
|---|---|---|---|---:|---:|---:|
| Bi-GRU | ghost frame | +2.2 [-0.8, +5.0] | not worse | 7 | 2 | 0.039 |

On 216 videos of 9 persons, 3 seeds, test.
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
            plain(tracking.measurement_table(rows))
            == """\
| | value | times ours | note |
|---|---:|---:|---|
| **t, ms** |  |  |  |
| ours | 2 | 1 |  |
| other | 1,235 | 617 | slow |
| **u** |  |  |  |
| ours | 1.234e-05 |  | alone |

Measured on 2026-01-01: 2 cores.
"""
        )

    def test_a_task_alone_is_the_head_of_its_table(self):
        rows = self.measured(
            ("t", "a", 50, "%", "", "1 of 2; then"), ("t", "b", 0, "%", "", "0 of 2")
        )
        assert (
            plain(tracking.measurement_table(rows))
            == """\
| t, % of 2 | value | note |
|---|---:|---|
| a | 50.0 [9, 91] | 1; then |
| b | 0.0 [0, 66] | 0 |

Measured on 2026-01-01: 2 cores.
"""
        )

    def test_units_that_differ_and_seeds_without_an_interval(self):
        rows = self.measured(
            ("t", "a", 1, "s", "", "x; y"),
            ("t", "c", 1, "m", "", ""),
            ("u", "b", 66.67, "%", "", "3 1 of 3"),
            ("v", "b", 0.25, "%", "", "of 4"),
        )
        assert plain(tracking.measurement_table(rows)).splitlines()[2:9] == [
            "| **t** |  |  |",
            "| a | 1 s | x; y |",
            "| c | 1 m |  |",
            "| **u, % of 3** |  |  |",
            "| b | 66.7 | 3 1 |",
            "| **v, %** |  |  |",
            "| b | 0.25 | of 4 |",
        ]

    def test_a_benchmark_does_not_show_accuracies(self):
        rows = self.measured(("t", "a", 1, "s", "", ""), ("t", "b", 50, "%", "", "1 of 2"))
        table = tracking.make_table("bench_x", rows)
        assert table.startswith("| t, s | value |\n|---|---:|\n| a | 1 |\n\n")
        assert "| b |" in tracking.make_table("study_x", rows)

    @pytest.mark.parametrize("turned", [False, True])
    def test_tasks_that_share_their_methods_are_a_grid_the_longer_list_downwards(self, turned):
        cells = {("s", "b"): 10, ("s", "a"): 20, ("s", "c"): 30}
        cells |= {("r", "b"): 1, ("r", "a"): 2, ("r", "c"): 3}
        if turned:
            cells = {(method, task): cells[task, method] for task, method in sorted(cells)}
        rows = self.measured(
            *(
                (task, method, value, "ms", "", f"{value} of; more" if value > 9 else "")
                for (task, method), value in cells.items()
            )
        )
        first, second = ("a", "b") if turned else ("b", "a")
        values = {"a": ("20 (20 of)", "2"), "b": ("10 (10 of)", "1")}
        lines = [" | ".join(values[name][:: -1 if turned else 1]) for name in (first, second)]
        head = "| ms | r | s |" if turned else "| ms | s | r |"
        assert plain(tracking.measurement_table(rows)).startswith(
            f"{head}\n|---|---|---|\n| {first} | {lines[0]} |\n| {second} | {lines[1]} |\n"
        )

    def test_what_all_tasks_of_a_grid_share_is_in_its_corner(self):
        rows = self.measured(
            ("t", "a", 50, "%", "", "1 of 2"),
            ("t", "b", 50, "%", "", "2 1 of 2"),
            ("u", "a", 50, "%", "", "1 of 2"),
            ("u", "b", 50, "%", "", "0 of 2; x"),
        )
        assert plain(tracking.measurement_table(rows)).startswith(
            "| % of 2 | a | b |\n|---|---|---|\n"
            "| t | 50.0 [9, 91] (1) | 75.0 (2 1) |\n| u | 50.0 [9, 91] (1) | 0.0 [0, 66] (0) |\n"
        )
        other = rows.assign(note=["1 of 2", "1 of 2", "1 of 4", "1 of 4"])
        assert plain(tracking.measurement_table(other)).startswith(
            "| | a | b |\n|---|---|---|\n"
            "| t, % of 2 | 50.0 [9, 91] (1) | 50.0 [9, 91] (1) |\n| u, % of 4 | 25.0 ["
        )

    def test_the_order_of_experiments_is_the_callers(self):
        rows = table_of(*(row(experiment=name) for name in ("average", "zeta", "ghost", "alpha")))
        lines = tracking.results_table(rows, order=("ghost", "average")).splitlines()[2:]
        names = [line.split(" | ")[0] for line in lines[:4]]
        assert names == [
            "| ghost frame (`ghost`)",
            "| multi-frame averaging (`average`)",
            "| alpha",
            "| zeta",
        ]

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
