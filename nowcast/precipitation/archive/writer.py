"""Writes an archive: beside its place, and moved there when it is whole."""

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError
from nowcast.core.execution.ahead import Behind
from nowcast.core.storage.files import write_text, writing
from nowcast.precipitation.archive import days, frames, masks
from nowcast.precipitation.archive.days import Split
from nowcast.precipitation.archive.description import DESCRIPTION, Description
from nowcast.precipitation.archive.frames import LISTS_FOLDER


class ArchiveWriter:
    """Writes an archive frame by frame, in a folder beside it that is renamed at the end.

    So nothing half-written stands where an archive is expected. Used as a context; what an error
    or Ctrl-C interrupts is removed again. Threads encode and write behind the caller.

    Args:
        root: the folder to make; must not exist, or be empty.
        description: what goes into ``archive.json``.

    Raises:
        ConfigError: `root` already holds something, or a killed process left its folder.
    """

    def __init__(self, root: Path, description: Description) -> None:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ConfigError(
                f"{root}: expected a new or empty folder to write an archive to, found something "
                "there; choose another or remove it; `nowcast data convert --append` adds to one"
            )
        self.root = root
        self.description = description
        self.part = root.with_name(f"{root.name}.part")
        self._behind = Behind()

    def __enter__(self) -> "ArchiveWriter":
        if os.path.lexists(self.part):
            raise self._occupied()
        with writing(self.part):
            try:
                self.part.parent.mkdir(parents=True, exist_ok=True)
                self.part.mkdir()
            except FileExistsError as error:
                if not self.part.is_dir():
                    raise
                raise self._occupied() from error
        return self

    def _occupied(self) -> ConfigError:
        return ConfigError(
            f"{self.part}: expected nothing there, found what another process writes or a killed "
            "one left; if none is at work, remove it"
        )

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._behind.close()
        if kind is not None or not (self.part / DESCRIPTION).is_file():
            shutil.rmtree(self.part, ignore_errors=True)

    def write(
        self,
        moment: np.datetime64,
        levels: UInt8[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"],
    ) -> None:
        """Write the frame and the mask of one time (mask True = use); what fails is raised by a
        later call or by `whole`."""
        expected = (self.description.height, self.description.width)
        if levels.shape != expected or mask.shape != expected:
            raise ValueError(f"expected {expected}, found {levels.shape} and {mask.shape}")
        self._behind.do(partial(self._write, moment, levels.copy(), mask.copy()))

    def _write(
        self,
        moment: np.datetime64,
        levels: UInt8[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"],
    ) -> None:
        frames.write_frame(self.part, moment, levels)
        frames.write_mask(self.part, moment, mask)

    def take(self, folder: Path, moment: np.datetime64) -> None:
        """Add the frame and the mask of one time from a folder laid out as an archive, without
        reading them."""
        for path in (frames.frame_path, frames.mask_path):
            there, here = path(folder, moment), path(self.part, moment)
            with writing(here):
                here.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(there, here)
                except OSError:  # a file system without hard links
                    shutil.copyfile(there, here)

    def whole(self) -> None:
        """Wait until all frames are written."""
        self._behind.finish()

    def finish(
        self,
        usable: Bool[np.ndarray, "height width"],
        splits: dict[Split, dict[str, float]] | None,
    ) -> None:
        """Write exclude mask, day lists (None: no lists) and description; the archive is whole
        and in its place after this."""
        self.whole()
        lists = self.part / LISTS_FOLDER
        masks.write_exclude(lists, usable)
        if splits is not None:
            for split in days.SPLITS:
                days.write_days(lists, split, splits.get(split, {}))
        write_text(self.part / DESCRIPTION, self.description.to_json())
        with writing(self.root):
            self.part.replace(self.root)
