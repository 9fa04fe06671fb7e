"""Frames, or parts of them, that a radar's outage left dry, and frames that stand still.

An outage often arrives as a dry frame or a dry half of one, not as missing data, and a feed that
has stopped as the same frame again. Forecasters take both for weather. Rain does neither: over a
large area it cannot come or go within one step, and no two frames of it are alike.

- **Gone, or come at once.** Rain of `STRONG_MM_H` in one frame, with none of `WEAK_MM_H` in the
  next (or the one before) as far around as rain moves in a step, over more than `LEAST_SHARE` of
  the data in one piece and `LEAST_PX` pixels. The dry side is suspect: the whole frame where hardly
  any rain is left in it, else that part of it, and so are the frames beyond it for as long as the
  part stays dry. Rain as near to the edge of the data as that may come from beyond it, and does
  not count.
- **Frozen.** Rain in `FROZEN_PX` pixels or more, and every pixel as in the frame before.

So drizzle, growth and decay, showers and fronts that enter are left alone. Of 29,556 pairs of
neighbouring frames (DWD, KNMI, MeteoSwiss, DPC, MRMS, TAASRAD) two are suspect, where TAASRAD's
rain shrinks from 769 and 428 pixels to 15 and 10 within 5 minutes. Where at least 2 % of a frame
are wet, all whole frames that are emptied on trial are found, and two thirds to all of the halves,
sectors and blocks; there is little rain in the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import cv2
import numpy as np
from jaxtyping import Bool, Shaped
from numpy.typing import NDArray

STRONG_MM_H = 0.5
WEAK_MM_H = 0.1
LEAST_SHARE = 0.003
LEAST_PX = 40
LEFT_SHARE = 0.02  # of the rain of the frame beside it: less is a dry frame
BACK_SHARE = 0.05  # of a dry part: where it rains over more, the outage is over
FROZEN_PX = 20
FASTEST_KM_H = 110.0  # that rain moves; jet streams over winter storms are no faster
LEAST_REACH_PX = 4

DRY_BESIDE_RAIN = "dry where frames beside it have rain, as after an outage of the radar"
FROZEN = "the same as the frame before it while it rains: a feed that stands still"


@dataclass(frozen=True)
class Outages:
    """What is suspect.

    Args:
        frames: position of each frame that is suspect as a whole -> why.
        parts: position of each frame of which a part is -> that part.
    """

    frames: Mapping[int, str]
    parts: Mapping[int, Bool[np.ndarray, "height width"]]

    def mask(
        self, mask: Bool[np.ndarray, "time height width"]
    ) -> Bool[np.ndarray, "time height width"]:
        """A mask of the same frames without what is suspect."""
        found = mask.copy()
        for position in self.frames:
            found[position] = False
        for position, part in self.parts.items():
            found[position] &= ~part
        return found

    @property
    def notes(self) -> list[str]:
        """What is suspect, a sentence each; frames by their position, oldest first."""
        return [
            *(f"frame {position}: {why}" for position, why in self.frames.items()),
            *(
                f"frame {position}: {part_note(part.mean())}"
                for position, part in self.parts.items()
            ),
        ]

    def __bool__(self) -> bool:
        return bool(self.frames or self.parts)


def part_note(share: float) -> str:
    """What is said of a suspect part of a frame."""
    return f"{share:.0%} of it {DRY_BESIDE_RAIN}"


def reach_px(step_minutes: int | float, pixel_km: float | None = None) -> int:
    """How many pixels rain can move in a step; a pixel of unknown size is taken for 1 km."""
    return max(LEAST_REACH_PX, ceil(FASTEST_KM_H * step_minutes / 60 / (pixel_km or 1.0)))


def find_outages(
    frames: Shaped[np.ndarray, "time height width"],
    mask: Bool[np.ndarray, "time height width"],
    weak: float,
    strong: float,
    reach: int,
) -> Outages:
    """Suspect frames and parts of frames.

    Args:
        frames: 8-bit levels or rain rates, oldest first.
        mask: True where there is data; a frame without any is passed over.
        weak: `WEAK_MM_H` as the frames have it.
        strong: `STRONG_MM_H` likewise.
        reach: see `reach_px`; of one step.
    """
    present = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    reasons: dict[int, str] = {}
    frozen = _frozen(frames, mask, weak, present)
    moving = [position for position in present if position not in frozen]
    parts: dict[int, NDArray[np.bool_]] = {}
    for order, (earlier, later) in enumerate(pairwise(moving)):
        pair = _Pair(frames, mask, weak, strong, reach * (later - earlier))
        gone, come = pair.missing(earlier, later), pair.missing(later, earlier)
        for part, beyond in ((gone, moving[order + 1 :]), (come, moving[order::-1])):
            if part is not None:
                _spread(part, beyond, frames, mask, weak, parts)
    for position in list(parts):
        if _is_dry(position, moving, frames, mask, weak, parts[position]):
            reasons[position] = DRY_BESIDE_RAIN
            del parts[position]
    reasons.update(dict.fromkeys(frozen, FROZEN))
    return Outages(dict(sorted(reasons.items())), dict(sorted(parts.items())))


@dataclass(frozen=True)
class _Pair:
    """Two frames after each other, either way."""

    frames: NDArray[np.generic]
    mask: NDArray[np.bool_]
    weak: float
    strong: float
    reach: int

    def missing(self, wet: int, dry: int) -> NDArray[np.bool_] | None:
        """The part of the dry frame in which the wet one's rain is missing; None where that may
        be weather."""
        data = self.mask[wet] & self.mask[dry]
        least = max(LEAST_PX, ceil(LEAST_SHARE * data.sum()))
        rain = (self.frames[wet] >= self.strong) & data
        if rain.sum() < least:
            return None
        there = (self.frames[dry] >= self.weak) & self.mask[dry]
        rain &= ~_grown(there, self.reach) & _inside(data, self.reach)
        if rain.sum() < least:
            return None
        # Showers side by side are one piece.
        joined = _grown(rain, self.reach)
        _, label = cv2.connectedComponents(joined.view(np.uint8))
        pixels = np.bincount(label[rain])
        pieces = np.flatnonzero(pixels >= least)
        if not len(pieces):
            return None
        return np.asarray(np.isin(label, pieces) & ~there & self.mask[dry])


def _spread(
    part: NDArray[np.bool_],
    positions: list[int],
    frames: NDArray[np.generic],
    mask: NDArray[np.bool_],
    weak: float,
    parts: dict[int, NDArray[np.bool_]],
) -> None:
    """Put a dry part among `parts` for a frame and those beyond it, for as long as it is dry."""
    for position in positions:
        rain = (frames[position] >= weak) & mask[position]
        if (part & rain).sum() > BACK_SHARE * part.sum():
            return
        dry = part & ~rain
        parts[position] = parts[position] | dry if position in parts else dry


def _is_dry(
    position: int,
    moving: list[int],
    frames: NDArray[np.generic],
    mask: NDArray[np.bool_],
    weak: float,
    part: NDArray[np.bool_],
) -> bool:
    """Whether hardly any rain is left in a frame, by the wettest of all."""
    rain = [int(((frames[other] >= weak) & mask[other]).sum()) for other in moving]
    return rain[moving.index(position)] <= LEFT_SHARE * max(rain)


def _frozen(
    frames: NDArray[np.generic], mask: NDArray[np.bool_], weak: float, present: list[int]
) -> set[int]:
    return {
        later
        for earlier, later in pairwise(present)
        if ((frames[later] >= weak) & mask[later]).sum() >= FROZEN_PX
        and np.array_equal(mask[earlier], mask[later])
        and np.array_equal(frames[earlier][mask[later]], frames[later][mask[later]])
    }


def _grown(area: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(area.view(np.uint8), kernel).view(bool)


def _inside(data: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Where rain cannot have come from beyond the data."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.erode(data.view(np.uint8), kernel, borderValue=0).view(bool)
