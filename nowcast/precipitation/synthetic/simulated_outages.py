"""Outages put into training inputs: rain that a radar reports as dry, said to be data.

A network that has never seen one takes the rain after it for a storm that grows.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, UInt8

AFTER = 3  # frames that an outage from the start of a clip leaves at its end, at most
BEFORE = 2  # frames just before the newest that an outage takes, at most

Part = Callable[[np.random.Generator, tuple[int, int]], Bool[np.ndarray, "height width"]]


def empty(
    inputs: UInt8[np.ndarray, "time height width"], rng: np.random.Generator, share: float
) -> None:
    """Make a part of some input frames dry, with probability `share`; the newest stays as it is.

    The frames are all but the last few, or the last few before the newest. The part is the whole
    frame, a half, a sector or a block.

    Args:
        inputs: 8-bit frames, changed in place.
        rng: of this clip.
        share: of the clips.
    """
    happens = bool(rng.random() < share)
    from_start, kind = bool(rng.integers(2)), int(rng.integers(len(PARTS)))
    kept, taken = int(rng.integers(1, AFTER + 1)), int(rng.integers(1, BEFORE + 1))
    part = PARTS[kind](rng, inputs.shape[1:])
    if not happens or len(inputs) < 2:
        return
    last = len(inputs) - 1
    frames = slice(0, max(1, last + 1 - kept)) if from_start else slice(max(0, last - taken), last)
    inputs[frames, part] = 0


def _whole(rng: np.random.Generator, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    return np.ones(size, dtype=bool)


def _half(rng: np.random.Generator, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """One side of a line through somewhere about the middle."""
    rows, columns = _from_about_the_middle(rng, size)
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(rows * np.sin(angle) + columns * np.cos(angle) > 0)


def _sector(rng: np.random.Generator, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    rows, columns = _from_about_the_middle(rng, size)
    first, width = rng.uniform(0, 2 * np.pi), rng.uniform(np.pi / 6, np.pi)
    return np.asarray((np.arctan2(rows, columns) - first) % (2 * np.pi) < width)


def _block(rng: np.random.Generator, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """A quarter to three quarters of either side."""
    found = np.zeros(size, dtype=bool)
    edges = []
    for side in size:
        length = max(1, round(side * rng.uniform(0.25, 0.75)))
        first = int(rng.integers(side - length + 1))
        edges.append(slice(first, first + length))
    found[edges[0], edges[1]] = True
    return found


def _from_about_the_middle(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return rows - size[0] * rng.uniform(0.3, 0.7), columns - size[1] * rng.uniform(0.3, 0.7)


PARTS: tuple[Part, ...] = (_whole, _half, _sector, _block)
