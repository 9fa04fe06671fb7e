"""How the time of a training step grows with frames, pixels and clips: one at a time, as a power.

The steps of all settings take turns in an order drawn anew for each round, so that a slow minute of
the machine is not one setting's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from scipy.stats import linregress

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench.step import training_step

AXES = ("frames", "side", "batch")
FRAMES = (5, 10, 15, 20)  # in, and as many out
SIDES = (60, 90, 120, 180, 240)
BATCHES = (2, 4, 8, 16)
LEAST_VALUES = 3  # with two there is no error to tell


@dataclass(frozen=True)
class Work:
    """What a step is taken on.

    Args:
        frames: of a clip in, and as many out.
        side: height and width, a multiple of 30.
        batch: clips.
    """

    frames: int = 10
    side: int = 120
    batch: int = 4

    def amount(self, axis: str) -> int:
        """What an axis of `AXES` is counted in: frames in and out, pixels of a frame, clips."""
        return {"frames": 2 * self.frames, "side": self.side**2, "batch": self.batch}[axis]

    def but(self, axis: str) -> str:
        """What stays the same along an axis."""
        parts = {
            "frames": f"{self.frames}+{self.frames} frames",
            "side": f"{self.side}x{self.side}",
            "batch": f"batch {self.batch}",
        }
        return ", ".join(part for name, part in parts.items() if name != axis)


@dataclass(frozen=True)
class Growth:
    """What was timed: steps along one axis, all else fixed.

    Args:
        axis: of `AXES`.
        precision: ``fp32`` or ``bf16``.
        threads: of torch.
        works: one for each value, rising.
        seconds: of the steps of each.
    """

    axis: str
    precision: str
    threads: int
    works: tuple[Work, ...]
    seconds: tuple[tuple[float, ...], ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        exponent, error = self.exponent()
        return asdict(self) | {
            "amounts": [work.amount(self.axis) for work in self.works],
            "exponent": exponent,
            "exponent_error": error,
        }

    def exponent(self) -> tuple[float, float]:
        """Of time as a power of the amount, by least squares on logarithms, and standard error."""
        amounts = np.log([work.amount(self.axis) for work in self.works])
        found = linregress(amounts, np.log([np.median(times) for times in self.seconds]))
        return float(found.slope), float(found.stderr)


def measure(
    threads: int,
    bf16: bool,
    rounds: int,
    frames: Sequence[int] = FRAMES,
    sides: Sequence[int] = SIDES,
    batches: Sequence[int] = BATCHES,
    fixed: Work | None = None,
    stages: Sequence[Stage] = PAPER_STAGES,
) -> list[Growth]:
    """Time steps of the paper's ConvGRU with MEmeL along each axis of `AXES`.

    Args:
        threads: of torch.
        bf16: autocast.
        rounds: steps of every setting.
        frames: in, and as many out.
        sides: multiples of 30.
        batches: clips.
        fixed: what the other two are while one changes; None is 10+10, 120x120, 4. Its own value
            is on each axis too.
        stages: the paper's, or smaller ones for a test.

    Raises:
        ConfigError: an axis has fewer than three values.
    """
    fixed = fixed or Work()
    along: dict[str, list[Work]] = {}
    for axis, values in zip(AXES, (frames, sides, batches), strict=True):
        chosen = sorted({*values, getattr(fixed, axis)})
        if len(chosen) < LEAST_VALUES:
            raise ConfigError(
                f"{axis}: expected at least {LEAST_VALUES} values, to fit a power with its error, "
                f"found {', '.join(map(str, chosen))}"
            )
        along[axis] = [replace(fixed, **{axis: value}) for value in chosen]
    torch.set_num_threads(threads)
    works = list(dict.fromkeys(work for line in along.values() for work in line))
    steps = {
        work: training_step(work.batch, work.frames, work.side, bf16, stages) for work in works
    }
    seconds: dict[Work, list[float]] = {work: [] for work in works}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for place in rng.permutation(len(works)):
            began = perf_counter()
            steps[works[place]]()
            seconds[works[place]].append(perf_counter() - began)
    precision = "bf16" if bf16 else "fp32"
    return [
        Growth(axis, precision, threads, tuple(line), tuple(tuple(seconds[work]) for work in line))
        for axis, line in along.items()
    ]


def table(rows: Sequence[Growth]) -> str:
    """One line an axis, as Markdown."""
    counted = {"frames": "frames in and out", "side": "pixels of a frame", "batch": "clips"}
    lines = [
        "| against | precision | threads | fixed | a step | exponent |",
        "| --- | --- | ---: | --- | --- | --- |",
    ]
    for row in rows:
        times = ", ".join(
            f"{_value(work, row.axis)}: {np.median(seconds):.2f} s"
            for work, seconds in zip(row.works, row.seconds, strict=True)
        )
        exponent, error = row.exponent()
        lines.append(
            f"| {counted[row.axis]} | {row.precision} | {row.threads} | "
            f"{row.works[0].but(row.axis)} | {times} | {exponent:.2f} ± {error:.2f} |"
        )
    return "\n".join([*lines, "", "An exponent of 1 is time in proportion."])


def _value(work: Work, axis: str) -> str:
    return f"{work.side}x{work.side}" if axis == "side" else str(work.amount(axis))
