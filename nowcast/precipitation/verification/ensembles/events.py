"""How many members say that it rains that hard, and how often it does: all that Brier scores,
reliability diagrams, ROC and economic value need is one table of counts, and so all are exact."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, Integer
from numpy.typing import NDArray

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, because, ratio
from nowcast.precipitation.verification.ensembles.crps import members_of
from nowcast.precipitation.verification.ensembles.wet import Wet

COST_LOSS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # what protection costs / what it saves
COMMON_SHARE = 0.01  # of the cases; a bin with fewer says little of reliability


def reached(wet: Wet, thresholds: Sequence[float]) -> Integer[np.ndarray, "threshold pixel"]:
    """How many members are at or above each threshold (pixels) at each of some pixels."""
    kind = np.uint8 if len(wet.members) < 256 else np.int64
    flags = (wet.members >= np.float32(threshold) for threshold in thresholds)
    return np.stack([each.sum(0, dtype=kind) for each in flags])


def count_table(
    counts: Integer[np.ndarray, "threshold pixel"],
    events: Bool[np.ndarray, "threshold pixel"],
    valid: Bool[np.ndarray, " pixel"],
    members: int,
) -> Int64[np.ndarray, "threshold count 2"]:
    """Unmasked pixels by how many members say so (0 to all) and whether it was so."""
    rows = []
    for count, event in zip(counts[:, valid], events[:, valid], strict=True):
        cell = 2 * count.astype(np.int64) + event
        rows.append(np.bincount(cell, minlength=2 * members + 2).reshape(-1, 2))
    return np.stack(rows).astype(np.int64)


def event_curves(sums: Sums) -> dict[str, Curve]:
    """Scores by lead time, of the probability p = k / m that T mm/h is reached, k of m members.

    With o the frequency of the event, o_k that among the n_k cases in which k members say so, and
    N cases in all:

    - ``brier/T`` = mean (p - event)^2; [0, 1], best 0 (Brier 1950,
      doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2). It is reliability - resolution +
      uncertainty to rounding, since every p has a bin of its own (Murphy 1973,
      doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2):
    - ``reliability/T`` = sum n_k (k / m - o_k)^2 / N; [0, 1], best 0;
    - ``resolution/T`` = sum n_k (o_k - o)^2 / N; [0, o (1 - o)], best the uncertainty;
    - ``uncertainty/T`` = o (1 - o): the Brier score of who always says o; [0, 1/4].
    - ``brier_skill/T`` = 1 - brier / uncertainty; (-inf, 1], best 1, 0 for who always says o.
    - ``reliability_gap/T`` = greatest |k / m - o_k| where n_k is at least 1 % of N; [0, 1], best 0.
    - ``roc_area/T``: the area under POD over false alarm rate, a point for each k at or above
      which one warns, straight lines between; [0, 1], best 1, 0.5 without skill (Mason and Graham
      2002, doi:10.1256/003590002320603584). No monotone map of p changes it.
    - ``value/T/a``: relative economic value for a user whom protection costs a share a of the loss
      that it avoids, and who protects where p >= a: 1 - (expense - with perfect forecasts) /
      (without any - with perfect ones); (-inf, 1], best 1, 0 for who knows the frequency alone
      (Richardson 2000, doi:10.1002/qj.49712656313).
    """
    lost = np.isnan(sums["member_error_pixel"])
    curves = {}
    for place, name in enumerate(THRESHOLD_NAMES):
        table = sums["exceeding"][place]
        cases, events = table.sum(1), table[:, 1]
        total, frequency = cases.sum(0), ratio(events.sum(0), cases.sum(0))
        of_bin, stated = ratio(events, cases), np.arange(len(cases))[:, None] / members_of(sums)
        wrong = np.square(stated) * (cases - events) + np.square(1 - stated) * events
        brier, uncertainty = ratio(wrong.sum(0), total), frequency * (1 - frequency)
        apart = np.nan_to_num(of_bin - stated)
        resolved = np.nan_to_num(of_bin - frequency)
        common = cases >= np.maximum(COMMON_SHARE * total, 1)
        scores = {
            "brier": brier,
            "reliability": ratio((cases * np.square(apart)).sum(0), total),
            "resolution": ratio((cases * np.square(resolved)).sum(0), total),
            "uncertainty": uncertainty,
            "reliability_gap": np.where(
                total > 0, np.abs(apart).max(0, initial=0, where=common), np.nan
            ),
        }
        varying = {"brier_skill": 1 - ratio(brier, uncertainty), "roc_area": roc_area(table)}
        varying |= {f"value/{name}/{cost:g}": value(table, cost) for cost in COST_LOSS}
        always = (lost, NO_NUMBER)
        reasons = because(always, otherwise=NO_PIXEL)
        never = events.sum(0) == 0
        more = because(
            always,
            (total == 0, NO_PIXEL),
            (never, f"no event ≥ {name} mm/h in truth"),
            otherwise=f"every pixel is an event ≥ {name} mm/h in truth",
        )
        for found, why in ((scores, reasons), (varying, more)):
            for score, values in found.items():
                key = score if "/" in score else f"{score}/{name}"
                curves[key] = Curve(np.where(lost, np.nan, values), why)
    return curves


def rates(
    table: Int64[np.ndarray, "count 2 lead"],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False alarm rate and POD of who warns where at least j members say so, j = 0 to m + 1."""
    beyond = np.pad(table[::-1].cumsum(0)[::-1], ((0, 1), (0, 0), (0, 0)))
    false_alarm_rate, pod = (ratio(beyond[:, event], beyond[0, event]) for event in (0, 1))
    return false_alarm_rate, pod


def roc_area(table: Int64[np.ndarray, "count 2 lead"]) -> NDArray[np.float64]:
    """See `event_curves`; NaN where nothing or everything is an event."""
    across, up = rates(table)
    area: NDArray[np.float64] = ((across[:-1] - across[1:]) * (up[:-1] + up[1:]) / 2).sum(0)
    return area


def value(
    table: Int64[np.ndarray, "count 2 lead"], cost: float, at_best: bool = False
) -> NDArray[np.float64]:
    """See `event_curves`; NaN where nothing or everything is an event.

    Args:
        table: of one threshold.
        cost: the user's ratio of cost and loss.
        at_best: the user protects not where p >= cost but at the probability that would have paid
            best on these very cases, which nobody knows beforehand.
    """
    across, up = rates(table)
    total = table.sum((0, 1))
    frequency = ratio(table[:, 1].sum(0), total)
    unaided = np.minimum(cost, frequency)
    expense = cost * (across * (1 - frequency) + up * frequency) + (1 - up) * frequency
    members = len(table) - 1
    # The rounding of cost * m must not turn 5 of 10 members into less than 0.5.
    stated = int(np.ceil(cost * members - 1e-9))
    spent = expense.min(0) if at_best else expense[stated]
    return ratio(unaided - spent, unaided - cost * frequency)
