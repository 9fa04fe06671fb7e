"""What an ensemble scores on the archives of a release, beside STEPS and lagged flow.

``python -m scripts.release.members ARCHIVES SPLIT OUT RUN [CLIPS]`` scores it on the days of a
split, one file of scores an archive, and goes on where it stopped.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nowcast.core.scoring.interval import t_interval
from scripts.release.recipe import MEMBERS
from scripts.release.scores import Scored, read, score

STEPS = "steps"
BESIDE = (STEPS, "lagged-flow")
CRPS = ("crps_mm_h", "crps_pixel")
# Scores with a value that a calibrated ensemble has.
CALIBRATION = (
    "coverage/90",
    "spread_skill_mm_h",
    "spread_skill_pixel",
    "member_spectrum/4",
    *(f"reliability_gap/{rate}" for rate in ("0.5", "2", "5", "10")),
)
KEPT = (
    *CRPS,
    *("brier", "roc_area", "reliability_gap", "spread_skill_mm_h", "spread_skill_pixel"),
    *("coverage", "member_spectrum", "ensemble_fss", "csi_matched", "bias"),
)
CLIPS = 4  # of an archive of large frames: STEPS takes a minute for each


def ratio(one: Scored, unit: str) -> float:
    """Its CRPS over that of STEPS."""
    return float(one.of(MEMBERS)[unit]) / float(one.of(STEPS)[unit])


def over_blocks(scored: list[Scored], unit: str) -> tuple[float, float, float, int]:
    """Geometric mean of the ratio over all blocks with rain, its 95 % interval (Student's t of the
    logarithm), and how many blocks."""
    logs = np.array(
        [
            math.log(mine / other)
            for one in scored
            for mine, other in zip(
                *(one.of(name)[f"{unit}_by_block"].values() for name in (MEMBERS, STEPS)),
                strict=True,
            )
            if mine and other
        ]
    )
    if len(logs) < 2:
        return math.exp(float(logs.mean())), math.nan, math.nan, len(logs)
    middle, low, high = map(math.exp, t_interval(logs))
    return middle, low, high, len(logs)


def lines(scored: list[Scored]) -> Iterator[str]:
    """A table for people."""
    for one in scored:
        ratios = "  ".join(f"{unit} {ratio(one, unit):.3f}" for unit in CRPS)
        mine, steps = (one.of(name) for name in (MEMBERS, STEPS))
        pairs = "  ".join(
            f"{name} {_shown(mine[name])} ({_shown(steps[name])})" for name in CALIBRATION
        )
        yield f"{one.source.name}: {ratios}  {pairs}"
    for unit in CRPS:
        middle, low, high, count = over_blocks(scored, unit)
        yield f"{unit}: {middle:.3f} ({low:.3f} to {high:.3f}) over {count} blocks"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def main(archives: Path, split: str, out: Path, run: str, clips: int = CLIPS) -> None:
    """Score, and print the table."""
    score({MEMBERS: run}, archives, split, out, clips=clips, beside=BESIDE, kept=KEPT)
    sys.stdout.write("\n".join(lines(read(out))) + "\n")


if __name__ == "__main__":
    archives, split, out, run = sys.argv[1:5]
    clips = int(sys.argv[5]) if sys.argv[5:] else CLIPS
    main(Path(archives), split, Path(out), run, clips)
