"""What the runs of a cell came to: errors at home and abroad, and how monosemantic sites are."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nowcast.core.comparison.stored import read_results
from nowcast.core.storage.runs import Run
from scripts.release.scores import error
from scripts.study.abroad import FILE, runs_of
from scripts.study.coarse import ABROAD

BySeed = dict[str, float]
Outcome = dict[str, BySeed]  # variant -> seed -> value


def home(cell: Path) -> Outcome:
    """Logarithm of B-MSE + B-MAE on the days that are scored, of the radar that is trained on."""
    found: Outcome = {}
    for row in read_results(cell).table.rows:
        for seed, scores in row.scores.items():
            if seed is not None:
                found.setdefault(row.name, {})[str(seed)] = math.log(error(scores.values))
    return found


def abroad(cell: Path) -> Outcome:
    """Logarithm of B-MSE + B-MAE on radars that were not trained on: the mean over archives of a
    radar, and over radars."""
    by_radar: dict[str, list[Outcome]] = {}
    stored = json.loads((cell / FILE).read_text())
    radar_of = {each.name: each.radar for each in ABROAD}
    for archive, variants in stored.items():
        logs = {
            variant: {seed: math.log(of["error"]) for seed, of in seeds.items()}
            for variant, seeds in variants.items()
        }
        by_radar.setdefault(radar_of[archive], []).append(logs)
    return _mean([_mean(archives) for archives in by_radar.values()])


def monosemanticity(cell: Path, number: str = "top_phi") -> Outcome:
    """Logarithm of one number of `monosemanticity` at the last validation, in the mean over the
    sites that the candidate state has in all variants."""
    found: Outcome = {}
    for variant, seed, folder in runs_of(cell):
        last = Run(folder).history()[-1]  # the only validation's
        sites: Mapping[str, Mapping[str, float]] = last.get("monosemanticity", {})
        logs = [math.log(of[number]) for site, of in sites.items() if site.endswith("candidate")]
        if logs:
            found.setdefault(variant, {})[seed] = float(np.mean(logs))
    return found


def less(one: Outcome, other: Outcome) -> Outcome:
    """The difference of two outcomes of the same runs."""
    return {
        variant: {seed: value - other[variant][seed] for seed, value in seeds.items()}
        for variant, seeds in one.items()
        if variant in other
    }


def _mean(outcomes: list[Outcome]) -> Outcome:
    return {
        variant: {seed: float(np.mean([of[variant][seed] for of in outcomes])) for seed in seeds}
        for variant, seeds in outcomes[0].items()
    }
