"""What radar a run was trained on, kept beside its weights: its archives may be gone by then."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nowcast.core.errors import NowcastError, RunError
from nowcast.core.storage.runs import Run
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.settings import DataSettings
from nowcast.precipitation.sources.stack.zarr_archive import open_archive

PIXEL_TOLERANCE = 1.25  # a pixel so many times larger or smaller than any seen is another


@dataclass(frozen=True)
class TrainedOn:
    """What radar a run has seen.

    Args:
        archives: their names.
        step_minutes: between the frames of most of its clips.
        steps_minutes: all that it has seen, ascending.
        in_lens: input frames of its clips, ascending.
        out_lens: output frames of its clips, ascending.
        pixel_km: smallest and largest height of a pixel, km; None where no archive states one.
    """

    archives: tuple[str, ...]
    step_minutes: int
    steps_minutes: tuple[int, ...]
    in_lens: tuple[int, ...]
    out_lens: tuple[int, ...]
    pixel_km: tuple[float, float] | None = None

    def step_note(self, name: str, step_minutes: int | float) -> str | None:
        """A sentence where frames are another time apart than most of its clips; None otherwise.

        Args:
            name: of the weights.
            step_minutes: between the frames that are there.
        """
        if step_minutes == self.step_minutes:
            return None
        others = [f"{step}" for step in self.steps_minutes if step != self.step_minutes]
        seen = f" (some {', '.join(others)})" if others else ""
        return (
            f"{name} was trained on frames {self.step_minutes} minutes apart{seen}, these are "
            f"{step_minutes:g}"
        )

    def notes(self, name: str, archive: Description) -> list[str]:
        """Where an archive differs from what it has seen, a sentence each."""
        found = (
            self.step_note(name, archive.step_minutes),
            self.pixel_note(name, archive.km_per_pixel),
        )
        return [note for note in found if note is not None]

    def pixel_note(self, name: str, km: int | float | None) -> str | None:
        """A sentence where a pixel is larger or smaller than any that it has seen."""
        if km is None or self.pixel_km is None:
            return None
        least, largest = self.pixel_km
        if least / PIXEL_TOLERANCE <= km <= largest * PIXEL_TOLERANCE:
            return None
        seen = f"{least:.2g}" if least == largest else f"{least:.2g} to {largest:.2g}"
        return f"{name} was trained on pixels of {seen} km, these have {km:.2g}"


def seen_by(data: DataSettings, root: Description, sources: Sequence[Description]) -> TrainedOn:
    """What a run of these settings is trained on.

    Args:
        data: of the run.
        root: of the archive at `data.root`.
        sources: of those of `data.sources`, in their order; the run is trained on them alone
            where there are any.
    """
    archives = list(sources) or [root]
    weights: dict[int, float] = {}
    for number, archive in enumerate(archives):
        source = data.sources[number] if data.sources else None
        speeds = source.speeds if source else (1,)
        for speed in speeds:
            step = archive.step_minutes * speed
            share = (source.weight if source else 1.0) / len(speeds)
            weights[step] = weights.get(step, 0.0) + share
    lengths = data.lengths or ((data.in_len, data.out_len),)
    sizes = []
    for number, archive in enumerate(archives):
        stated = data.sources[number].pixel_km if data.sources else None
        km = stated or archive.km_per_pixel
        if km is not None:
            sides = archive.height, archive.width
            sizes += [km * n for w in data.windows for n in w.resolutions(sides)] or [km]
    return TrainedOn(
        archives=tuple(dict.fromkeys(archive.name for archive in archives)),
        step_minutes=max(weights, key=lambda step: weights[step]),
        steps_minutes=tuple(sorted(weights)),
        in_lens=tuple(sorted({frames for frames, _ in lengths})),
        out_lens=tuple(sorted({frames for _, frames in lengths})),
        pixel_km=(min(sizes), max(sizes)) if sizes else None,
    )


def trained_on(run: Run, data: DataSettings) -> TrainedOn | None:
    """What a run's folder says, or else its archives where they are still there; None otherwise.

    Raises:
        RunError: the folder's file is not one of these.
    """
    if run.trained_on_file.is_file():
        return stated_by(run)
    try:
        if data.root is None or not data.root.exists():
            return None
        sources = [open_archive(source.root, source.lists).description for source in data.sources]
        return seen_by(data, open_archive(data.root, data.lists).description, sources)
    except NowcastError:  # no archives any more
        return None


def stated_by(run: Run) -> TrainedOn | None:
    """What a run's folder says; None where it says nothing. Raises as `trained_on`."""
    path = run.trained_on_file
    if not path.is_file():
        return None
    try:
        held: Mapping[str, Any] = json.loads(path.read_text())
        sizes = held.get("pixel_km")
        return TrainedOn(
            archives=tuple(str(name) for name in held["archives"]),
            step_minutes=int(held["step_minutes"]),
            steps_minutes=tuple(int(step) for step in held["steps_minutes"]),
            in_lens=tuple(int(frames) for frames in held["in_lens"]),
            out_lens=tuple(int(frames) for frames in held["out_lens"]),
            pixel_km=None if sizes is None else (float(sizes[0]), float(sizes[1])),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise RunError(
            f"{path}: expected what the weights were trained on ({error}); remove the file, which "
            "only says so"
        ) from error


def written(seen: TrainedOn) -> dict[str, Any]:
    """As JSON holds it."""
    return asdict(seen)
