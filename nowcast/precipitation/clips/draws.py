"""Which clips are drawn at a step, which window of them, and how they are turned.

All of it is a function of seed and step, so a resumed run and every number of ranks see the same
rain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from nowcast.core.training.sampling import draws, weighted_draws

Array = TypeVar("Array", NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64])


@dataclass(frozen=True)
class Draw:
    """Which clip, and how it is seen.

    Args:
        clip: its number.
        row: where a random crop's upper edge lies.
        column: where its left edge lies.
        turns: quarter turns, anticlockwise.
        mirrored: left and right are swapped, after the turns.
        weight: what the clip's loss is multiplied by, so that a mean over draws estimates the mean
            over all clips.
    """

    clip: int
    row: int = 0
    column: int = 0
    turns: int = 0
    mirrored: bool = False
    weight: float = 1.0

    def view(self, array: Array) -> Array:
        """A view of ``(time, height, width)`` frames: what is written to it upright, as the archive
        has it, stands turned and mirrored in the array."""
        if self.mirrored:
            array = array[..., ::-1]
        return np.rot90(array, -self.turns, axes=(-2, -1)) if self.turns else array


def training_draws(
    population: tuple[int, int, int],
    batch_size: int,
    seed: int,
    start: int,
    rank: int,
    ranks: int,
    *,
    turns: bool = False,
    flips: bool = False,
    probabilities: Float64[np.ndarray, " clip"] | None = None,
) -> Iterator[list[Draw]]:
    """For each step from `start` on, this rank's share of the clips drawn at that step.

    Args:
        population: how many clips there are, and how many rows and columns a random crop's corner
            can have; all are drawn uniformly.
        batch_size: clips a step, over all ranks.
        seed: what all randomness comes from.
        start: the first step.
        rank: this process.
        ranks: how many there are.
        turns: also draw 0 to 3 quarter turns.
        flips: also mirror every second clip; with `turns` all eight orientations are alike likely,
            without them up-down comes as a half turn of left-right.
        probabilities: draw clips with these instead of uniformly; weights say by how much less
            often each would have come.
    """
    step = start
    while True:
        rows = draws(seed, step, batch_size, population)
        weights = np.ones(batch_size)
        if probabilities is not None:
            rows[:, 0] = weighted_draws(seed, step, batch_size, probabilities)
            weights = 1 / (len(probabilities) * probabilities[rows[:, 0]])
        views = draws(seed, step, batch_size, (4, 2), stream=1)
        if not turns:
            views[:, 0] = 2 * (views[:, 0] % 2) if flips else 0
        if not flips:
            views[:, 1] = 0
        yield [
            Draw(int(clip), int(row), int(column), int(turn), bool(mirrored), float(weight))
            for (clip, row, column), (turn, mirrored), weight in zip(
                rows[rank::ranks], views[rank::ranks], weights[rank::ranks], strict=True
            )
        ]
        step += 1


def evaluation_draws(clips: int, batch_size: int, rank: int, ranks: int) -> Iterator[list[Draw]]:
    """This rank's share of all clips, each once and none padded; the last batch may be short."""
    mine = range(rank, clips, ranks)
    for first in range(0, len(mine), batch_size):
        yield [Draw(clip) for clip in mine[first : first + batch_size]]


def towards_rain(wet: Float64[np.ndarray, " clip"], share: float) -> Float64[np.ndarray, " clip"]:
    """How likely each clip is drawn: ``(1 - share) / clips + share * wet / sum of wet``.

    No clip is more than 1 / (1 - share) times as rare as it would be uniformly. Uniform where
    nothing is wet.

    Args:
        wet: wet share of each clip, in [0, 1].
        share: how much of the draws follow the rain, in [0, 1).
    """
    uniform = np.full(len(wet), 1 / len(wet))
    if not wet.sum() > 0:
        return uniform
    return np.asarray((1 - share) * uniform + share * wet / wet.sum())
