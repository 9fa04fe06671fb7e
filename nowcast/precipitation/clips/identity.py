"""What tells clips from others: a hash of their archive, whatever its folder and however it is
stored, and the facts that stand beside their scores."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from nowcast.core.storage.origin import digest
from nowcast.precipitation.archive.frames import FrameError
from nowcast.precipitation.archive.quarantine import read_quarantine
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.settings import DataSettings

SAMPLED_FRAMES = 64  # read in full: under a second, also for years of 480x480 frames
# What of the description a sample depends on; names and credits it does not.
NUMBERS = ("step_minutes", "height", "width", "zr_a", "zr_b", "quantity")


def archive_hash(archive: ArchiveReader, settings: DataSettings) -> str:
    """A hash of what clips are cut from: equal for a tree and its packed file.

    It covers step, size and Z-R relation, every moment, the day lists, exclude mask and quarantine
    where they are used, and frames and masks of `SAMPLED_FRAMES` moments spread over the archive.
    A change of single frames in between is not noticed.

    Raises:
        DataError: a file that is used is damaged.
        ConfigError: a file that is used is absent.
    """
    content = hashlib.sha256(_bytes(archive.moments))
    if settings.masks != "frame":
        content.update(np.packbits(archive.usable).tobytes())
    if settings.quarantine is not None:
        content.update(b"without" + _bytes(read_quarantine(settings.quarantine)))
    chosen = np.linspace(0, len(archive.moments) - 1, SAMPLED_FRAMES).astype(int)
    for moment in archive.moments[np.unique(chosen)]:
        try:
            content.update(archive.frame(moment).tobytes())
            if archive.has_masks and settings.masks != "exclude":
                content.update(np.packbits(archive.mask(moment)).tobytes())
        except FrameError:  # damaged, which clips take for missing
            content.update(b"no frame")
    meaning = {key: value for key, value in asdict(archive.description).items() if key in NUMBERS}
    days = {split: sorted(found) for split, found in archive.days.items()}
    return digest([meaning, archive.held, days, content.hexdigest()])


def _bytes(moments: np.ndarray) -> bytes:
    return np.sort(moments).astype("<M8[m]").tobytes()


def facts_of(clips: Clips) -> Mapping[str, Any]:
    """Which clips of which archive, and a note where thresholds in mm/h are nominal."""
    description, settings = clips.archive.description, clips.settings
    note = description.note
    return {
        "clips": len(clips),
        "clips_hash": clips.fingerprint(),
        "blocks": len(np.unique(clips.blocks)),
        "data": description.name,
        "credit": description.credit,
        "root": str(clips.archive.root),
        "split": clips.split,
        "in_len": settings.in_len,
        "out_len": settings.out_len,
        "stride": clips.stride,
        "step_minutes": description.step_minutes,
        "height": clips.height,
        "width": clips.width,
        "masks": settings.masks,
        "quantity": description.quantity,
        **({} if note is None else {"note": note}),
    }
