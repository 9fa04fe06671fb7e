"""Reliability diagram, ROC, economic value, rank histogram: as numbers, for a file or a figure."""

from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES
from nowcast.precipitation.verification.curves import ratio
from nowcast.precipitation.verification.ensembles.crps import members_of
from nowcast.precipitation.verification.ensembles.events import rates, value

# Rare events are worth a warning to whom protection is cheap.
COST_LOSS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def diagrams(sums: Sums, step_minutes: int) -> dict[str, Any]:
    """Of sums of `member_sums`, over all lead times, as plain values for JSON; None: undefined.

    - ``reliability``: threshold -> ``probability`` k / m, in how many ``cases`` k of m members say
      so, and the ``observed`` frequency of the event among them; best on the diagonal (Wilks 2019,
      Statistical Methods in the Atmospheric Sciences, doi:10.1016/C2017-0-03921-6).
    - ``roc``: threshold -> ``false_alarm_rate`` and ``pod`` of who warns at k members or more, from
      all (1, 1) to none (0, 0).
    - ``economic_value``: threshold -> ``value`` by ``cost_loss`` as in `event_curves`, and
      ``at_best``, which no user has: at the probability that would have paid best.
    - ``ranks``: pixels by rank of the truth; flat is best, U too sure, a slope is a bias.
    - ``by_lead_time``: ``minutes``, ``cases``, ``events`` and ``ranks`` of each.
    """
    by_name = dict(zip(THRESHOLD_NAMES, sums["exceeding"], strict=True))
    whole = {name: table.sum(-1, keepdims=True) for name, table in by_name.items()}
    members, leads = members_of(sums), sums["ranks"].shape[1]
    return {
        "members": members,
        "reliability": {name: _reliability(table) for name, table in whole.items()},
        "roc": {
            name: dict(zip(("false_alarm_rate", "pod"), map(_plain, rates(table)), strict=True))
            for name, table in whole.items()
        },
        "economic_value": {name: _values(table) for name, table in whole.items()},
        "ranks": sums["ranks"].sum(1).tolist(),
        "by_lead_time": {
            "minutes": [step_minutes * lead for lead in range(1, leads + 1)],
            "cases": {name: table.sum(1).T.tolist() for name, table in by_name.items()},
            "events": {name: table[:, 1].T.tolist() for name, table in by_name.items()},
            "ranks": sums["ranks"].T.tolist(),
        },
    }


def _reliability(table: Int64[np.ndarray, "count 2 1"]) -> dict[str, list[Any]]:
    cases, events = table.sum((1, 2)), table[:, 1, 0]
    return {
        "probability": np.linspace(0, 1, len(cases)).tolist(),
        "cases": cases.tolist(),
        "observed": _plain(ratio(events, cases)),
    }


def _values(table: Int64[np.ndarray, "count 2 1"]) -> dict[str, list[Any]]:
    stated, at_best = (
        np.array([value(table, cost, best) for cost in COST_LOSS]) for best in (False, True)
    )
    return {"cost_loss": [*COST_LOSS], "value": _plain(stated), "at_best": _plain(at_best)}


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [float(each) if np.isfinite(each) else None for each in values.ravel()]
