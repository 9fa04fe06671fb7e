"""What is taken for clutter in an archive: every frame looked at once, several at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.system.machine import usable_cpus
from nowcast.core.system.threads import in_order
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.preparation.masking.declutter import Declutter
from nowcast.precipitation.synthetic.clutter import KINDS, Kind
from nowcast.precipitation.units import THRESHOLDS_MM_H

WET_MM_H = THRESHOLDS_MM_H[0]

Levels = UInt8[np.ndarray, "height width"]
Mask = Bool[np.ndarray, "height width"]
Progress = Callable[[int, int], None]


class Agreement(NamedTuple):
    """Pixels that an estimate removes, against those that a mask there removes.

    Attributes:
        both: removed by both.
        estimated: removed by the estimate.
        given: removed by the mask that is there.
    """

    both: int
    estimated: int
    given: int

    @property
    def precision(self) -> float | None:
        """Share of the estimated that are given, in [0, 1], best 1; None if none is estimated."""
        return self.both / self.estimated if self.estimated else None

    @property
    def recall(self) -> float | None:
        """Share of the given that are estimated, in [0, 1], best 1; None if none is given."""
        return self.both / self.given if self.given else None


NOTHING = Agreement(0, 0, 0)


def agreement(estimated: Mask, given: Mask, among: Mask) -> Agreement:
    """How two masks (True = use) agree about what not to use, among some pixels."""
    ours, theirs = ~estimated & among, ~given & among
    return Agreement(int((ours & theirs).sum()), int(ours.sum()), int(theirs.sum()))


@dataclass
class Removed:
    """What was taken for clutter in the frames of an archive, in usable pixels with an echo.

    Args:
        frames: frames looked at.
        echoes: their pixels with an echo.
        wet: those of at least `WET_MM_H`.
        pixels: removed, per kind.
        wet_pixels: removed that are wet, per kind.
        struck: frames that have any, per kind.
        busiest: the time with the most removed, the first of them; None if nothing was.
        agreement: with the masks there, where they are compared.
    """

    frames: int = 0
    echoes: int = 0
    wet: int = 0
    pixels: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    wet_pixels: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    struck: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    busiest: np.datetime64 | None = None
    agreement: Agreement = NOTHING

    @property
    def wet_share(self) -> float:
        """Share of the wet pixels that were removed."""
        return sum(self.wet_pixels.values()) / max(1, self.wet)

    def add(self, other: "Removed") -> None:
        """Count what was removed elsewhere too."""
        self.frames += other.frames
        self.echoes += other.echoes
        self.wet += other.wet
        for kind in KINDS:
            self.pixels[kind] += other.pixels[kind]
            self.wet_pixels[kind] += other.wet_pixels[kind]
            self.struck[kind] += other.struck[kind]
        self.agreement = Agreement(*np.add(self.agreement, other.agreement).tolist())

    def rows(self) -> list[list[str]]:
        """For a table: kind, pixels, share of those with an echo, share of the wet, frames."""
        return [
            [
                kind,
                str(self.pixels[kind]),
                f"{self.pixels[kind] / max(1, self.echoes):.3%}",
                f"{self.wet_pixels[kind] / max(1, self.wet):.3%}",
                f"{self.struck[kind]} of {self.frames}",
            ]
            for kind in KINDS
        ]


def remove_clutter(
    archive: Archive,
    usable: Mask,
    radar: tuple[float, float] | None,
    visit: Callable[[np.datetime64, Levels, Mask], Agreement],
    workers: int | None,
    progress: Progress | None,
) -> Removed:
    """Find the clutter of every frame of an archive, and add up.

    Args:
        archive: any.
        usable: the exclude mask, True = use.
        radar: (row, column) of the radar; the middle of the frame if None.
        visit: called in a thread with (moment, 8-bit levels, mask of that time); says how the
            mask agrees with one that is there.
        workers: threads; one a processor if None.
        progress: called with (frames done, frames in all).

    Raises:
        DataError: a frame is damaged.
    """
    method = Declutter(usable, radar)
    rate_mm_h = archive.calibration.rate_by_level()

    def look(moment: np.datetime64) -> Removed:
        levels = archive.frame(moment)
        found = method.find(levels)
        wet = (rate_mm_h[levels] >= WET_MM_H) & usable
        mask = usable & ~np.any(list(found.values()), axis=0)
        return Removed(
            frames=1,
            echoes=int(((levels > 0) & usable).sum()),
            wet=int(wet.sum()),
            pixels={kind: int(found[kind].sum()) for kind in KINDS},
            wet_pixels={kind: int((found[kind] & wet).sum()) for kind in KINDS},
            struck={kind: int(found[kind].any()) for kind in KINDS},
            agreement=visit(moment, levels, mask),
        )

    # Threads: nearly all of the time is in numpy, scipy and zlib, which let others run.
    total, most = Removed(), 0
    looks = in_order(look, archive.moments, workers or usable_cpus())
    for moment, one in zip(archive.moments, looks, strict=True):
        total.add(one)
        if sum(one.pixels.values()) > most:
            most, total.busiest = sum(one.pixels.values()), moment
        if progress is not None:
            progress(total.frames, len(archive.moments))
    return total
