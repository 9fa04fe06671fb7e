"""Event files: after any kill and resume TensorBoard reads what it reads of an unbroken run."""

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter

from nowcast.core.monitoring.events import EventLog, event_files, scalars, write_board_file
from tests.core.monitoring.reading import loaded, points, watching

CHECKPOINT, LAST = 6, 10


def log_steps(log: EventLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.scalars(step, {"train/loss": 1 / step, "train/lr": 0.1})
        if step % 3 == 0:
            log.histogram(step, "memel/phi", (-1.0, 0.0, 1.0), (step, 2))
            log.image(step, "forecast/a", np.full((2, 3, 3), step, dtype=np.uint8))


def write_run(folder: Path) -> tuple[bytes, int]:
    """Log all steps; returns the file, and its length when the checkpoint was saved."""
    log = EventLog(folder, 0)
    log_steps(log, 1, CHECKPOINT)
    log.flush()
    (path,) = event_files(folder)
    saved = path.stat().st_size
    log_steps(log, CHECKPOINT + 1, LAST)
    log.close()
    return path.read_bytes(), saved


def resume(folder: Path, step: int = CHECKPOINT) -> None:
    log = EventLog(folder, step)
    log_steps(log, step + 1, LAST)
    log.close()


@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 40, b"\x18" + b"\xff" * 60], ids=["torn", "zeros", "ones"]
)
def test_cut_anywhere_after_the_checkpoint_and_resumed(tmp_path: Path, tail: bytes):
    content, saved = write_run(tmp_path / "whole")
    whole = points(watching(tmp_path / "whole"))
    assert {tag: len(of_tag) for tag, of_tag in whole.items()} == {
        "train/loss": LAST,
        "train/lr": LAST,
        "memel/phi": 3,
        "forecast/a": 3,
    }
    cuts = np.random.default_rng(0).integers(saved, len(content), 25)
    for cut in (saved, len(content), *cuts.tolist()):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir(exist_ok=True)
        (folder / "events.out.tfevents.000001.nowcast").write_bytes(content[:cut] + tail)
        resume(folder)
        assert points(watching(folder)) == whole, cut


def test_killed_before_the_first_checkpoint_it_starts_from_nothing(tmp_path: Path):
    write_run(tmp_path / "whole")
    write_run(tmp_path / "again")
    resume(tmp_path / "again", 0)
    assert points(watching(tmp_path / "again")) == points(watching(tmp_path / "whole"))


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path):
    """It left its second session in a whole file that began at step 0, the first one emptied."""
    (tmp_path / "events.out.tfevents.000001.nowcast").touch()
    with (tmp_path / "events.out.tfevents.000002.nowcast").open("wb") as file:
        writer = RecordWriter(file)
        for event in (
            Event(file_version="brain.Event:2"),
            Event(session_log=SessionLog(status=SessionLog.START)),
            *(Event(step=step, summary=scalars({"train/loss": 1 / step})) for step in range(1, 9)),
        ):
            writer.write(event.SerializeToString())
    assert [event.step for event in loaded(tmp_path).Scalars("train/loss")] == list(range(1, 9))
    resume(tmp_path)
    write_run(tmp_path / "whole")
    whole = points(watching(tmp_path / "whole"))
    assert points(watching(tmp_path))["train/loss"] == whole["train/loss"]


def test_tensorboard_reads_numbers_histograms_and_pictures(tmp_path: Path):
    write_run(tmp_path)
    board = loaded(tmp_path)
    assert [(e.step, e.value) for e in board.Scalars("train/loss")][1] == (2, 0.5)
    assert [event.step for event in board.Images("forecast/a")] == [3, 6, 9]
    first = board.Images("forecast/a")[0]
    assert (first.width, first.height) == (3, 2)
    histogram = board.Histograms("memel/phi")[0].histogram_value
    assert (histogram.num, histogram.sum) == (5, 3 * -0.5 + 2 * 0.5)
    assert list(histogram.bucket) == [3, 2]


def test_pictures_keep_their_colours(tmp_path: Path):
    log = EventLog(tmp_path, 0)
    picture = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    log.image(1, "forecast/a", picture)
    log.close()
    data = loaded(tmp_path).Images("forecast/a")[0].encoded_image_string
    assert np.array_equal(np.array(Image.open(io.BytesIO(data))), picture)


def test_a_watching_tensorboard_drops_what_is_done_again(tmp_path: Path):
    write_run(tmp_path)
    board = watching(tmp_path)
    points(board)
    for loss in (7.0, 8.0, 9.0):
        log = EventLog(tmp_path, CHECKPOINT)
        log.scalars(CHECKPOINT + 1, {"train/loss": loss})
        log.close()
        curve = points(board)["train/loss"]
        assert [step for step, _ in curve] == list(range(1, CHECKPOINT + 2))
        assert curve == points(watching(tmp_path))["train/loss"]


def test_the_board_file_is_read_with_the_run_and_outlives_a_restart(tmp_path: Path):
    write_run(tmp_path)
    for value in (1.0, 2.0):
        write_board_file(tmp_path, [scalars({"test/error": value})])
    resume(tmp_path)
    board = loaded(tmp_path)
    assert [event.value for event in board.Scalars("test/error")] == [2.0]
    assert [event.step for event in board.Scalars("train/loss")] == list(range(1, LAST + 1))


@contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """What a full disk does, from a limit of the operating system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_raises_from_the_call_that_met_it(tmp_path: Path):
    log = EventLog(tmp_path, 0)
    log_steps(log, 1, CHECKPOINT)
    (path,) = event_files(tmp_path)
    with no_file_longer_than(path.stat().st_size + 10), pytest.raises(OSError, match="large"):
        log.scalars(CHECKPOINT + 1, {"train/loss": 1.0})
    log.close()
    resume(tmp_path)
    write_run(tmp_path / "whole")
    assert points(watching(tmp_path)) == points(watching(tmp_path / "whole"))
