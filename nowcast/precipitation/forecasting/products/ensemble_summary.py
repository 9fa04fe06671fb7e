"""What ``forecast.json`` says of members: how many, the highest probabilities, the points."""

from typing import Any

import numpy as np

from nowcast.precipitation.forecasting.probabilities.made import PointForecast, Probabilities
from nowcast.precipitation.forecasting.products.result import Forecast

DIGITS = 4


def ensemble_summary(forecast: Forecast, found: Probabilities) -> dict[str, Any]:
    """Its section ``ensemble``; probabilities are fractions, null where there is no data."""
    assert forecast.members is not None
    request, step = found.request, forecast.description.step_minutes
    names = [f"{threshold:g}" for threshold in found.thresholds]
    return {
        "members": len(forecast.members.pixels),
        "seed": forecast.members.seed,
        "thresholds": list(found.thresholds),
        "quantiles": list(request.quantiles),
        "radius": request.radius,
        "highest_probability": [
            {
                "lead_minutes": (lead + 1) * step,
                **dict(zip(names, map(_highest, shares), strict=True)),
            }
            for lead, shares in enumerate(found.exceedance)
        ],
        "windows": [
            {
                "window": made.window.name,
                "unit": made.window.unit,
                "highest_probability": dict(
                    zip(names, map(_highest, made.exceedance), strict=True)
                ),
            }
            for made in found.windows
        ],
        "points": [_point(point, names) for point in found.points],
    }


def _point(found: PointForecast, names: list[str]) -> dict[str, Any]:
    return {
        "point": found.point.name,
        "row": found.point.row,
        "column": found.point.column,
        "probability": {
            name: [_number(share) for share in shares.tolist()]
            for name, shares in zip(names, found.exceedance, strict=True)
        },
        "arrivals": [
            {
                "threshold_mm_h": arrival.threshold_mm_h,
                "probability": None
                if arrival.probability is None
                else _number(arrival.probability),
                "median_minutes": arrival.median_minutes,
                "early_minutes": arrival.early_minutes,
                "late_minutes": arrival.late_minutes,
                "text": str(arrival),
            }
            for arrival in found.arrivals
        ],
    }


def _highest(shares: np.ndarray) -> float | None:
    known = shares[np.isfinite(shares)]
    return _number(float(known.max())) if known.size else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, DIGITS)
