"""Several comparisons in one table: what is common, what is left out, and the average by hand."""

import csv
import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from nowcast.cli.app import main
from nowcast.core.comparison.combine import combine
from nowcast.core.comparison.compare import compare
from nowcast.core.comparison.results import board_command, report
from nowcast.core.comparison.statistics.bootstrap import Difference
from nowcast.core.errors import ConfigError
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column
from nowcast.core.system.distributed import Ranks
from tests.core.comparison.test_compare import comparison, resolve
from tests.core.toy import ToyTask

ACCURACY = Column("accuracy", "Accuracy", "more", 1, perfect=100.0)
F1 = Column("f1", "F1", "more", 1, perfect=100.0)
BESIDE = Column("accuracy", "Accuracy", "more", 1, main=False, perfect=100.0)
ERROR = Column("error", "Error", "less", 1, perfect=0.0)
Values = dict[int | None, list[float | None]]

RTE: dict[str, Values] = {"A": {0: [60], 1: [62], 2: [64]}, "B": {0: [63], 1: [66], 2: [66]}}
# Other seeds' scores vary much, those of one seed little: only pairs tell B from A.
MRPC: dict[str, Values] = {
    "A": {2: [90, 80], 1: [80, 70], 0: [70, 60]},
    "B": {0: [71, 60], 1: [82, 70], 2: [92, 80]},
}


def write(
    folder: Path,
    columns: tuple[Column, ...],
    rows: dict[str, Values],
    differences: tuple[Difference, ...] = (),
    **changes: Any,
) -> Path:
    """A finished comparison: values by forecaster, seed and column."""
    variants = [name for name, values in rows.items() if None not in values]
    content = {
        "facts": {"data": folder.name.upper(), "split": "valid", "date": "2026-01-02"},
        "notes": [],
        "columns": [asdict(column) for column in columns],
        "parents": dict.fromkeys(variants),
        "edges": {},
        "same_runs": [],
        "rows": [
            {"forecaster": name, "seed": seed}
            | Scores(
                {
                    column.score: None if value is None else float(value)
                    for column, value in zip(columns, values, strict=True)
                },
                {},
                "place",
                (),
                support={"examples": 10},
                why={columns[0].score: "no event"} if values[0] is None else {},
            ).document()
            for name, by_seed in rows.items()
            for seed, values in by_seed.items()
        ],
        "configs": {name: {"data": {"set": folder.name}, "name": name} for name in variants},
        "versions": {},
        "runs": {
            f"{name}/seed {seed}": f"runs/{name}/seed{seed}"
            for name in variants
            for seed in rows[name]
        },
        "differences": [asdict(found) for found in differences],
    } | changes
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(content))
    (folder / "films.json").write_text("[]")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    rte = write(tmp_path / "rte", (ACCURACY,), RTE, (between("accuracy", 3.0, 0.5, 21),))
    mrpc = write(tmp_path / "mrpc", (F1, BESIDE), MRPC, (between("f1", 1.0, 1.2, 11),))
    return [rte, mrpc]


def between(score: str, value: float, error: float, blocks: int) -> Difference:
    """B less A, as the bootstrap tells a standard error."""
    half = stats.t.ppf(0.975, blocks - 1) * error
    p = 2 * stats.t.sf(abs(value) / error, blocks - 1)
    low, high = value - half, value + half
    return Difference(score, "B", "A", value, low, high, p, p, 1, blocks, "more")


def stored(out: Path) -> dict[str, Any]:
    return json.loads((out / "scores.json").read_text())


def lines(out: Path) -> dict[str, dict[str, str]]:
    """``significance.csv`` of one pair of forecasters, by score."""
    rows = csv.DictReader((out / "significance.csv").read_text().splitlines())
    return {row["score"]: row for row in rows}


def test_main_columns_stand_side_by_side_with_their_average(folders: list[Path], tmp_path: Path):
    table = combine(folders, tmp_path / "all")
    assert [column.score for column in table.columns] == ["rte/accuracy", "mrpc/f1", "average"]
    assert table.header() == ["", "Accuracy ↑", "F1 ↑", "average ↑"]
    # A by seed: (60 + 70) / 2, (62 + 80) / 2, (64 + 90) / 2, whatever order seeds are stored in.
    assert table.rows[0].samples("average") == [65, 71, 77]
    assert table.rows[1].samples("average") == [67, 74, 79]
    assert table.cells() == [
        ["A", "62.0 ± 2.0", "80.0 ± 10.0", "71.0 ± 6.0"],
        ["B", "65.0 ± 1.7 *", "81.7 ± 10.5 *", "73.3 ± 6.0 *"],
    ]
    first = table.rows[0].scores[0]
    assert first.support == {"rte/examples": 10, "mrpc/examples": 10}


def test_the_average_is_tested_pair_by_pair_of_seeds(folders: list[Path], tmp_path: Path):
    combine(folders, tmp_path / "all")
    average = lines(tmp_path / "all")["average"]
    expected = stats.ttest_rel([67, 74, 79], [65, 71, 77])
    assert float(average["seeds_p"]) == pytest.approx(expected.pvalue)
    assert average["seeds_verdict"] == "better"  # differences 2, 3, 2


def test_independent_data_sets_give_the_average_its_blocks(folders: list[Path], tmp_path: Path):
    combine(folders, tmp_path / "all")
    found = lines(tmp_path / "all")
    assert float(found["mrpc/f1"]["blocks_p"]) == pytest.approx(2 * stats.t.sf(1 / 1.2, 10))
    # Errors 0.5 / 2 and 1.2 / 2: together 1.3 / 2; Welch and Satterthwaite by hand.
    freedom = 1.3**4 / (0.5**4 / 20 + 1.2**4 / 10)
    half = stats.t.ppf(0.975, freedom) * 0.65
    average = found["average"]
    assert float(average["blocks_low"]) == pytest.approx(2 - half)
    assert float(average["blocks_high"]) == pytest.approx(2 + half)
    assert float(average["blocks_p"]) == pytest.approx(2 * stats.t.sf(2 / 0.65, freedom))
    assert float(average["blocks_p_holm"]) == float(average["blocks_p"])
    assert average["blocks"] == "32"


def test_blocks_are_corrected_over_the_pairs_of_the_table_as_on_every_page(
    folders: list[Path], tmp_path: Path
):
    rows = {**RTE, "C": RTE["A"]}
    own = (
        replace(between("accuracy", 3.0, 1.2, 21), p_holm=0.06, family=3),
        replace(between("accuracy", 3.0, 1.2, 21), one="C", p_holm=0.06, family=3),
        replace(between("accuracy", 0.1, 1.2, 21), one="C", other="B", p_holm=0.9, family=3),
    )
    cola = write(tmp_path / "cola", (ACCURACY,), rows, own)
    combine([cola, folders[1]], tmp_path / "all")  # without C
    found = lines(tmp_path / "all")["cola/accuracy"]
    assert found["blocks_p_holm"] == found["blocks_p"]
    assert found["blocks_verdict"] == "better"


def test_errors_of_columns_of_one_data_set_add_up(folders: list[Path], tmp_path: Path):
    both = (between("accuracy", 3.0, 0.5, 21), between("f1", 1.0, 0.3, 21))
    rows = {name: {seed: [*v, *v] for seed, v in values.items()} for name, values in RTE.items()}
    mnli = write(tmp_path / "mnli", (ACCURACY, F1), rows, both)
    combine([mnli, folders[1]], tmp_path / "all")
    average = lines(tmp_path / "all")["average"]
    error = ((0.5 + 0.3) ** 2 + 1.2**2) ** 0.5 / 3
    freedom = (0.8**2 + 1.2**2) ** 2 / (0.8**4 / 20 + 1.2**4 / 10)
    half = stats.t.ppf(0.975, freedom) * error
    assert float(average["blocks_low"]) == pytest.approx((3 + 1 + 1) / 3 - half)


@pytest.mark.parametrize("facts", [{}, {"data": "RTE"}])
def test_without_other_data_the_average_has_no_blocks(folders: list[Path], tmp_path: Path, facts):
    again = write(
        tmp_path / "again", (F1, BESIDE), MRPC, (between("f1", 1.0, 1.2, 11),), facts=facts
    )
    combine([folders[0], again], tmp_path / "all")
    found = lines(tmp_path / "all")
    assert found["average"]["blocks"] == "" and found["again/f1"]["blocks"] == "11"
    assert "no test over blocks: only comparisons of different data are" in " ".join(
        stored(tmp_path / "all")["notes"]
    )


def test_a_pair_without_an_interval_in_one_column_has_none_in_the_average(
    folders: list[Path], tmp_path: Path
):
    few = Difference("f1", "B", "A", 1.0, None, None, None, None, 0, 3, "more")
    third = write(tmp_path / "third", (F1, BESIDE), MRPC, (few,))
    combine([folders[0], third], tmp_path / "all")
    assert lines(tmp_path / "all")["average"]["blocks"] == ""


def test_scores_of_different_directions_have_no_average(folders: list[Path], tmp_path: Path):
    rain = write(tmp_path / "rain", (ERROR,), RTE)
    table = combine([folders[0], rain], tmp_path / "all")
    assert [column.score for column in table.columns] == ["rte/accuracy", "rain/error"]
    bias = Column("bias", "Bias", "one", 2, perfect=1.0)
    one, other = (write(tmp_path / name, (bias,), RTE) for name in ("x", "y"))
    assert len(combine([one, other], tmp_path / "biases").columns) == 2
    less = combine([rain, write(tmp_path / "snow", (ERROR,), RTE)], tmp_path / "less")
    assert less.columns[-1] == Column("average", "average", "less", 1, perfect=0.0)


def test_the_average_is_undefined_where_a_column_is(folders: list[Path], tmp_path: Path):
    holed = write(tmp_path / "cola", (F1,), {**RTE, "A": {0: [None], 1: [62], 2: [64]}})
    table = combine([folders[0], holed], tmp_path / "all")
    assert table.rows[0].samples("average") == [62, 64]
    scores = table.rows[0].scores[0]
    assert scores.why == {"cola/f1": "no event", "average": "undefined: cola/f1"}


def test_headers_that_clash_are_told_apart_and_others_kept(folders: list[Path], tmp_path: Path):
    qnli = write(tmp_path / "qnli", (ACCURACY,), RTE)
    table = combine([*folders, qnli], tmp_path / "all")
    headers = [column.header for column in table.columns]
    assert headers == ["rte Accuracy", "F1", "qnli Accuracy", "average"]


def test_what_not_all_have_is_left_out_and_named(folders: list[Path], tmp_path: Path):
    baseline: Values = {None: [50]}
    rows = {
        "guess": baseline,
        "B": {3: [1], 2: [66], 1: [66], 0: [63]},
        "C": RTE["A"],
        "A": RTE["A"],
    }
    cola = write(tmp_path / "cola", (ACCURACY,), rows, (between("accuracy", 3.0, 0.5, 21),))
    table = combine([cola, folders[0]], tmp_path / "all")
    assert [row.name for row in table.rows] == ["B", "A"]  # in the order of the first
    assert list(table.rows[0].scores) == [2, 1, 0]
    text = (tmp_path / "all" / "table.md").read_text()
    assert "guess is left out: not in rte." in text and "C is left out: not in rte." in text
    assert "cola: seeds 3 of B are left out" in text
    assert list(stored(tmp_path / "all")["parents"]) == ["B", "A"]
    # The bootstrap of cola is of four networks, the row of three.
    (found,) = stored(tmp_path / "all")["differences"]
    assert found["score"] == "rte/accuracy"


def test_a_baseline_has_an_average_too(tmp_path: Path):
    rows = {"guess": {None: [50]}, **RTE}
    one, other = (write(tmp_path / name, (ACCURACY,), rows) for name in ("x", "y"))
    table = combine([one, other], tmp_path / "all")
    assert table.cells()[0] == ["guess", "50.0", "50.0", "50.0"]


def test_facts_configs_and_notes_tell_what_differs(folders: list[Path], tmp_path: Path):
    facts = {"data": "CoLA", "split": "valid", "date": "2026-01-02", "searched": "a note"}
    cola = write(tmp_path / "cola", (ACCURACY,), RTE, facts=facts, notes=["a note"])
    combine([folders[0], cola], tmp_path / "all")
    content = stored(tmp_path / "all")
    assert content["facts"].keys() == {"split", "comparisons", "date", "machine"}
    assert content["facts"]["comparisons"] == "rte, cola"
    # When it was scored is told of each, even where it is the same: the table is of another day.
    assert content["comparisons"]["cola"]["facts"] == {"data": "CoLA", "date": "2026-01-02"}
    assert content["notes"][-1] == "cola: a note"
    assert content["configs"]["B"] == {"data": {"set": "differs by comparison"}, "name": "B"}


def test_the_page_links_to_each_comparison_and_draws_no_training(tmp_path: Path):
    places = [tmp_path / "deep" / "one two", tmp_path / "other"]
    for place in places:
        compare(comparison(seeds=[0]), resolve, ToyTask, place, Ranks())
    out = tmp_path / "all"
    table = combine(places, out)
    page = (out / "report.html").read_text()
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page)
    assert links == [
        ("../deep/one%20two/report.html", "one two"),
        ("../other/report.html", "other"),
    ]
    for said in ("on one two, other</title>", "What differs between the comparisons", "average:"):
        assert said in page
    assert "training loss" not in page and "<h2>Variants</h2>" in page
    assert "T-MEmeL against P-Original" not in page and "P-MEmeL against P-Original" in page
    # All learned alike in both, since data and seeds are the same.
    for row in table.rows:
        assert row.mean("average") == pytest.approx(row.mean("other/error"))
    runs = stored(out)["runs"]
    assert len(runs) == 6 and (out / runs["one two/P-MEmeL/seed 0"]).is_dir()
    assert board_command(out) == f"nowcast board {tmp_path}"
    assert report(out).markdown() == table.markdown()
    assert (out / "report.html").read_text() == page


@pytest.mark.parametrize(("other", "common"), [(2.0, 2.0), (1.0, None), (None, None)])
def test_an_equivalence_bound_is_kept_where_all_have_the_same(
    tmp_path: Path, other: float | None, common: float | None
):
    folders = [
        write(tmp_path / name, (ACCURACY,), RTE, equivalence=bound)
        for name, bound in (("rte", 2.0), ("cola", other))
    ]
    combine(folders, tmp_path / "all")
    content = stored(tmp_path / "all")
    assert content["equivalence"] == common
    note = (
        f"No equivalence bound here, since the comparisons differ: rte 2.0, cola {other or 'none'}."
    )
    assert (note in content["notes"]) == (common is None)


def test_comparisons_of_before_have_main_columns_alone(folders: list[Path], tmp_path: Path):
    content = stored(folders[1])
    for column in content["columns"]:
        del column["main"]
    (folders[1] / "scores.json").write_text(json.dumps(content))
    table = combine(folders, tmp_path / "all")
    assert [column.header for column in table.columns[:-1]] == [
        "rte Accuracy",
        "F1",
        "mrpc Accuracy",
    ]


def test_the_command_prints_table_and_paths_and_may_be_repeated(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for command in (["combine", "rte", "mrpc", "--out", "all"],) * 2, (["report", "all"],):
        for arguments in command:
            monkeypatch.setattr(sys, "argv", ["nowcast", *arguments])
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code
            said = capsys.readouterr().out
            assert "average" in said and "73.3" in said
            assert "report       all/report.html" in said
            assert "tensorboard  nowcast board .\n" in said


def no_main_column(folder: Path) -> None:
    write(folder / "none", (BESIDE,), RTE)


def other_forecasters(folder: Path) -> None:
    write(folder / "none", (F1,), {"C": RTE["A"]})


def other_seeds(folder: Path) -> None:
    write(folder / "none", (F1,), {"A": {7: [1]}, "B": {0: [1]}})


def other_descent(folder: Path) -> None:
    write(folder / "none", (F1,), RTE, parents={"A": None, "B": "A"})


def test_to_score_runs_and_to_start_from_them_is_not_the_same(tmp_path: Path):
    parents = {"A": None, "B": "A"}
    write(tmp_path / "one", (F1,), RTE, parents=parents, same_runs=["B"])
    write(tmp_path / "two", (F1,), RTE, parents=parents)
    with pytest.raises(ConfigError, match="B to score the runs of A as in one, found it to start"):
        combine([tmp_path / "one", tmp_path / "two"], tmp_path / "all")


def of_several(folder: Path) -> None:
    combine([folder / "rte", folder / "mrpc"], folder / "none")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "expected scores.json of a comparison"),
        (no_main_column, "none: expected a main score, found none"),
        (other_forecasters, "found none: rte has A, B; none has C; combine comparisons of the"),
        (other_seeds, "A: expected a seed .* none: rte has 0, 1, 2; none has 7; train the same"),
        (
            other_descent,
            "none: expected B to start from nothing as in rte, found it to start from A",
        ),
        (of_several, "none: expected one comparison, found a table of several; .*: rte, mrpc"),
    ],
)
def test_what_cannot_be_combined_says_why(folders: list[Path], tmp_path: Path, make, said: str):
    make(tmp_path)
    with pytest.raises(ConfigError, match=said):
        combine([folders[0], tmp_path / "none"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("name", ["average", "split", "support", "seed", "comparisons"])
def test_names_with_a_meaning_of_their_own_are_refused(
    folders: list[Path], tmp_path: Path, name: str
):
    write(tmp_path / name, (F1,), RTE)
    with pytest.raises(ConfigError, match=f"{name} has a meaning in scores.json; rename"):
        combine([folders[0], tmp_path / name], tmp_path / "all")


def test_two_comparisons_of_different_names_are_needed(folders: list[Path], tmp_path: Path):
    with pytest.raises(ConfigError, match="expected two comparisons or more, found 1"):
        combine(folders[:1], tmp_path / "all")
    twin = write(tmp_path / "deep" / "rte", (ACCURACY,), RTE)
    with pytest.raises(ConfigError, match=r"found rte twice; .* NAME=DIR"):
        combine([folders[0], twin], tmp_path / "all")
    table = combine([folders[0], twin], tmp_path / "all", [None, "twin"])
    assert table.columns[1].score == "twin/accuracy"


def test_a_comparison_is_never_overwritten(folders: list[Path], tmp_path: Path):
    before = (folders[0] / "scores.json").read_bytes()
    with pytest.raises(ConfigError, match="there is a comparison in it; choose another"):
        combine(folders, folders[0])
    assert (folders[0] / "scores.json").read_bytes() == before
