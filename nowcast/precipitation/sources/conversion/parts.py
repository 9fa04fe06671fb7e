"""A conversion in parts, which an executor does side by side; each is kept until all are whole.

A piece of a part is a day of one source, kept in a folder that is named by all that its frames come
from, its files included: so the same command goes on, and a file that was mended is read again.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import DataError
from nowcast.core.execution.executor import Executor, Place, carry_out
from nowcast.core.storage.files import write_json, writing
from nowcast.core.storage.origin import code_hash, digest
from nowcast.core.terminal.progress import line
from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.apart.wire import request_json
from nowcast.precipitation.sources.conversion.damage import Skipped
from nowcast.precipitation.sources.conversion.plan import Frame, FrameMaker, Plan
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.sources.table import importer

DONE = "done.json"  # in the folder of a piece: its times, and what was skipped
SHOWN_FAULTS = 5  # of a part
DEFAULT_PARTS = 64  # of a conversion


@dataclass(frozen=True)
class Conversion:
    """How the fields of a conversion are opened, in any process.

    Args:
        importer_name: see `table`.
        source: file or folder to read.
        here: the folder that it is relative to.
        request: what the user says of it.
    """

    importer_name: str
    source: Path
    here: Path
    request: Request


@dataclass(frozen=True)
class Piece:
    """Fields of one day and source.

    Args:
        number: of the source.
        first: time and file of the field that all of the source must be like.
        times: of the fields.
        where: file, or place in a file, of each.
        target: what to make of them.
        folder: to put them into.
    """

    number: int
    first: tuple[np.datetime64, str]
    times: Moments
    where: tuple[str, ...]
    target: Target
    folder: Path

    def done(self) -> dict[str, Any] | None:
        """Times and skipped files; None as long as it is not done."""
        path = self.folder / DONE
        content = json.loads(path.read_text()) if path.is_file() else None
        if content is None or (content["skipped"] and not self.target.skip_damaged):
            return None
        return dict(content)


@dataclass(frozen=True)
class Part:
    """The `Work` of converting some pieces.

    Args:
        title: see `Work`.
        conversion: what they are pieces of.
        pieces: which.
    """

    title: str
    conversion: Conversion
    pieces: tuple[Piece, ...]

    def is_ready(self) -> bool:
        """See `Work`."""
        return True

    def do(self, place: Place) -> None:
        """See `Work`. A file that cannot be converted keeps no other from being read.

        Raises:
            DataError: some could not, and may not be skipped.
        """
        faults: list[str] = []
        with chdir(self.conversion.here):
            reader = _Reader(self.conversion)
            for piece in self.pieces:
                if piece.done() is None:
                    faults += _convert(reader, piece)
        if faults:
            more = len(faults) - SHOWN_FAULTS
            others = f"\nand {more} more" if more > 0 else ""
            raise DataError("\n".join(faults[:SHOWN_FAULTS]) + others)


class _Reader:
    """Reads the fields of a conversion. Files that each hold times of their own are opened one by
    one, so that a part needs its own files alone."""

    def __init__(self, conversion: Conversion) -> None:
        self._conversion = conversion
        files = importer(conversion.importer_name).files
        self._by_file = files is not None and conversion.source.is_dir()
        self._path: Path | None = None
        self._sources: list[Source] = []

    def field(self, number: int, time: np.datetime64, where: str) -> Field:
        conversion, path = self._conversion, Path(where)
        request = conversion.request
        alone = self._by_file and path.is_file()
        if alone:
            number, request = 0, replace(request, skip=frozenset())
        else:
            path = conversion.source
        if path != self._path:
            self._path = None
            self._sources = DECODER.sources(conversion.importer_name, path, request)
            self._path = path
        source = self._sources[number]
        at = np.flatnonzero(source.times == time)
        if len(at) != 1:
            raise DataError(
                f"{where}: expected a field of {time}, found none; it changed while it was "
                "converted: run the same command again"
            )
        return source.read(int(at[0]))


def _convert(reader: _Reader, piece: Piece) -> list[str]:
    """Make the frames of a piece; what keeps it from being whole, nothing if it is."""
    maker = FrameMaker(reader.field(piece.number, *piece.first), piece.first[1], piece.target)
    skipped: list[list[str]] = []
    faults: list[str] = []
    times: list[int] = []
    with writing(piece.folder):
        piece.folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=piece.folder.parent))
    try:
        for time, where in zip(piece.times, piece.where, strict=True):
            try:
                field = reader.field(piece.number, time, where)
            except DataError as error:
                if piece.target.skip_damaged:
                    one = Skipped.of(where, error)
                    skipped.append([one.file, one.reason])
                else:
                    faults.append(str(error))
                continue
            try:
                levels, mask = maker.frame(field, where)
            except DataError as error:
                faults.append(str(error))
                continue
            if mask.any():
                frames.write_frame(part, time, levels)
            frames.write_mask(part, time, mask)
            times.append(int(time.astype(np.int64)))
        if not faults:
            write_json(part / DONE, {"times": times, "skipped": skipped})
            with writing(piece.folder):
                shutil.rmtree(piece.folder, ignore_errors=True)  # of one that had skipped files
                part.replace(piece.folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return faults


class Parts:
    """The parts of a conversion, in a folder beside the archive that is to be made.

    Args:
        root: of that archive.
        conversion: what is converted.
    """

    def __init__(self, root: Path, conversion: Conversion) -> None:
        self.folder = parts_folder(root)
        self._conversion = conversion
        self._pieces: list[list[Piece]] = []
        self._plans: Sequence[Plan] = ()

    def do(self, plans: Sequence[Plan], executor: Executor, parts: int) -> None:
        """Convert what is not done yet.

        Args:
            plans: what becomes of each source.
            executor: does the parts.
            parts: how many, about.

        Raises:
            Interrupted: a signal came.
            RunError: parts failed; told once all others are done.
        """
        self._plans = plans
        conversion = self._conversion
        if importer(conversion.importer_name).one_unit:  # which a file alone may not tell
            unit = plans[0].maker.first.unit
            conversion = replace(conversion, request=replace(conversion.request, unit=unit))
        self._pieces = [self._cut(number, plan) for number, plan in enumerate(plans)]
        left = [piece for pieces in self._pieces for piece in pieces if piece.done() is None]
        most = sum(len(piece.times) for piece in left) / parts
        groups: list[list[Piece]] = []
        size = most
        for piece in left:
            if size >= most:
                groups.append([])
                size = 0
            groups[-1].append(piece)
            size += len(piece.times)
        works = [Part(_title(plans, group), conversion, tuple(group)) for group in groups]
        if works:
            with line("converting", len(works), unit="parts") as converting:
                carry_out(works, executor, lambda done: converting.set(done, len(works)))

    def _cut(self, number: int, plan: Plan) -> list[Piece]:
        """A piece a day."""
        source, first = plan.source, plan.maker.first
        days = source.times.astype("datetime64[D]")
        starts = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist()]
        request = request_json(replace(self._conversion.request, skip=frozenset()))
        alike = [
            code_hash(),
            self._conversion.importer_name,
            str(self._conversion.source.absolute()),
            request,
            repr(replace(plan.target, skip_damaged=False)),
            [first.unit, *first.values.shape, repr(first.grid), plan.maker.minutes],
        ]
        pieces = []
        for start, end in zip(starts, [*starts[1:], len(days)], strict=True):
            where = tuple(source.where(position) for position in range(start, end))
            times = source.times[start:end]
            files = [[name, self._state(Path(name))] for name in where]
            name = digest([alike, number, times.astype(np.int64).tolist(), files])
            at = plan.head
            head = source.times[at], source.where(at)
            pieces.append(Piece(number, head, times, where, plan.target, self.folder / name))
        return pieces

    def _state(self, path: Path) -> list[int]:
        """Size and time of what holds a field: its file, or all that was given."""
        if not path.is_file():
            return self._whole
        found = path.stat()
        return [found.st_size, found.st_mtime_ns]

    @cached_property
    def _whole(self) -> list[int]:
        source = self._conversion.source
        found = [path.stat() for path in (source, *sorted(source.rglob("*")))]
        return [number for one in found for number in (one.st_size, one.st_mtime_ns)]

    def frames(self, number: int) -> Iterator[Frame]:
        """Of a source, in order of time."""
        plan = self._plans[number]
        shape = plan.description.height, plan.description.width
        positions = {time: n for n, time in enumerate(plan.source.times.astype(np.int64).tolist())}
        for piece in self._pieces[number]:
            for minutes in (piece.done() or {"times": []})["times"]:
                time = np.datetime64(minutes, "m")
                mask = frames.read_mask(frames.mask_path(piece.folder, time), shape)
                yield Frame(positions[minutes], time, mask, piece.folder)

    def skipped(self, number: int) -> list[Skipped]:
        """Files of a source that cannot be read."""
        done = [piece.done() or {"skipped": []} for piece in self._pieces[number]]
        return [Skipped(*entry) for content in done for entry in content["skipped"]]

    def remove(self) -> None:
        """Remove the parts, once the archive is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)


def parts_folder(root: Path) -> Path:
    """Where the parts of an archive wait, and an engine's scripts and logs."""
    return root.absolute().with_name(f"{root.name}.parts")


def _title(plans: Sequence[Plan], pieces: Sequence[Piece]) -> str:
    first, last = pieces[0], pieces[-1]
    name = plans[first.number].source.name
    more = "" if first.number == last.number else f" to {plans[last.number].source.name}"
    return f"{name}{more}, {first.times[0]} to {last.times[-1]}"
