"""Scoring a batch beside two straightforward ways to do it with numba, one thread or two."""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nowcast.core.errors import ConfigError
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration
from nowcast.precipitation.verification import tally
from nowcast.precipitation.verification.balance import BALANCING_WEIGHTS, pixel_thresholds
from nowcast.precipitation.verification.scores import score_frames
from scripts.bench.paired import Pairs, alternate

Scored = dict[str, NDArray[Any]]
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Speed:
    """What was timed: one batch scored by a yardstick and by `score_frames`, call for call."""

    yardstick: str
    threads: int
    clock: str
    in_c: bool
    pairs: Pairs

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ratio, low, high = self.pairs.ratio()
        return asdict(self) | {"ratio": ratio, "ratio_low": low, "ratio_high": high}


def measure(
    clips: int, leads: int, size: int, threads: int, pairs: int, clock: str = "wall"
) -> list[Speed]:
    """Time `score_frames` against both yardsticks on rain-like frames; `clock` is of `CLOCKS`.

    Raises:
        ConfigError: numba is not installed.
    """
    torch.set_num_threads(threads)
    calibration = Calibration()
    prediction, truth, mask = _frames(clips, leads, size)
    thresholds = np.array(pixel_thresholds(calibration), np.float32)
    weights = np.array(BALANCING_WEIGHTS, np.float32)
    frames = [torch.from_numpy(values) for values in (prediction, truth, mask)]

    def ours() -> Scored:
        return dict(score_frames(frames[0], frames[1], frames[2], calibration).values)

    rows = []
    for name, yardstick in yardsticks().items():

        def theirs(yardstick: Callable[..., object] = yardstick) -> object:
            return yardstick(prediction, truth, mask, thresholds, weights)

        times = alternate(theirs, ours, pairs, CLOCKS[clock])
        rows.append(Speed(name, threads, clock, tally.available, times))
    return rows


def _frames(clips: int, leads: int, size: int) -> tuple[NDArray[Any], ...]:
    """Prediction, truth in 8-bit levels and mask: blobs over all thresholds, a third dry."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, clips, leads, 1, size, size)).astype(np.float32)
    smooth = gaussian_filter(noise, (0, 0, 0, 0, 6, 6))
    pixel = np.clip(0.35 * smooth / smooth.std() + 0.15, 0, 1)
    truth = np.rint(pixel[1] * PIXEL_LEVELS) / np.float32(PIXEL_LEVELS)
    return pixel[0], truth, rng.random(truth.shape) < 0.95


def yardsticks() -> dict[str, Callable[..., tuple[NDArray[Any], ...]]]:
    """Compiled by numba: counts ``batch time threshold 4``, B-MSE and B-MAE ``batch time``.

    Raises:
        ConfigError: numba is not installed.
    """
    try:
        numba = importlib.import_module("numba")
    except ImportError as error:
        raise ConfigError(
            "the yardstick needs numba, which is not installed; pip install 'memel-nowcast[dev]'"
        ) from error
    return {"arrays": numba.njit(_arrays), "loops": numba.njit(_loops)}


def _arrays(
    prediction: Any, truth: Any, mask: Any, thresholds: Any, weights: Any
) -> tuple[Any, Any, Any]:
    """Events as arrays with an axis of thresholds, combined and then counted."""
    batch, time = truth.shape[:2]
    predicted = np.expand_dims(prediction, -1) >= thresholds
    observed = np.expand_dims(truth, -1) >= thresholds
    valid = np.expand_dims(mask, -1)
    tables = (
        predicted & observed & valid,
        ~predicted & observed & valid,
        predicted & ~observed & valid,
        ~predicted & ~observed & valid,
    )
    counts = np.zeros((batch, time, len(thresholds), 4), np.int64)
    for kind in range(4):
        for clip in range(batch):
            for lead in range(time):
                for k in range(len(thresholds)):
                    counts[clip, lead, k, kind] = tables[kind][clip, lead, ..., k].sum()
    weight = np.full_like(truth, weights[0])
    for k in range(len(thresholds)):
        weight = np.where(truth >= thresholds[k], weights[k + 1], weight)
    weight = weight * mask
    error = prediction - truth
    b_mse, b_mae = np.zeros((batch, time)), np.zeros((batch, time))
    for clip in range(batch):
        for lead in range(time):
            b_mse[clip, lead] = (weight[clip, lead] * error[clip, lead] ** 2).sum()
            b_mae[clip, lead] = (weight[clip, lead] * np.abs(error[clip, lead])).sum()
    return counts, b_mse, b_mae


def _loops(
    prediction: Any, truth: Any, mask: Any, thresholds: Any, weights: Any
) -> tuple[Any, Any, Any]:
    """A loop over every pixel and, in it, over the thresholds."""
    batch, time, _, height, width = truth.shape
    counts = np.zeros((batch, time, len(thresholds), 4), np.int64)
    b_mse, b_mae = np.zeros((batch, time)), np.zeros((batch, time))
    for clip in range(batch):
        for lead in range(time):
            for row in range(height):
                for column in range(width):
                    if mask[clip, lead, 0, row, column]:
                        predicted = prediction[clip, lead, 0, row, column]
                        true = truth[clip, lead, 0, row, column]
                        weight = weights[0]
                        for k in range(len(thresholds)):
                            warned, observed = predicted >= thresholds[k], true >= thresholds[k]
                            counts[clip, lead, k, (1 - warned) + 2 * (1 - observed)] += 1
                            if observed:
                                weight = weights[k + 1]
                        error = predicted - true
                        b_mse[clip, lead] += weight * error * error
                        b_mae[clip, lead] += weight * abs(error)
    return counts, b_mse, b_mae


def table(rows: Sequence[Speed]) -> str:
    """One line a yardstick, as Markdown."""
    lines = [
        "| yardstick | threads of torch | clock | numba | nowcast | ratio (95 % interval) |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        theirs, ours = (1000 * np.median(times) for times in (row.pairs.one, row.pairs.other))
        ratio, low, high = row.pairs.ratio()
        lines.append(
            f"| {row.yardstick} | {row.threads} | {row.clock} | {theirs:.1f} ms | {ours:.2f} ms | "
            f"{ratio:.3f} ({low:.3f} to {high:.3f}) |"
        )
    way = "in C" if rows[0].in_c else "in torch operations: it was installed without a C compiler"
    return "\n".join([*lines, "", f"nowcast counts {way}."])
