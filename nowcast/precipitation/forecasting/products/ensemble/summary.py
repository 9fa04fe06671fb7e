"""What ``forecast.json`` says of members: how many, the highest probabilities, the points."""

from typing import Any

import numpy as np

from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.points import number, point_summary
from nowcast.precipitation.forecasting.products.result import Forecast


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
        "points": [point_summary(point, found.thresholds) for point in found.points],
    }


def _highest(shares: np.ndarray) -> float | None:
    known = shares[np.isfinite(shares)]
    return number(float(known.max())) if known.size else None
