"""A run's event files for TensorBoard, one for each time that it was started.

A file begins with a restart mark, as `purge_step` of torch's `SummaryWriter` writes it: TensorBoard
then drops the steps that are done again. The `SummaryWriter` itself writes from a thread: on a full
disk its traceback lands on the terminal and the error reaches a later call.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from nowcast.core.storage.files import write_whole

NAME = "events.out.tfevents.{:06}.nowcast"  # TensorBoard reads in the order of names
BOARD_FILE = "events.out.tfevents.000000.board"
VERSION = "brain.Event:2"


def event_files(folder: Path) -> list[Path]:
    """The event files that a run has written, the oldest first."""
    return sorted(folder.glob(NAME.format(0).replace("000000", "*")))


def write_board_file(folder: Path, summaries: Iterable[Summary]) -> None:
    """Write what `nowcast board` adds to a run as one event file, in place of an earlier one.

    It is read before the run's own files and belongs to step 0, so that no restart drops it.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            writer = RecordWriter(file)
            _write(writer, file_version=VERSION)
            for summary in summaries:
                _write(writer, summary=summary)

    write_whole(folder / BOARD_FILE, write)


class EventLog:
    """A new event file of a run.

    Args:
        folder: of the run; made if need be.
        start: the step the run goes on from. TensorBoard drops later steps of earlier files.

    Raises:
        OSError: from here and every method, e.g. because the disk is full.
    """

    def __init__(self, folder: Path, start: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.name.split(".")[3]) for path in event_files(folder)]
        path = folder / NAME.format(max(numbers, default=0) + 1)
        self._file = path.open("wb")
        self._writer = RecordWriter(self._file)
        _write(self._writer, file_version=VERSION)
        _write(self._writer, step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by tag."""
        _write(self._writer, step=step, summary=scalars(values))

    def histogram(self, step: int, tag: str, edges: Sequence[float], counts: Sequence[int]) -> None:
        """Write how many values lie in each bin, with the middle of a bin for each of its values.

        Args:
            step: of training.
            tag: name.
            edges: of the bins, one more than there are bins.
            counts: of values by bin.
        """
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
        value = Summary.Value(tag=tag, histo=content)
        _write(self._writer, step=step, summary=Summary(value=[value]))

    def image(self, step: int, tag: str, picture: NDArray[np.uint8]) -> None:
        """Write a picture, height x width x RGB."""
        from torch.utils.tensorboard.summary import image

        content = image(tag, picture, dataformats="HWC")  # type: ignore[no-untyped-call]
        _write(self._writer, step=step, summary=content)

    def flush(self) -> None:
        """Put what was written on disk; a power cut does not lose it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def scalars(values: Mapping[str, float]) -> Summary:
    """Numbers by tag."""
    return Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()])


def _write(writer: RecordWriter, **content: Any) -> None:
    writer.write(Event(wall_time=time.time(), **content).SerializeToString())
    writer.flush()
