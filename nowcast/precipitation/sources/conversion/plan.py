"""What becomes of a source, as its first field, the user, and an archive that is there say."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import DESCRIPTION, Description
from nowcast.precipitation.archive.frames import frame_path, read_frame
from nowcast.precipitation.archive.masks import VALID_SHARE
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.sources.conversion.clock import step_between
from nowcast.precipitation.sources.conversion.cut import Cut
from nowcast.precipitation.sources.conversion.damage import Fields
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.conversion.values import (
    accumulation,
    check_alike,
    check_units,
    checked,
)
from nowcast.precipitation.sources.field import Field, Source
from nowcast.precipitation.units import Calibration

Levels = UInt8[np.ndarray, "height width"]
Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Frame:
    """A frame of an archive, before it is there.

    Args:
        position: of its field in the source.
        time: UTC.
        mask: True = use.
        made: its levels, or the folder of a part, laid out as an archive, that it lies in.
    """

    position: int
    time: np.datetime64
    mask: Mask
    made: Levels | Path

    def levels(self) -> Levels:
        """8 bits."""
        if isinstance(self.made, Path):
            return read_frame(frame_path(self.made, self.time), self.mask.shape)
        return self.made

    def write_to(self, writer: ArchiveWriter) -> None:
        """Add it to an archive that is written."""
        if isinstance(self.made, Path):
            writer.take(self.made, self.time)
        else:
            writer.write(self.time, self.made, self.mask)


class FrameMaker:
    """Makes frames of the fields of a source, which must all be like the first one.

    Args:
        first: field of the source that can be read.
        named: what to call it in a message.
        target: crop, block mean, Z-R relation and no data.

    Raises:
        ConfigError: the crop or the blocks do not fit it.
        DataError: it contradicts `target`.
    """

    def __init__(self, first: Field, named: str, target: Target) -> None:
        self.first, self.named = first, named
        self.cut = Cut(named, first.values.shape, target)
        self.minutes = accumulation(first, named, target)
        self._target = target

    def frame(self, field: Field, where: str) -> tuple[Levels, Mask]:
        """8-bit levels and mask (True = use) of a field.

        Raises:
            DataError: it is not like the first one, or holds what cannot be rain.
        """
        check_alike(field, self.first, where)
        minutes, target = self.minutes, self._target
        if accumulation(field, where, target) != minutes:
            raise DataError(
                f"{where}: expected a sum over {minutes:g} minutes as in {self.named}, found "
                f"{field.accumulation_minutes:g}"
            )
        return self.cut.levels(checked(field, minutes, where, target), field.unit)


@dataclass(frozen=True)
class Plan:
    """One archive that is to be made of a source.

    Args:
        source: its fields.
        root: its folder.
        target: what the user wants, and what is there where frames are added.
        adds: whether it is there, and frames are added.
        head: position of the first field that can be read.
        maker: makes the frames.
        description: of the archive, without its history.
        grid_fault: why the grid that the source states is left out; None where it is not.
    """

    source: Source
    root: Path
    target: Target
    adds: bool
    head: int
    maker: FrameMaker
    description: Description
    grid_fault: str | None

    def frame(self, position: int, field: Field) -> Frame:
        """The frame of a field; raises as `FrameMaker.frame`."""
        levels, mask = self.maker.frame(field, self.source.where(position))
        return Frame(position, field.time, mask, levels)


def plan(
    source: Source, fields: Fields, left: Iterator[tuple[int, Field]], root: Path, target: Target
) -> Plan:
    """What a source becomes.

    Args:
        source: in another format.
        fields: of it.
        left: an iterator over them, from which the first one is taken.
        root: folder to make.
        target: what the user wants.

    Raises:
        ConfigError: an option is missing or does not fit, or the archive there has no description.
        DataError: there are no fields, or none that can be read.
    """
    if not len(source):
        raise DataError(f"{source.name}: expected frames, found none")
    there = _description_of(root) if target.append else None
    if there is not None:
        target = _as_there(target, there)
    step = step_between(source, target.step_minutes)
    head = next(left, None)
    if head is None:
        raise DataError(
            f"{source.name}: expected a frame that can be read, found {len(fields.skipped)} that "
            f"cannot, the first {fields.skipped[0].file}: {fields.skipped[0].reason}"
        )
    first, named = head[1], source.where(head[0])
    check_units(first, named, target)
    if first.unit == "VIL" and (
        target.block_mean > 1 or (target.calibration is not None and there is None)
    ):
        raise ConfigError(
            "--block-mean, --zr: SEVIR's VIL levels are kept as they are; crop them or leave it out"
        )
    maker = FrameMaker(first, named, target)
    calibration = target.calibration or Calibration()
    description = Description(
        name=target.name or source.name or root.name,
        credit=target.credit,
        step_minutes=step,
        height=maker.cut.height,
        width=maker.cut.width,
        zr_a=calibration.zr_a,
        zr_b=calibration.zr_b,
        quantity="VIL" if first.unit == "VIL" else "reflectivity",
        grid=maker.cut.grid(first.grid),
        valid_share=target.valid_share or VALID_SHARE,
    )
    fault = description.grid_fault
    if fault is not None:
        description = replace(description, grid=None)
    return Plan(source, root, target, there is not None, head[0], maker, description, fault)


def _description_of(root: Path) -> Description | None:
    """Of the archive that frames are added to; None where there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    if not (root / DESCRIPTION).is_file():
        raise ConfigError(
            f"--append: expected an archive that `nowcast data convert` made, found no "
            f"{DESCRIPTION} in {root}; give the one to add to, or convert into a new folder"
        )
    return Archive(root).description


def _as_there(target: Target, there: Description) -> Target:
    """What the user leaves open is as in the archive that frames are added to."""
    return replace(
        target,
        calibration=target.calibration or there.calibration,
        step_minutes=target.step_minutes or there.step_minutes,
        valid_share=target.valid_share or there.valid_share,
    )
