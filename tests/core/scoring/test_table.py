"""The comparison's table against values worked by hand."""

import pytest

from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import DASH, Column, Row, Table, markdown_table

COLUMNS = (
    Column("error", "Error", "less", 0, perfect=0.0),
    Column("hit/2", "Hit 2", "more", 2, perfect=1.0),
)


def scores(error: float | None, hit: float | None) -> Scores:
    return Scores({"error": error, "hit/2": hit}, {}, "minutes", ())


BASELINE = Row("baseline", {None: scores(7.0, 0.25)})
TRAINED = Row("trained", {0: scores(2.0, 0.5), 1: scores(4.0, None), 2: scores(9.0, 0.7)})


def test_mean_and_sample_deviation_by_hand() -> None:
    # (2 + 4 + 9) / 3 = 5; (9 + 1 + 16) / (3 - 1) = 13
    assert TRAINED.mean("error") == 5.0
    assert TRAINED.deviation("error") == pytest.approx(13**0.5)


def test_a_seed_whose_score_is_undefined_is_left_out() -> None:
    # (0.5 + 0.7) / 2 = 0.6; (0.01 + 0.01) / (2 - 1) = 0.02
    assert TRAINED.samples("hit/2") == [0.5, 0.7]
    assert TRAINED.mean("hit/2") == pytest.approx(0.6)
    assert TRAINED.deviation("hit/2") == pytest.approx(0.02**0.5)


def test_one_seed_has_no_deviation_and_no_seed_no_mean() -> None:
    assert BASELINE.mean("error") == 7.0
    assert BASELINE.deviation("error") is None
    empty = Row("empty", {0: scores(None, None)})
    assert (empty.mean("error"), empty.deviation("error")) == (None, None)
    assert empty.mean("never scored") is None


def test_best_is_the_least_or_the_most_as_the_column_says() -> None:
    low, high = Row("low", {0: scores(1.0, 0.1)}), Row("high", {0: scores(3.0, 0.9)})
    assert Table(COLUMNS, (low, high)).cells() == [
        ["low", "1 *", "0.10"],
        ["high", "3", "0.90 *"],
    ]


def test_equal_means_are_both_best_and_rounding_makes_none() -> None:
    rows = tuple(Row("any", {0: scores(error, 0.5)}) for error in (1.0, 1.0, 1.01))
    assert [row[1] for row in Table(COLUMNS, rows).cells()] == ["1 *", "1 *", "1"]


def test_a_column_that_nobody_has_is_all_dashes() -> None:
    rows = (Row("a", {0: scores(None, 0.5)}), Row("b", {None: scores(None, 0.4)}))
    assert [row[1] for row in Table(COLUMNS, rows).cells()] == [DASH, DASH]


def test_markdown() -> None:
    assert Table(COLUMNS, (BASELINE, TRAINED)).markdown() == (
        "|  | Error ↓ | Hit 2 ↑ |\n"
        "| --- | ---: | ---: |\n"
        "| baseline | 7 | 0.25 |\n"
        "| trained | 5 ± 4 * | 0.60 ± 0.14 * |\n"
    )


def test_csv_has_a_line_per_seed_at_full_precision() -> None:
    thirds = Row("a, b", {0: scores(1 / 3, None)})
    assert Table(COLUMNS, (BASELINE, thirds)).csv() == (
        'forecaster,seed,error,hit/2\nbaseline,,7.0,0.25\n"a, b",0,0.3333333333333333,\n'
    )


def test_nearest_to_one_is_best_where_the_column_says_so() -> None:
    rows = tuple(Row(f"{value}", {0: scores(value, None)}) for value in (0.2, 1.3, 2.0))
    table = Table((Column("error", "Bias", "one", 1, perfect=1.0),), rows)
    assert table.header() == ["", "Bias → 1"]
    assert [cells[1] for cells in table.cells()] == ["0.2", "1.3 *", "2.0"]


def column(best: str, perfect: float | None) -> Column:
    return Column("score", "Score", best, 2, perfect=perfect)


def test_skill_of_a_percentage_ends_at_100() -> None:
    # From 10 % to 80 %: 70 of the 90 on the way; taken as if 1 were perfect it was -7.8.
    assert column("more", 100.0).skill(80.0, 10.0) == pytest.approx(70 / 90)
    assert column("more", 100.0).skill(5.0, 10.0) == pytest.approx(-5 / 90)
    assert column("more", 100.0).skill(100.0, 10.0) == 1
    assert column("more", 100.0).skill(10.0, 10.0) == 0


def test_skill_of_an_error_and_of_a_share() -> None:
    assert column("less", 0.0).skill(300.0, 400.0) == pytest.approx(0.25)
    assert column("more", 1.0).skill(0.55, 0.4) == pytest.approx(0.25)


def test_the_nearer_to_one_is_the_better_and_overshooting_is_no_gain() -> None:
    bias = column("one", 1.0)
    assert bias.skill(1.1, 0.5) == pytest.approx(0.8)  # not 1.2
    assert bias.skill(0.9, 0.5) == pytest.approx(0.8)
    assert bias.skill(2.0, 0.5) == pytest.approx(-1.0)
    assert bias.skill(0.5, 2.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("perfect", "value", "reference"),
    [
        (None, 1.0, 2.0),
        (0.0, None, 2.0),
        (0.0, 1.0, None),
        (0.0, 1.0, 0.0),
        (0.0, float("inf"), 2.0),
        (0.0, float("nan"), 2.0),
        (0.0, 1.0, float("inf")),
    ],
)
def test_where_there_is_no_skill(perfect, value, reference) -> None:
    assert column("less", perfect).skill(value, reference) is None


def test_every_mark_is_explained_and_none_that_is_not_there() -> None:
    full = Table(COLUMNS, (BASELINE, TRAINED, Row("none", {0: scores(None, None)})))
    assert full.legend == (
        "↓ less is better; ↑ more is better; * or bold: the best mean of its column, whether or "
        "not the difference is significant; ± sample standard deviation over seeds; – undefined"
    )
    assert Table(COLUMNS[:1], (BASELINE,)).legend == "↓ less is better"
    bias = Table((column("one", 1.0),), (BASELINE,))
    assert bias.legend.startswith("→ 1 the nearer to one the better")


def test_a_bar_or_a_line_break_in_a_name_breaks_no_markdown() -> None:
    assert markdown_table(["a|b", "c"], [["1\n2", "x"]]) == (
        "| a\\|b | c |\n| --- | --- |\n| 1<br>2 | x |\n"
    )
