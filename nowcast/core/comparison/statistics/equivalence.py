"""Whether a difference is surely smaller than one that would matter: two one-sided tests."""

from scipy import stats

from nowcast.core.comparison.statistics.verdict import LEVEL


def is_within(low: float, high: float, samples: int, bound: float) -> bool:
    """Whether two one-sided tests at 5 % place a difference within ``-bound`` to ``bound``.

    They do where its 90 % interval lies within (Schuirmann 1987, doi:10.1007/BF01068419). That
    interval has the centre and the standard error of the 95 % one.

    Args:
        low: lower end of the 95 % interval: Student's t, with one degree of freedom less than
            there are samples. With fewer degrees the answer errs on the side of False.
        high: its upper end.
        samples: seeds or blocks, two or more.
        bound: above 0, in the unit of the difference.
    """
    quantiles = stats.t.ppf((1 - LEVEL, 1 - LEVEL / 2), samples - 1)
    half = (high - low) / 2 * float(quantiles[0] / quantiles[1])
    return abs(low + high) / 2 + half <= bound
