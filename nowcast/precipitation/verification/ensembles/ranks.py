"""Where among its members does the truth fall? Anywhere as often, or the ensemble is wrong."""

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.verification.curves import NO_NUMBER, Curve, because, ratio
from nowcast.precipitation.verification.ensembles.crps import ONE_MEMBER, members_of
from nowcast.precipitation.verification.ensembles.wet import Wet

CENTRAL = (50, 90)  # per cent


def rank_counts(wet: Wet, rng: np.random.Generator) -> Int64[np.ndarray, " rank"]:
    """Pixels by how many members are below the truth, 0 to all; ties are broken at random.

    Hamill 2001, doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2.
    """
    below = (wet.members < wet.truth).sum(0)
    equal = (wet.members == wet.truth).sum(0)
    rank = below + (rng.random(len(below)) * (equal + 1)).astype(np.int64)
    return np.bincount(rank, minlength=len(wet.members) + 1).astype(np.int64)


def rank_curves(sums: Sums) -> dict[str, Curve]:
    """``coverage/50``, ``coverage/90``: how often the truth lies in the members' central range.

    Share of the pixels whose rank r among m members is in the central 50 or 90 % of the m + 1
    ranks, of which rank r is from r / (m + 1) to (r + 1) / (m + 1); one that is partly inside
    counts by that part. [0, 1], best 0.5 and 0.9; less is too sure, more too unsure. It is the
    coverage of the randomised probability integral transform (Czado et al. 2009,
    doi:10.1111/j.1541-0420.2009.01191.x), and has no more coverage of dry pixels than it should,
    as a closed interval from 0 would.

    Only pixels count at which the truth or a member has rain: where all are dry the rank is a draw
    that says nothing. That choice treats truth and members alike, and so keeps the histogram of a
    calibrated ensemble flat.
    """
    counts = sums["ranks"]
    members = members_of(sums)
    lost = np.isnan(sums["member_error_pixel"])
    alone = np.full(lost.shape, members == 1)
    curves = {}
    for percent in CENTRAL:
        share = ratio(inside(members, percent / 100) @ counts, counts.sum(0))
        reasons = because(
            (lost, NO_NUMBER),
            (alone, ONE_MEMBER),
            otherwise="no valid pixel at which truth or forecast has rain",
        )
        curves[f"coverage/{percent}"] = Curve(np.where(lost | alone, np.nan, share), reasons)
    return curves


def inside(members: int, central: float) -> NDArray[np.float64]:
    """Which part of each rank lies in the central share of them, 0 to 1."""
    edges = np.linspace(0, 1, members + 2).clip((1 - central) / 2, (1 + central) / 2)
    return np.diff(edges) * (members + 1)
