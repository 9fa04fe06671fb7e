"""From a score at each lead time to `Scores`: the mean over lead times, support, what is undefined.

Where a score is undefined its reason is stated. The mean over lead times takes the defined ones,
unless a forecast is not a number: no mean may hide that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.core.scoring.sums import Scores

NO_PIXEL = "no valid pixel"
NO_NUMBER = "the forecast is not a number"


@dataclass(frozen=True)
class Curve:
    """One score by lead time.

    Args:
        values: undefined where not finite.
        reasons: why it would be undefined, at each lead time.
    """

    values: NDArray[np.float64]
    reasons: Sequence[str]

    def points(self) -> tuple[float | None, ...]:
        """The values, None where undefined."""
        return tuple(float(value) if np.isfinite(value) else None for value in self.values)

    def mean(self) -> float | None:
        """The mean over the lead times at which the score is defined."""
        finite = np.isfinite(self.values)
        lost = any(
            reason == NO_NUMBER for reason, ok in zip(self.reasons, finite, strict=True) if not ok
        )
        return None if lost or not finite.any() else float(self.values[finite].mean())

    def why(self, minutes: Sequence[float]) -> str | None:
        """Each reason, with its lead times unless it holds at all of them; None if defined."""
        at: dict[str, list[str]] = {}
        for value, reason, minute in zip(self.values, self.reasons, minutes, strict=True):
            if not np.isfinite(value):
                at.setdefault(reason, []).append(f"{minute:g}")
        return "; ".join(
            reason if len(found) == len(minutes) else f"{reason} at {', '.join(found)} min"
            for reason, found in at.items()
        ) or (None if len(minutes) else "no lead time")


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """The ratio, NaN where the denominator is 0."""
    values = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    np.divide(numerator, denominator, out=values, where=denominator != 0)
    return values


def because(*cases: tuple[NDArray[np.bool_], str], otherwise: str) -> list[str]:
    """At each lead time the reason of the first case that holds there."""
    return [
        next((reason for holds, reason in cases if holds[lead]), otherwise)
        for lead in range(len(cases[0][0]))
    ]


def as_scores(
    curves: Mapping[str, Curve],
    clips: int,
    support: Mapping[str, NDArray[np.int64]],
    step_minutes: int,
) -> Scores:
    """Means over lead times and curves, with what they rest on.

    Args:
        curves: each score by lead time.
        clips: how many were scored.
        support: counts by lead time; the single numbers are their sums over lead times.
        step_minutes: time between lead times, minutes.
    """
    leads = len(support["pixels"])
    minutes = tuple(float(step_minutes * lead) for lead in range(1, leads + 1))
    why = {name: curve.why(minutes) for name, curve in curves.items()}
    return Scores(
        values={name: curve.mean() for name, curve in curves.items()},
        curves={name: curve.points() for name, curve in curves.items()},
        along="lead_time",
        axis_name="minutes",
        axis=minutes,
        support={"clips": clips} | {name: int(counts.sum()) for name, counts in support.items()},
        support_curves={name: tuple(map(int, counts)) for name, counts in support.items()},
        why={name: reason for name, reason in why.items() if reason is not None},
    )
