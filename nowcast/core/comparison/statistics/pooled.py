"""How far the average over independent data sets can be trusted, from what is known of each one.

What the blocks of one data set happen to hold says nothing of those of another, so variances of
their differences add up. Columns of one data set are not independent: there, standard errors add
up, which is never less than the true one. The degrees of freedom of the sum are those of Welch
and Satterthwaite (Satterthwaite 1946, doi:10.2307/3002019).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import stats

from nowcast.core.comparison.statistics.bootstrap import Difference, corrected


def pooled(
    found: Sequence[Difference],
    data_sets: Sequence[Sequence[str]],
    names: Sequence[str],
    score: str,
) -> list[Difference]:
    """The mean difference over all columns, of every pair that has an interval in each.

    Args:
        found: differences by each column.
        data_sets: the scores of the columns, by data set; data sets are independent.
        names: of the forecasters, in the order of the table.
        score: name of the mean.
    """
    known = {
        (each.score, each.one, each.other): each
        for difference in found
        if difference.low is not None
        for each in (difference, difference.turned())
    }
    means = [
        _mean([[known[column, one, other] for column in scores] for scores in data_sets], score)
        for one, other in combinations(names, 2)
        if all((column, one, other) in known for scores in data_sets for column in scores)
    ]
    return corrected(means)


def _mean(parts: Sequence[Sequence[Difference]], score: str) -> Difference:
    """Of the differences of one pair, by data set and column."""
    columns = [each for part in parts for each in part]
    value = float(np.mean([each.value for each in columns]))
    errors = np.array([sum(map(_error, part)) / len(columns) for part in parts])
    freedoms = np.array([part[0].blocks - 1 for part in parts])
    error = float(np.sqrt((errors**2).sum()))
    half, p = 0.0, None
    if error:
        shares = (errors / error) ** 2  # of the variance
        freedom = 1 / float((shares**2 / freedoms).sum())
        half = float(stats.t.ppf(0.975, freedom)) * error
        p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return replace(
        columns[0],
        score=score,
        value=value,
        low=value - half,
        high=value + half,
        p=p,
        p_holm=p,
        blocks=sum(part[0].blocks for part in parts),
    )


def _error(found: Difference) -> float:
    """The standard error that an interval was made of."""
    assert found.low is not None and found.high is not None
    return (found.high - found.low) / 2 / float(stats.t.ppf(0.975, found.blocks - 1))
