"""What was made of a source: a line for whoever converted, and the history in ``archive.json``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.masks import VALID_SHARE
from nowcast.precipitation.sources.conversion.damage import SKIPPED, Skipped
from nowcast.precipitation.sources.conversion.plan import Plan

SHOWN_SKIPPED = 5  # names in a summary; the archive's list has all


@dataclass(frozen=True)
class Written:
    """An archive that was made.

    Args:
        root: where it is.
        frames: frames in it.
        empty: times left out because their field had no data at all.
        missing: frames that the source lacks within episodes, see `episodes.missing_frames`.
        usable_share: share of pixels that the exclude mask leaves.
        valid_share: of the frames, from which on a pixel is left in, `Target.valid_share`.
        description: as in its ``archive.json``.
        grid_fault: why the grid that the source states was left out; None where it was not.
        skipped: what could not be read.
        there: frames that the archive had before; None where it is new.
        unlisted: days of added frames that no day list of the archive names.
    """

    root: Path
    frames: int
    empty: int
    missing: int
    usable_share: float
    valid_share: float
    description: Description
    grid_fault: str | None = None
    skipped: tuple[Skipped, ...] = ()
    there: int | None = None
    unlisted: tuple[str, ...] = ()

    def summary(self) -> str:
        """One line for whoever converted."""
        parts = [
            *([] if self.there is None else [f"{self.there} frames were there"]),
            f"{self.frames} frames {'' if self.there is None else 'added '}of "
            f"{self.description.height}x{self.description.width} every "
            f"{self.description.step_minutes} minutes",
            f"{self.usable_share:.1%} of the pixels have data in at least {self.valid_share:.0%} "
            f"of {'them' if self.there is None else 'all frames'}",
        ]
        if self.missing:
            parts.append(f"{self.missing} missing within episodes")
        if self.empty:
            parts.append(f"{self.empty} without any data left out")
        parts += skipped_lines(self.skipped)
        sides = self.description.pixel_km
        if sides is not None:
            parts.append(f"pixels of {sides[0]:.3g} x {sides[1]:.3g} km")
        else:
            parts.append(f"place not stated ({self.grid_fault or 'the source has no grid'})")
        if self.unlisted:
            parts.append(
                f"{len(self.unlisted)} days in no day list, {self.unlisted[0]} the first: to have "
                "them in one, move the lists away and run `nowcast data days` again"
            )
        return ", ".join(parts)


def skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """How many could not be read, and which: a line, or none."""
    if not skipped:
        return []
    names = ", ".join(entry.file for entry in skipped[:SHOWN_SKIPPED])
    more = f" and {len(skipped) - SHOWN_SKIPPED} more" if len(skipped) > SHOWN_SKIPPED else ""
    return [f"{len(skipped)} damaged left out: {names}{more}; see {SKIPPED}"]


def history(plan: Plan, importer_name: str, frames: int, empty: int) -> Iterator[str]:
    """How the frames came from their source, a line a step.

    Args:
        plan: what was made of which source.
        importer_name: by which importer.
        frames: frames written.
        empty: fields left out because they had no data.
    """
    source, target, maker = plan.source, plan.target, plan.maker
    yield (
        f"{len(source)} fields of {source.name} through nowcast data convert --importer "
        f"{importer_name}, {source.times[0]} to {source.times[-1]} UTC"
    )
    yield from source.notes
    match maker.first.unit:
        case "mm":
            yield (
                f"rain sums in mm over {maker.minutes:g} minutes; rate = mm * 60 / "
                f"{maker.minutes:g}"
            )
        case "mm_h":
            yield "rain rates in mm/h"
        case "dBZ":
            yield "reflectivity in dBZ"
    if maker.first.unit in ("mm", "mm_h") and target.calibration is None:
        yield "Z-R relation: HKO-7's, not that of this radar"
    if target.no_data is not None:
        yield f"the value {target.no_data:g} taken as no data"
    if target.crop is not None:
        top, bottom, left, right = target.crop
        yield (
            f"cropped to rows {top}:{bottom}, columns {left}:{right} of {maker.cut.source[0]}x"
            f"{maker.cut.source[1]}"
        )
    if target.block_mean > 1:
        yield f"rain rate averaged over blocks of {target.block_mean}x{target.block_mean} pixels"
    share = target.valid_share or VALID_SHARE
    yield f"exclude mask: pixels with data in fewer than {share:.0%} of the frames"
    if empty:
        yield f"{empty} fields without any data left out; {frames} frames written"
