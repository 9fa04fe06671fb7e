"""Scoring a batch beside two straightforward ways to do it with numba, one thread or two.

`arrays` expands the thresholds into an axis; `loops` goes over every pixel and threshold.
"""

import importlib
from collections.abc import Callable, Sequence
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
from scripts.bench.benchmark import (
    Asked,
    Benchmark,
    Cells,
    Row,
    in_turns,
    interval,
    milliseconds,
    ratio,
)


def measure(asked: Asked, leads: int = 10, size: int = 120) -> list[Row]:
    """Time `score_frames` against both yardsticks on rain-like frames.

    Raises:
        ConfigError: numba is not installed.
    """
    clips = asked.only("batch")
    calibration = Calibration()
    prediction, truth, mask = _frames(clips, leads, size)
    thresholds = np.array(pixel_thresholds(calibration), np.float32)
    weights = np.array(BALANCING_WEIGHTS, np.float32)
    frames = [torch.from_numpy(values) for values in (prediction, truth, mask)]

    def ours() -> object:
        return score_frames(frames[0], frames[1], frames[2], calibration)

    rows = []
    for threads in asked.threads:
        torch.set_num_threads(threads)
        for name, yardstick in yardsticks().items():

            def theirs(yardstick: Callable[..., object] = yardstick) -> object:
                return yardstick(prediction, truth, mask, thresholds, weights)

            (slow, fast), _ = in_turns((theirs, ours), asked.pairs)
            row = {"yardstick": name, "threads": threads, "in_c": tally.available}
            rows.append(row | {"numba": slow, "nowcast": fast, "ratio": ratio(fast, slow)})
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


def cells(row: Row) -> Cells:
    """Of a line."""
    return {
        "yardstick": row["yardstick"],
        "threads of torch": f"{row['threads']}",
        "numba": f"{milliseconds(row['numba']):.1f} ms",
        "nowcast": f"{milliseconds(row['nowcast']):.2f} ms",
        "ratio (95 % interval)": interval(row["ratio"], 3),
    }


def note(rows: Sequence[Row]) -> str:
    """How nowcast counts."""
    way = "C" if rows[0]["in_c"] else "torch operations: it was installed without a C compiler"
    return f"nowcast counts in {way}."


BENCHMARK = Benchmark(
    "the scores of a batch, beside two straightforward ways to count them with numba",
    measure,
    cells,
    note,
    ("batch", "threads", "pairs"),
    Asked(batch=(16,), pairs=51),
)
