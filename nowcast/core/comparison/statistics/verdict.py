"""The one rule by which every page says whether two forecasters can be told apart."""

LEVEL = 0.05
SMALL_P = 0.001  # below, digits of a p-value mean nothing
NOT_DISTINGUISHABLE = "not distinguishable"
NOT_TESTED = "not tested"

RULE = (
    f"A pair is told apart by a score (better or worse) where p is at most {LEVEL} after Holm's "
    "correction over all pairs of forecasters on this page that are tested by that score; "
    f"otherwise it is {NOT_DISTINGUISHABLE}. All pages follow this rule. A page of more "
    "forecasters corrects over more pairs, so the same pair may be told apart on one page and not "
    "on another; its p before the correction is the same on both. A 95 % interval is of one "
    "difference by itself, without the correction: it may exclude zero where the verdict is "
    f"{NOT_DISTINGUISHABLE}."
)
MARKS = f"Bold: best mean. Dagger: not told apart from it (p above {LEVEL} after Holm, or no test)."


def verdict(best: str, difference: float, p_holm: float | None) -> str:
    """What a tested difference says of a forecaster, in words.

    Args:
        best: of the column: ``less``, ``more``, ``one`` or ``level``.
        difference: the forecaster's score less the other's.
        p_holm: two-sided p of no difference, corrected after Holm over the page's pairs by this
            score; None where nothing varies, so that there is no test.

    Returns:
        ``better``, ``worse``, ``not distinguishable`` or ``not tested``. Where the nearer to one or
        another level is the better, the sign of a difference does not tell which is better: it is
        ``different``.
    """
    if difference == 0:
        return NOT_DISTINGUISHABLE
    if p_holm is None:
        return NOT_TESTED
    if p_holm > LEVEL:
        return NOT_DISTINGUISHABLE
    if best in ("one", "level"):
        return "different"
    return "better" if (difference < 0) == (best == "less") else "worse"


def p_text(p: float | None, p_holm: float | None) -> str:
    """The corrected p, e.g. ``p = 0.012``, and the uncorrected one where only that would pass."""
    if p_holm is None:
        return "no p"
    text = f"p {'' if p_holm < SMALL_P else '= '}{rounded(p_holm)}"
    return f"{text} ({rounded(p)} uncorrected)" if p is not None and p <= LEVEL < p_holm else text


def rounded(p: float) -> str:
    """Two digits, or that it is very small."""
    return f"< {SMALL_P}" if p < SMALL_P else f"{p:.2g}"
