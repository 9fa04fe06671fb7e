"""One day of an archive, read frame by frame: the part of a check that takes time."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.frames import (
    DayFolder,
    FrameError,
    FrameSizeError,
    Moments,
    NotGreyError,
)
from nowcast.precipitation.preparation.doctor.findings import Finding, printable, relative

KINDS = {FrameSizeError: "frame of another size", NotGreyError: "frame not 8-bit grey"}

# Of the unmasked pixels; with fewer, two frames may be equal by chance.
RAINY_SHARE, RAINY_PIXELS = 0.01, 4


@dataclass(frozen=True)
class Expected:
    """What every frame of an archive is held against.

    Args:
        root: the archive.
        shape: (height, width) of a frame; None if it could not be found out.
        usable: the exclude mask, True = use; None without one.
        wet_level: the lowest 8-bit level that is rain.
        has_masks: each frame must have a mask.
    """

    root: Path
    shape: tuple[int, int] | None
    usable: Bool[np.ndarray, "height width"] | None
    wet_level: int
    has_masks: bool


@dataclass(frozen=True)
class DayReading:
    """What a day's frames hold.

    Args:
        moments: one a frame file.
        digests: a fingerprint of each frame's levels; 0 where it cannot be read.
        wet: an unmasked pixel of it is rain.
        rainy: at least `RAINY_SHARE` of its unmasked pixels are, and `RAINY_PIXELS` of them.
        findings: what is wrong with its files.
    """

    moments: Moments
    digests: Int64[np.ndarray, " frame"]
    wet: Bool[np.ndarray, " frame"]
    rainy: Bool[np.ndarray, " frame"]
    findings: list[Finding]


def read_day(day: DayFolder, expected: Expected) -> DayReading:
    """Read all frames and masks of a day; what is wrong with them is found, not raised."""
    digests = np.zeros(len(day.moments), dtype=np.int64)
    wet = np.zeros(len(day.moments), dtype=bool)
    rainy = np.zeros(len(day.moments), dtype=bool)
    findings: list[Finding] = []
    for position, moment in enumerate(day.moments):
        mask = expected.usable
        if expected.has_masks and expected.shape is not None:
            path = frames.mask_path(expected.root, moment)
            try:
                own = frames.read_mask(path, expected.shape)
                mask = own if mask is None else own & mask
            except FrameError as error:
                kind = "bad mask" if os.path.lexists(path) else "missing mask"
                findings.append(_damage(kind, path, error, expected.root, moment))
        path = frames.frame_path(expected.root, moment)
        try:
            levels = frames.read_frame(path, expected.shape or (1, 1))
        except FrameError as error:
            kind = KINDS.get(type(error), "unreadable frame")
            findings.append(_damage(kind, path, error, expected.root, moment))
            continue
        digest = hashlib.blake2b(levels.tobytes(), digest_size=8).digest()
        digests[position] = int.from_bytes(digest, "big", signed=True)
        rain = levels >= expected.wet_level
        raining = int((rain if mask is None else rain & mask).sum())
        of = rain.size if mask is None else max(1, int(mask.sum()))
        wet[position] = raining > 0
        rainy[position] = raining >= max(RAINY_SHARE * of, RAINY_PIXELS)
    return DayReading(day.moments, digests, wet, rainy, findings)


def _damage(kind: str, path: Path, error: FrameError, root: Path, moment: np.datetime64) -> Finding:
    """The finding that a reader's error is."""
    detail = printable(str(error).removeprefix(f"{path}: "))
    return Finding(kind, relative(path, root), detail, np.array([moment], "datetime64[m]"))
