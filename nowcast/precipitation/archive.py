"""An archive of radar frames on disk: what it holds, and what its numbers mean.

``archive.json`` at the root states name, credit, step, frame size and Z-R relation. HKO-7 has no
such file, so without one the step and the frame size are read off the frames and the Z-R relation
is HKO-7's; `Archive.origin` says which it was.
"""

import json
import shutil
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation import days, frames, masks
from nowcast.precipitation.days import Split
from nowcast.precipitation.frames import Moments
from nowcast.precipitation.units import Calibration

DESCRIPTION = "archive.json"
LISTS_FOLDER = "hko_data"

Quantity = Literal["reflectivity", "VIL"]


@dataclass(frozen=True)
class Grid:
    """Where an archive's pixels lie on the map.

    Args:
        projection: PROJ string.
        x_west: outer edge of column 0, in the projection's unit (usually m or km).
        y_north: outer edge of row 0.
        pixel_x: width of a pixel, positive.
        pixel_y: height of a pixel, positive.
    """

    projection: str
    x_west: float
    y_north: float
    pixel_x: float
    pixel_y: float

    def __post_init__(self) -> None:
        if not (self.pixel_x > 0 and self.pixel_y > 0):
            raise ValueError("grid: pixel_x and pixel_y must be positive")


@dataclass(frozen=True)
class Description:
    """What an archive's numbers mean (``archive.json``).

    Args:
        name: a short name for tables.
        credit: who made the data and must be named.
        step_minutes: time between frames, minutes.
        height: rows of a frame, row 0 north.
        width: columns of a frame.
        zr_a: Z in mm^6 m^-3 at 1 mm/h.
        zr_b: exponent of the Z-R relation.
        quantity: what a pixel is. ``VIL`` (vertically integrated liquid, SEVIR's 8-bit levels) is
            no rain rate: thresholds in mm/h are then nominal.
        grid: None where the place is not known.
        history: how the frames came from their source, a line a step.
    """

    name: str
    credit: str
    step_minutes: int
    height: int
    width: int
    zr_a: float
    zr_b: float
    quantity: Quantity = "reflectivity"
    grid: Grid | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole = (self.step_minutes, self.height, self.width)
        if not all(isinstance(value, int) for value in whole):
            raise TypeError("step_minutes, height and width must be whole numbers")
        if self.step_minutes < 1 or self.height < 1 or self.width < 1:
            raise ValueError("step_minutes, height and width must be at least 1")
        if self.quantity not in get_args(Quantity):
            raise ValueError(f"quantity: expected one of {', '.join(get_args(Quantity))}")
        Calibration(self.zr_a, self.zr_b)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """The description that `to_json` wrote.

        Raises:
            ValueError, TypeError: not such a text.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError(f"expected an object with keys, found {type(content).__name__}")
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(content) <= known:
            raise ValueError(
                f"expected the keys {', '.join(sorted(needed))}; "
                f"missing {sorted(needed - set(content))}, "
                f"unknown {sorted(set(content) - known)}"
            )
        if content.get("grid") is not None:
            content["grid"] = Grid(**content["grid"])
        return cls(**content | {"history": tuple(content.get("history", ()))})

    def to_json(self) -> str:
        """As ``archive.json`` holds it; what is not stated is left out."""
        stated = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(stated, indent=2, ensure_ascii=False) + "\n"


class Archive:
    """A radar archive in the HKO-7 layout, opened for reading.

    Args:
        root: the folder that holds ``radarPNG/``.
        lists: the folder of the day lists and ``mask_dat.npz``; ``ROOT/hko_data`` if None.

    Raises:
        ConfigError: there is no archive at `root`.
        DataError: ``archive.json`` is malformed or a frame's name contradicts its folder.
    """

    def __init__(self, root: Path, lists: Path | None = None) -> None:
        self.root = root
        self.lists = root / LISTS_FOLDER if lists is None else lists
        self.moments: Moments = frames.list_moments(root)
        path = root / DESCRIPTION
        if path.is_file():
            self.description = _read_description(path)
            self.origin = DESCRIPTION
        else:
            self.description = _infer_description(root, self.moments)
            self.origin = "read off the frames; Z-R of HKO-7"

    def __repr__(self) -> str:
        return f"Archive({str(self.root)!r}, {len(self.moments)} frames)"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every frame."""
        return self.description.height, self.description.width

    @property
    def step(self) -> np.timedelta64:
        """Time between frames."""
        return np.timedelta64(self.description.step_minutes, "m")

    @property
    def calibration(self) -> Calibration:
        """The Z-R relation of its pixels."""
        return Calibration(self.description.zr_a, self.description.zr_b)

    def frame(self, moment: np.datetime64) -> UInt8[np.ndarray, "height width"]:
        """The 8-bit levels of one frame; raises `frames.FrameError` as `frames.read_frame`."""
        return frames.read_frame(frames.frame_path(self.root, moment), self.shape)

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """The mask of one moment, True = use; raises `frames.FrameError` as `frames.read_mask`."""
        return frames.read_mask(frames.mask_path(self.root, moment), self.shape)

    @cached_property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """The exclude mask, True = use; raises as `masks.read_exclude`."""
        return masks.read_exclude(self.lists, self.shape)

    @cached_property
    def days(self) -> dict[Split, dict[str, float]]:
        """The day lists of the three splits; raises as `days.read_splits`."""
        return days.read_splits(self.lists)

    def moments_of(self, split: Split) -> Moments:
        """The moments that have a frame and lie in the days of a split, ascending."""
        wanted = np.array(
            [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in self.days[split]], dtype="datetime64[D]"
        )
        return self.moments[np.isin(self.moments.astype("datetime64[D]"), wanted)]


class ArchiveWriter:
    """Writes an archive frame by frame, in a folder beside it that is renamed at the end.

    So nothing half-written stands where an archive is expected. Used as a context; what an error
    or Ctrl-C interrupts is removed again.

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
                "there; choose another or remove it"
            )
        self.root = root
        self.description = description
        self._part = root.with_name(f"{root.name}.part")

    def __enter__(self) -> "ArchiveWriter":
        try:
            self._part.mkdir(parents=True)
        except FileExistsError as error:
            raise ConfigError(
                f"{self._part}: expected nothing there, found what another process writes or a "
                "killed one left; if none is at work, remove it"
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None or not (self._part / DESCRIPTION).is_file():
            shutil.rmtree(self._part, ignore_errors=True)

    def write(
        self,
        moment: np.datetime64,
        levels: UInt8[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"],
    ) -> None:
        """Write the frame and the mask of one moment (mask True = use)."""
        expected = (self.description.height, self.description.width)
        if levels.shape != expected or mask.shape != expected:
            raise ValueError(f"expected {expected}, found {levels.shape} and {mask.shape}")
        frames.write_frame(self._part, moment, levels)
        frames.write_mask(self._part, moment, mask)

    def finish(
        self,
        usable: Bool[np.ndarray, "height width"],
        splits: dict[Split, dict[str, float]] | None,
    ) -> None:
        """Write exclude mask, day lists (None: no lists) and description; the archive is whole
        and in its place after this."""
        lists = self._part / LISTS_FOLDER
        masks.write_exclude(lists, usable)
        if splits is not None:
            for split in days.SPLITS:
                days.write_days(lists, split, splits.get(split, {}))
        (self._part / DESCRIPTION).write_text(self.description.to_json())
        self._part.replace(self.root)


def _read_description(path: Path) -> Description:
    try:
        return Description.from_json(path.read_text())
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: {error}") from error


def _infer_description(root: Path, moments: Moments) -> Description:
    if len(moments) < 2:
        raise ConfigError(
            f"{root}: the step between frames cannot be read off a single frame; write it into "
            f"{DESCRIPTION}"
        )
    gaps, counts = np.unique(np.diff(moments.astype(np.int64)), return_counts=True)
    height, width = frames.frame_shape(frames.frame_path(root, moments[0]))
    return Description(
        name=root.resolve().name,
        credit="not stated",
        step_minutes=int(gaps[counts.argmax()]),
        height=height,
        width=width,
        zr_a=Calibration.zr_a,
        zr_b=Calibration.zr_b,
    )
