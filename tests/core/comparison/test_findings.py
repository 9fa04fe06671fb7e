"""Every case of a comparison in words, in the table, and in the CSV."""

import csv
from dataclasses import replace

import pytest

from nowcast.core.comparison.findings import as_csv, as_sections, sentence
from nowcast.core.comparison.references import Reference
from nowcast.core.comparison.statistics.bootstrap import Difference
from nowcast.core.comparison.statistics.significance import Contrast, SeedTest
from nowcast.core.scoring.table import Column

COLUMN = Column("b_mse", "B-MSE", "less", 0, perfect=0.0)
SEEDS = SeedTest(-40.4, 24.2, -0.5, 0.2, 0.41, 6)
BLOCKS = Difference("b_mse", "T-MEmeL", "T-Original", -8.1, -31.3, 12.4, 0.3, 0.6, 10, 8, "less")
FOUND = Contrast(COLUMN, "T-MEmeL", "T-Original", 571.4, 579.5, 3, SEEDS, BLOCKS)
SURE = replace(SEEDS, low=-12.0, high=-4.2, effect=-4.0, p_holm=0.0004)
SURE_BLOCKS = replace(BLOCKS, low=-13.0, high=-3.2, p_holm=0.012)


def verdict(found: Contrast) -> str:
    return sentence(found).rpartition(": ")[2]


def test_a_sentence_in_full():
    assert sentence(FOUND) == (
        "B-MSE: T-MEmeL is 8 lower than T-Original (1.4 %; 95 % interval over 3 seeds -40 to +24, "
        "p = 0.41 after Holm over 6 pairs, d = -0.50; over 8 blocks -31 to +12, p = 0.6 after Holm "
        "over 10 pairs): not distinguishable."
    )


def test_a_single_pair_needs_no_correction_and_small_p_no_digits():
    single = sentence(replace(FOUND, seeds=replace(SURE, family=1)))
    assert "over 3 seeds -12 to -4, p < 0.001, d = -4.00;" in single


@pytest.mark.parametrize(
    ("seeds", "blocks", "expected"),
    [
        (SURE, SURE_BLOCKS, "better, over seeds and over blocks."),
        (SURE, BLOCKS, "better over seeds, not distinguishable over blocks."),
        (SURE, None, "better over seeds, not tested over blocks."),
        (SEEDS, SURE_BLOCKS, "not distinguishable over seeds, better over blocks."),
        (SEEDS, None, "not distinguishable over seeds, not tested over blocks."),
        (None, SURE_BLOCKS, "not tested over seeds, better over blocks."),
        (None, BLOCKS, "not tested over seeds, not distinguishable over blocks."),
        (None, None, "not tested."),
    ],
)
def test_a_verdict_is_of_the_seeds_and_says_where_blocks_disagree(seeds, blocks, expected):
    assert verdict(replace(FOUND, seeds=seeds, blocks=blocks)) == expected


def test_where_the_correction_alone_makes_the_verdict_the_sentence_has_both_p():
    near = replace(SURE_BLOCKS, p=0.02, p_holm=0.2)  # its interval excludes zero
    text = sentence(replace(FOUND, seeds=None, blocks=near))
    assert "p = 0.2 after Holm over 10 pairs (0.02 uncorrected))" in text
    assert text.endswith("not tested over seeds, not distinguishable over blocks.")


def test_fewer_than_three_seeds_print_no_p():
    two = sentence(replace(FOUND, pairs=2, seeds=None, blocks=None))
    assert "(1.4 %; 2 seeds: no test, at least 3 are needed; no sums by block): not tested." in two
    assert "p =" not in two
    baseline = replace(FOUND, other="persistence", pairs=0, seeds=None)
    assert "no seed in common: no test; over 8 blocks" in sentence(baseline)


def test_too_few_blocks_say_so():
    few = replace(BLOCKS, blocks=4, low=None, high=None, p=None, p_holm=None)
    text = sentence(replace(FOUND, blocks=few))
    assert "no interval over blocks: 4 of at least 5 blocks" in text
    assert text.endswith("not distinguishable over seeds, not tested over blocks.")
    assert "too few events" in sentence(replace(FOUND, blocks=replace(few, blocks=9)))


def test_no_difference_and_one_below_the_digits():
    same = SeedTest(0.0, 0.0, None, None, None, 5)
    still = replace(BLOCKS, value=0.0, low=0.0, high=0.0, p=None, p_holm=None)
    equal = replace(FOUND, one_value=0.0, other_value=0.0, seeds=same, blocks=still)
    assert sentence(equal) == (
        "B-MSE: T-MEmeL equals T-Original (the same difference in each of 3 seeds; the same "
        "difference in each of 8 blocks): not distinguishable."
    )
    near = replace(FOUND, column=Column("csi/10", "CSI", "more", 3, perfect=1.0), one_value=0.2003)
    assert "CSI: T-MEmeL is less than 0.001 higher than T-Original (0.1 %" in sentence(
        replace(near, other_value=0.2)
    )
    assert sentence(replace(FOUND, one_value=None)) == (
        "B-MSE: T-MEmeL and T-Original cannot be compared: the score is undefined."
    )


def test_a_section_for_each_pair_of_interest_alone():
    other = replace(FOUND, other="P-Original", seeds=None, blocks=None)
    against = {
        "T-Original": Reference("P-Original", "what it starts from"),
        "T-MEmeL": Reference("T-Original", "they differ in memel alone"),
    }
    first, section = as_sections([other, FOUND, replace(other, one="T-Original")], against)
    assert section.title == "T-MEmeL against T-Original"
    assert section.sentences == [sentence(FOUND)]
    assert section.rows == [
        [*("B-MSE ↓", "-8", "3", "-40 to +24", "-0.50", "0.41"), *("8", "-31 to +12", "0.6")]
    ]
    assert len(section.header) == len(section.rows[0])
    assert first.rows[0][3:] == ["–"] * 6
    for words in ("trained with other seeds", "on other samples", "significance.csv"):
        assert words in first.note and words not in section.note
    assert f"- {sentence(FOUND)}\n\n| Score |" in section.markdown()
    assert section.note.endswith("Why T-Original: they differ in memel alone.")
    assert "reference:" in first.note and "differs least" in first.note
    assert as_sections([other], {}) == []


def test_a_pair_is_shown_whichever_of_the_two_is_listed_first():
    (section,) = as_sections([FOUND], {"T-Original": Reference("T-MEmeL", "as the config says")})
    assert section.rows == [
        [*("B-MSE ↓", "+8", "3", "-24 to +40", "+0.50", "0.41"), *("8", "-12 to +31", "0.6")]
    ]
    assert FOUND.turned().turned() == FOUND


def test_the_csv_keeps_seeds_and_blocks_apart():
    lines = list(csv.DictReader(as_csv([FOUND, replace(FOUND, seeds=None)]).splitlines()))
    full, without = lines
    assert (full["seeds"], full["seeds_low"], full["seeds_p_holm"]) == ("3", "-40.4", "0.41")
    assert (full["blocks"], full["blocks_low"], full["blocks_p_holm"]) == ("8", "-31.3", "0.6")
    assert (full["seeds_verdict"], full["blocks_verdict"]) == ("not distinguishable",) * 2
    assert float(full["difference"]) == pytest.approx(-8.1)
    assert full["in_words"] == sentence(FOUND)
    assert (without["seeds_p"], without["seeds_verdict"]) == ("", "")
    assert as_csv([]) == ""
