"""Frames added to an archive that is there: those it has are compared, nothing is replaced."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import write_text, writing
from nowcast.precipitation.archive import masks
from nowcast.precipitation.archive.days import SPLITS, days_path
from nowcast.precipitation.archive.description import DESCRIPTION, Description
from nowcast.precipitation.archive.frames import FRAME_FOLDER, MASK_FOLDER, frame_path
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter

# What must be the same for frames to mean the same.
ALIKE = ("step_minutes", "height", "width", "zr_a", "zr_b", "quantity", "grid")


class ArchiveAppender:
    """Adds frames to an archive: `staged` writes them beside it, `finish` moves them into it.

    Each frame is moved after its mask, so an archive whose move was interrupted holds whole frames
    alone, and the same command goes on.

    Args:
        root: of an archive that `nowcast data convert` made.
        description: of the frames to add.

    Raises:
        ConfigError: its frames mean something else, or have no masks.
    """

    def __init__(self, root: Path, description: Description) -> None:
        self._archive = Archive(root)
        self.description = self._archive.description
        if not self._archive.has_masks:
            raise ConfigError(
                f"--append: expected frame masks in {root / MASK_FOLDER}, found none; convert into "
                "a new folder"
            )
        for name in ALIKE:
            there, now = getattr(self.description, name), getattr(description, name)
            if there != now:
                raise ConfigError(
                    f"--append: expected frames as {root} has them, with {name} {there}, found "
                    f"{now}; convert into a new folder"
                )
        self._there = set(self._archive.moments.tolist())
        self.staged = ArchiveWriter(root.with_name(f"{root.name}.more"), self.description)
        self.added: list[np.datetime64] = []
        self.kept = 0

    def is_new(
        self,
        time: np.datetime64,
        levels: UInt8[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"],
    ) -> bool:
        """Whether a frame is to be added: the archive has none of that time.

        Raises:
            DataError: the archive has another frame or mask of that time.
        """
        if time.astype("datetime64[m]").item() not in self._there:
            self.added.append(time)
            return True
        root = self._archive.root
        alike = np.array_equal(levels, self._archive.frame(time)) and np.array_equal(
            mask, self._archive.mask(time)
        )
        if not alike:
            raise DataError(
                f"{frame_path(root, time)}: expected the frame that is to be added, found another "
                "one of that time; nothing is added. Remove it and its mask, or convert into a new "
                "folder, with the same options"
            )
        self.kept += 1
        return False

    def finish(self, valid_share: float, history: tuple[str, ...]) -> None:
        """Move the frames into the archive, and make its exclude mask and description true again.

        Args:
            valid_share: of all frames, see `masks.ValidCounts`.
            history: lines to add.
        """
        root = self._archive.root
        self.staged.whole()
        for name in (MASK_FOLDER, FRAME_FOLDER):
            folder = self.staged.part / name
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = root / name / path.relative_to(folder)
                with writing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
        self._archive = Archive(root, self._archive.lists)
        valid = masks.ValidCounts(self._archive.shape)
        for moment in self._archive.moments:
            valid.add(self._archive.mask(moment))
        masks.write_exclude(self._archive.lists, valid.usable(valid_share))
        self.description = replace(
            self.description,
            valid_share=valid_share,
            history=self.description.history + (history if self.added else ()),
        )
        write_text(root / DESCRIPTION, self.description.to_json())

    def days_of_no_list(self) -> list[str]:
        """The days of added frames that no day list names, ``YYYYMMDD``; none without lists."""
        if not all(days_path(self._archive.lists, split).is_file() for split in SPLITS):
            return []
        listed = {day for days in self._archive.days.values() for day in days}
        added = sorted({str(moment)[:10].replace("-", "") for moment in self.added})
        return [day for day in added if day not in listed]

    @property
    def usable_share(self) -> float:
        """Share of pixels that the exclude mask leaves, after `finish`."""
        return float(self._archive.usable.mean())
