"""A hash that tells one archive from another, whatever its folder and however it is stored."""

import hashlib
from dataclasses import asdict

import numpy as np

from nowcast.core.storage.origin import digest
from nowcast.precipitation.archive.frames import FrameError
from nowcast.precipitation.archive.quarantine import read_quarantine
from nowcast.precipitation.archive.reader import ArchiveReader
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
