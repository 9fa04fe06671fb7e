"""CSI at thresholds that were matched on other clips: what whoever uses a forecast can have."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, because, ratio
from nowcast.precipitation.verification.matched import beyond, edge_of, exceedance

Thresholds = Mapping[str, Sequence[float | None]]
"""T -> the forecast's own threshold at each lead time, mm/h; None where there was no event."""


def read_thresholds(
    path: Path, names: Sequence[str], facts: Mapping[str, Any]
) -> dict[str, Thresholds]:
    """The ``matched_threshold`` of forecasters in a ``leaderboard.json``.

    Args:
        path: that file.
        names: of the forecasters.
        facts: of the clips that are to be scored, as `PrecipitationTask.facts` has them.

    Raises:
        ConfigError: it is no such file, lacks a forecaster, has other lead times, or is of the
            very clips that are to be scored.
    """
    try:
        rows = {row["forecaster"]: row for row in json.loads(path.read_text())}
        by_lead = {name: row["by_lead_time"] for name, row in rows.items()}
        minutes = {name: curves["minutes"] for name, curves in by_lead.items()}
        found: dict[str, Thresholds] = {
            name: {T: curves["matched_threshold"][T] for T in THRESHOLD_NAMES}
            for name, curves in by_lead.items()
        }
        hashes = {row["clips_hash"] for row in rows.values()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--match-bias {path}: expected the leaderboard.json of a precipitation leaderboard, "
            f"found something else ({type(error).__name__}: {error}); make it with `nowcast "
            "evaluate ... --split valid --out DIR`"
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(
            f"--match-bias {path}: expected thresholds of {', '.join(missing)}, found those of "
            f"{', '.join(found)}; score all on the validation split, by the same names"
        )
    if facts["clips_hash"] in hashes:
        raise ConfigError(
            f"--match-bias {path}: expected thresholds from other clips, found the ones that are "
            "to be scored; csi_matched is that score. Give the leaderboard of the validation split"
        )
    expected = [facts["step_minutes"] * lead for lead in range(1, facts["out_len"] + 1)]
    for name in names:
        if minutes[name] != expected:
            raise ConfigError(
                f"--match-bias {path}: expected lead times of {expected} minutes, found "
                f"{minutes[name]}; score both with the same data.out_len on archives of one step"
            )
    return {name: found[name] for name in names}


def fitted_curves(sums: Sums, calibration: Calibration, thresholds: Thresholds) -> dict[str, Curve]:
    """Scores by lead time at the forecast's own thresholds, of `level_sums`.

    - ``csi_fitted/T`` = hits / (hits + misses + false alarms), an event of the forecast being a
      pixel at or above its own threshold, of the truth one >= T; [0, 1], best 1.
    - ``bias_fitted/T`` = (hits + false alarms) / (hits + misses) of the same; [0, inf), best 1: how
      well a threshold matched on one set of clips does on another.

    A dry pixel is dry at any threshold. Between two 8-bit levels the counts are interpolated.
    """
    lost = sums["levels"].sum((0, 1)) < sums["pixels"]
    curves = {}
    for place, name in enumerate(THRESHOLD_NAMES):
        of = exceedance(sums, place)
        own = np.array(thresholds[name], float)
        edge = edge_of(np.nan_to_num(own), calibration)
        hits, warned = beyond(of.hits, edge), beyond(of.warned, edge)
        unfitted, undefined = np.isnan(own), lost | np.isnan(own)
        either = of.observed + warned - hits
        cases = (
            (lost, NO_NUMBER),
            (sums["pixels"] == 0, NO_PIXEL),
            (unfitted, f"no threshold: on the other clips no event ≥ {name} mm/h, or no rain"),
        )
        for score, value, where in (
            ("csi", ratio(hits, either), "truth or forecast"),
            ("bias", ratio(warned, of.observed), "truth"),
        ):
            reasons = because(*cases, otherwise=f"no event ≥ {name} mm/h in {where}")
            curves[f"{score}_fitted/{name}"] = Curve(np.where(undefined, np.nan, value), reasons)
    return curves
