"""Does pretraining with MEmeL help on radar that training has not seen? Five seeds, two halves.

``python -m scripts.release.memel ARCHIVES RUNS OUT [CLIPS]`` scores the runs of ``memel.yaml``
(`recipe`) on the validation days, or else the training days, of the radars of the *other* half, and
writes ``OUT/memel.json``.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nowcast.core.scoring.interval import t_interval
from nowcast.core.storage.files import write_json
from scripts.release import scores
from scripts.release.recipe import HALVES, SEEDS
from scripts.release.sources import SOURCES, Source

Errors = dict[str, dict[str, dict[str, float]]]  # archive -> variant -> seed -> B-MSE + B-MAE
CLIPS = 6
OF_A_RADAR = 2  # archives that are scored of each


@dataclass(frozen=True)
class Effect:
    """Of MEmeL in pretraining on B-MSE + B-MAE after fine-tuning, per cent; below 0 is better.

    Args:
        mean: over seeds, of the mean over radars of the logarithm's difference.
        low: lower end of the 95 % interval over seeds (Student's t).
        high: upper end.
        p: of no difference (paired t-test).
        seeds: how many.
    """

    mean: float
    low: float
    high: float
    p: float
    seeds: int


def effect(errors: Errors) -> Effect:
    """The effect; variants are Original and MEmeL."""
    seeds = sorted({seed for of in errors.values() for seed in of["MEmeL"]})
    differences = np.array(
        [
            100
            * np.mean(
                [math.log(of["MEmeL"][seed] / of["Original"][seed]) for of in errors.values()]
            )
            for seed in seeds
        ]
    )
    p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return Effect(*t_interval(differences), p, len(seeds))


def unseen(half: str, archives: Path) -> list[Source]:
    """Archives that are there, of the radars that a half has not seen."""
    found: list[Source] = []
    for source in SOURCES:
        if source.radar in HALVES[half] or not (source.train or source.valid):
            continue
        if not source.found(archives):
            continue
        if sum(other.radar == source.radar for other in found) < OF_A_RADAR:
            found.append(source)
    return found


def score(archives: Path, runs: Path, out: Path, clips: int = CLIPS) -> None:
    """Score what is not scored yet, on about so many clips of an archive; ``memel.json`` holds half
    -> archive -> variant -> seed -> the error, and the weights that it is of."""
    path = out / "memel.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for half in HALVES:
        for source in unseen(half, archives):
            for variant in ("Original", "MEmeL"):
                of = found.setdefault(half, {}).setdefault(source.name, {}).setdefault(variant, {})
                for seed in map(str, SEEDS):
                    run = str(runs / f"T-{half}-{variant}" / f"seed{seed}")
                    weights = scores.fingerprint(run)
                    if of.get(seed, {}).get("weights") != weights:
                        error = _error(run, source, archives, out, clips)
                        of[seed] = {"error": error, "weights": weights}
                        write_json(path, found)


def _error(run: str, source: Source, archives: Path, out: Path, clips: int) -> float:
    there = source.found(archives)
    days = source.days("valid", there) or source.days("train", there)
    lists = out / "memel_lists"
    found = scores.evaluated(run, source, archives, days, source.frames, clips, lists)
    (of_run,) = found.scores.values()
    return scores.error(of_run.values)


def read(out: Path) -> dict[str, Effect] | None:
    """The effect of each half, and of both together; None where nothing was scored."""
    if not (out / "memel.json").is_file():
        return None
    errors: dict[str, Errors] = {}
    together: Errors = {}
    for half, archives in json.loads((out / "memel.json").read_text()).items():
        errors[half] = {
            archive: {
                variant: {seed: of["error"] for seed, of in seeds.items()}
                for variant, seeds in variants.items()
            }
            for archive, variants in archives.items()
        }
        together |= {f"{half} {archive}": of for archive, of in errors[half].items()}
    return {**{half: effect(of) for half, of in errors.items()}, "both": effect(together)}


if __name__ == "__main__":
    archives, runs, out = map(Path, sys.argv[1:4])
    score(archives, runs, out, *map(int, sys.argv[4:5]))
    for half, of in (read(out) or {}).items():
        sys.stdout.write(f"{half}: {of}\n")
