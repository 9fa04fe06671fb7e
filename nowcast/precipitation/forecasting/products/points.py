"""The rain at points by lead time, for programs (``points.json``) and tables (``points.csv``)."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.storage.files import write_json, write_text
from nowcast.precipitation.forecasting.probabilities.points import LEVELS, PointForecast
from nowcast.precipitation.forecasting.products.result import Forecast

DIGITS = 4
POINTS = "points.json"


def write_points(
    forecast: Forecast,
    found: Sequence[PointForecast],
    thresholds: Sequence[int | float],
    radius: str | None,
    folder: Path,
) -> None:
    """Write both files into a folder.

    ``points.json`` has a section a point: the rain rate of each lead time (with members their
    median, and the quantiles 0.1 and 0.9), the rain since the init time, probabilities (with
    members) and arrivals; null is no data. ``points.csv`` has the same as a line a point and lead
    time.

    Args:
        forecast: that was made.
        found: what it says of each point.
        thresholds: of the probabilities, mm/h.
        radius: within which members were looked at; None: at the pixel.
        folder: that is there.
    """
    members = None if forecast.members is None else len(forecast.members.pixels)
    lines = [_section(forecast, one, thresholds) for one in found]
    content = {
        "model": forecast.model,
        "init": f"{forecast.init}Z",
        "archive": forecast.description.name,
        "credit": forecast.description.credit,
        "note": forecast.description.note,
        "members": members,
        "radius": radius,
        "points": lines,
    }
    write_json(folder / POINTS, content)
    text = io.StringIO(newline="")
    rows = [row for line in lines for row in _rows(line)]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "points.csv", text.getvalue())


def point_summary(found: PointForecast, thresholds: Sequence[int | float]) -> dict[str, Any]:
    """Which point, its probabilities and arrivals; null is no data."""
    return {
        "point": found.point.name,
        "row": found.point.row,
        "column": found.point.column,
        "probability": {
            f"{threshold:g}": [number(share) for share in shares.tolist()]
            for threshold, shares in zip(thresholds, found.exceedance, strict=True)
        },
        "arrivals": [
            {
                "threshold_mm_h": arrival.threshold_mm_h,
                "probability": None if arrival.probability is None else number(arrival.probability),
                "median_minutes": arrival.median_minutes,
                "early_minutes": arrival.early_minutes,
                "late_minutes": arrival.late_minutes,
                "text": str(arrival),
            }
            for arrival in found.arrivals
        ],
    }


def number(value: float) -> float | None:
    """Rounded for people; None for NaN, no data."""
    return None if np.isnan(value) else round(float(value), DIGITS)


def _section(
    forecast: Forecast, found: PointForecast, thresholds: Sequence[int | float]
) -> dict[str, Any]:
    step = forecast.description.step_minutes
    low, rate, high = (list(map(number, level)) for level in found.quantiles.tolist())
    amounts = np.cumsum(found.quantiles[LEVELS.index(0.5)], dtype=np.float64) * (step / 60)
    about = point_summary(found, thresholds)
    section = {
        "point": about["point"],
        "latitude": found.point.latitude,
        "longitude": found.point.longitude,
        "row": about["row"],
        "column": about["column"],
        "times": [f"{time}Z" for time in forecast.times],
        "lead_minutes": [step * (lead + 1) for lead in range(len(rate))],
        "rain_rate_mm_h": rate,
    }
    if forecast.members is None:
        section["rainfall_amount_mm"] = list(map(number, amounts.tolist()))
    else:
        section |= {"rain_rate_mm_h_0.1": low, "rain_rate_mm_h_0.9": high}
        section["probability"] = about["probability"]
    return section | {"arrivals": about["arrivals"]}


def _rows(section: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A section as lines of a table: what it has of each lead time, behind which point it is."""
    same = {key: section[key] for key in ("point", "latitude", "longitude")}
    shares = section.get("probability", {})
    by_lead = {
        "time": section["times"],
        **{key: section[key] for key in section if key == "lead_minutes" or key.startswith("rain")},
        **{f"probability_{name}_mm_h": values for name, values in shares.items()},
    }
    for values in zip(*by_lead.values(), strict=True):
        yield same | dict(zip(by_lead, values, strict=True))
