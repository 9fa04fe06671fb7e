"""Does pretraining with MEmeL help on radar that training has not seen? Five seeds, two halves.

``python -m scripts.release.memel ARCHIVES RUNS OUT [CLIPS]`` scores the runs of ``memel.yaml``
(`recipe`) on the validation days, or else the training days, of the radars of the *other* half, and
writes ``OUT/memel.json``.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

import nowcast
from nowcast.core.storage.files import write_json, write_text
from nowcast.precipitation.archive.days import SPLITS, days_path
from scripts.release.recipe import HALVES, SEEDS
from scripts.release.sources import SOURCES, Source

CLIPS, LEAST_STRIDE = 6, 4
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


def effect(errors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Effect:
    """The effect, from radar -> variant (Original, MEmeL) -> seed -> B-MSE + B-MAE."""
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
    mean, count = float(differences.mean()), len(seeds)
    spread = float(differences.std(ddof=1)) / math.sqrt(count)
    far = float(stats.t.ppf(0.975, count - 1)) * spread
    p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return Effect(mean, mean - far, mean + far, p, count)


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
    -> archive -> variant -> seed."""
    path = out / "memel.json"
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = (
        json.loads(path.read_text()) if path.is_file() else {}
    )
    for half in HALVES:
        for variant in ("Original", "MEmeL"):
            for seed in map(str, SEEDS):
                for source in unseen(half, archives):
                    of = found.setdefault(half, {}).setdefault(source.name, {})
                    scores = of.setdefault(variant, {})
                    if seed not in scores:
                        run = runs / f"T-{half}-{variant}" / f"seed{seed}"
                        scores[seed] = _error(run, archives, source, out, clips)
                        write_json(path, found)


def _error(run: Path, archives: Path, source: Source, out: Path, clips: int) -> float:
    root, there = archives / source.name, source.found(archives)
    days = source.days("valid", there) or source.days("train", there)
    lists = out / "memel_lists" / source.name
    lists.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        write_text(days_path(lists, split), "".join(f"{d}\n" for d in days if split == "test"))
    number = sum(len(list((root / "radarPNG" / d[:4] / d[4:6] / d[6:]).iterdir())) for d in days)
    found = nowcast.evaluate(
        str(run),
        root,
        split="test",
        overrides={
            "data.lists": str(lists),
            "data.in_len": source.frames[0],
            "data.out_len": source.frames[1],
            "data.stride": max(LEAST_STRIDE, number // clips),
        },
    )
    return sum(found.score(name) or 0.0 for name in ("b_mse", "b_mae"))


def read(out: Path) -> dict[str, Effect]:
    """The effect of each half, and of both together."""
    found = json.loads((out / "memel.json").read_text())
    together = {
        f"{half} {radar}": of for half, radars in found.items() for radar, of in radars.items()
    }
    return {**{half: effect(of) for half, of in found.items()}, "both": effect(together)}


if __name__ == "__main__":
    archives, runs, out = map(Path, sys.argv[1:4])
    score(archives, runs, out, *map(int, sys.argv[4:5]))
    for half, of in read(out).items():
        sys.stdout.write(f"{half}: {of}\n")
