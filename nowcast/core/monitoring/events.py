"""Event files for TensorBoard that are the same after any kill as if the run had not stopped.

Torch's `SummaryWriter` writes from a thread, which may lose what it holds or hide a full disk, and
leaves a file a session, with steps that were done twice. Here a record is written when it is
logged, and a resumed run begins one new file with what it keeps of the old. Each file begins with
the start of a session at step 0: a TensorBoard that watches then drops what it had read before.
"""

import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from nowcast.core.storage.files import write_whole

NAME = "events.out.tfevents.{:06}.nowcast"  # TensorBoard reads in the order of names
BESIDE = "events.out.tfevents.000000.board"
PATTERN = "events.out.tfevents.*.nowcast"
VERSION = "brain.Event:2"


def event_files(folder: Path) -> list[Path]:
    """The event files of a run that hold something: one, or after a kill the newest last, which
    has it all."""
    return sorted(path for path in folder.glob(PATTERN) if path.stat().st_size)


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file, up to a record that is torn or damaged."""
    yield from map(_event, _records(path))


def read_tags(path: Path) -> list[str]:
    """The tags of a file in the order of their first appearance, up to a torn or damaged record.

    Checksums are left out: in Python they take a second for 6 MB, and most of a file is pictures.
    """
    tags: dict[str, None] = {}
    for record in _records(path, checked=False):
        try:
            tags |= dict.fromkeys(value.tag for value in _event(record).summary.value)
        except DecodeError:
            break
    return list(tags)


def write_beside(folder: Path, summaries: Iterable[tuple[int, Summary]]) -> None:
    """Write (step, summary) as one whole file, which TensorBoard takes for a part of the run.

    It comes before the run's own files, so that these go on after it, and starts no session, since
    the first start is the one that drops nothing.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            writer = RecordWriter(file)
            _write(writer, file_version=VERSION)
            for step, summary in summaries:
                _write(writer, step=step, summary=summary)

    write_whole(folder / BESIDE, write)


class EventLog:
    """The event file of a run that goes on from a step.

    Args:
        folder: of the run; made if need be.
        start: the step it goes on from; records of later steps are dropped, since those steps are
            done again.

    Raises:
        OSError: from here and every method, e.g. where the disk is full.
    """

    def __init__(self, folder: Path, start: int) -> None:
        old = max(event_files(folder), default=None)
        path = folder / NAME.format(int(old.name.split(".")[3]) + 1 if old else 1)

        def begin(temporary: Path) -> None:
            with temporary.open("wb") as file:
                writer = RecordWriter(file)
                _write(writer, file_version=VERSION)
                _write(writer, session_log=SessionLog(status=SessionLog.START))
                if old:
                    file.writelines(r for r in _records(old) if _is_kept(_event(r), start))

        for abandoned in folder.glob(".events.out.tfevents.*.tmp"):
            abandoned.unlink()
        write_whole(path, begin)
        for past in set(folder.glob(PATTERN)) - {path}:
            if past.stat().st_size:
                # A TensorBoard that reads it goes on to the next file only from the end of this.
                os.truncate(past, 0)
            else:
                past.unlink()
        self._file = path.open("ab")
        self._writer = RecordWriter(self._file)

    def add(self, step: int, summary: Summary) -> None:
        """One record with everything in a summary, to be seen at once."""
        _write(self._writer, step=step, summary=summary)
        self._writer.flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by tag."""
        self.add(step, scalars(values))

    def histogram(self, step: int, tag: str, edges: Sequence[float], counts: Sequence[int]) -> None:
        """How many values lay within each two edges; within a bin, the middle stands for all."""
        limits, numbers = np.array(edges), np.array(counts)
        middles = (limits[1:] + limits[:-1]) / 2
        content = HistogramProto(
            min=limits[0],
            max=limits[-1],
            num=numbers.sum(),
            sum=numbers @ middles,
            sum_squares=numbers @ middles**2,
            bucket_limit=limits[1:],
            bucket=numbers,
        )
        self.add(step, Summary(value=[Summary.Value(tag=tag, histo=content)]))

    def image(self, step: int, tag: str, picture: NDArray[np.uint8]) -> None:
        """A picture, height x width x RGB."""
        height, width, _ = picture.shape
        _, png = cv2.imencode(".png", picture[..., ::-1])
        content = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=png.tobytes()
        )
        self.add(step, Summary(value=[Summary.Value(tag=tag, image=content)]))

    def flush(self) -> None:
        """Put on disk what was logged, past any loss of power."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write out what is held back."""
        self._file.close()


def scalars(values: Mapping[str, float]) -> Summary:
    """Numbers by tag."""
    return Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()])


def _write(writer: RecordWriter, **content: Any) -> None:
    writer.write(Event(wall_time=time.time(), **content).SerializeToString())


def _is_kept(event: Event, start: int) -> bool:
    return bool(event.HasField("summary") and event.step <= start)


def _records(path: Path, checked: bool = True) -> Iterator[bytes]:
    """Whole records as they lie in the file: length, its checksum, an event, its checksum."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            length, checksum = struct.unpack("<QI", head)
            if masked_crc32c(head[:8]) != checksum:
                return
            body = file.read(length + 4)
            if len(body) < length + 4:
                return
            if checked and masked_crc32c(body[:-4]) != int.from_bytes(body[-4:], "little"):
                return
            yield head + body


def _event(record: bytes) -> Event:
    return Event.FromString(record[12:-4])
