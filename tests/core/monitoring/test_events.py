"""Event files: any kill and resume leaves the records of an unbroken run, as TensorBoard sees."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginEventAccumulator,
)
from tensorboard.compat.proto.event_pb2 import SessionLog
from tensorboard.util.tensor_util import make_ndarray

from nowcast.core.monitoring.events import (
    EventLog,
    event_files,
    read_events,
    read_tags,
    scalars,
    write_beside,
)
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.trainer import train
from tests import ROOT
from tests.core.toy import ToyTask

CHECKPOINT, LAST = 6, 10


def log_steps(log: EventLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.scalars(step, {"train/loss": 1 / step, "train/lr": 0.1})
        if step % 3 == 0:
            log.histogram(step, "memel/phi", (-1.0, 0.0, 1.0), (step, 2))
            log.image(step, "forecast/a", np.full((2, 3, 3), step, dtype=np.uint8))


def records(folder: Path) -> list[bytes]:
    """All records of all files of a folder but for their wall times."""
    found = []
    for path in sorted(folder.iterdir()):
        for event in read_events(path):
            event.wall_time = 0
            found.append(event.SerializeToString(deterministic=True))
    return found


def file_of(folder: Path) -> Path:
    (path,) = event_files(folder)
    return path


def loaded(folder: Path) -> EventAccumulator:
    everything = {"scalars": 0, "images": 0, "histograms": 0}
    accumulator = EventAccumulator(str(folder), size_guidance=everything)
    accumulator.Reload()
    return accumulator


def numbers(board: PluginEventAccumulator, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard's pages have of a tag: step and value."""
    return [(e.step, float(make_ndarray(e.tensor_proto))) for e in board.Tensors(tag)]


def write_run(folder: Path) -> tuple[bytes, int]:
    """Log all steps; returns the file, and its length when the checkpoint was saved."""
    log = EventLog(folder, 0)
    log_steps(log, 1, CHECKPOINT)
    log.flush()
    path = file_of(folder)
    saved = path.stat().st_size
    log_steps(log, CHECKPOINT + 1, LAST)
    log.close()
    return path.read_bytes(), saved


def resume(folder: Path) -> None:
    log = EventLog(folder, CHECKPOINT)
    log_steps(log, CHECKPOINT + 1, LAST)
    log.close()


@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 40, b"\x18" + b"\xff" * 60], ids=["torn", "zeros", "ones"]
)
def test_cut_anywhere_after_the_checkpoint_and_resumed_the_records_are_those_of_an_unbroken_run(
    tmp_path: Path, tail: bytes
):
    content, saved = write_run(tmp_path / "whole")
    whole = records(tmp_path / "whole")
    assert len(whole) == 2 + LAST + 2 * 3
    cuts = np.random.default_rng(0).integers(saved, len(content), 25)
    for cut in (saved, len(content), *cuts.tolist()):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir(exist_ok=True)
        (folder / "events.out.tfevents.000001.nowcast").write_bytes(content[:cut] + tail)
        resume(folder)
        assert records(folder) == whole, cut


def test_killed_while_it_begins_the_new_file_nothing_is_lost_or_doubled(tmp_path: Path):
    content, _ = write_run(tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    old = folder / "events.out.tfevents.000001.nowcast"
    old.write_bytes(content)
    (folder / ".events.out.tfevents.000002.nowcast.77.tmp").write_bytes(content[:100])
    EventLog(folder, CHECKPOINT).close()
    assert old.stat().st_size == 0
    assert {path.name for path in folder.iterdir()} == {
        "events.out.tfevents.000001.nowcast",
        "events.out.tfevents.000002.nowcast",
    }
    old.write_bytes(content)  # as if killed after the new one was in place
    steps = [value.step for value in loaded(folder).Scalars("train/loss")]
    assert steps == list(range(1, CHECKPOINT + 1))
    resume(folder)
    assert records(folder) == records(tmp_path / "whole")


def test_killed_before_the_first_checkpoint_it_starts_from_nothing(tmp_path: Path):
    write_run(tmp_path / "whole")
    write_run(tmp_path / "again")
    log = EventLog(tmp_path / "again", 0)
    log_steps(log, 1, LAST)
    log.close()
    assert records(tmp_path / "again") == records(tmp_path / "whole")


def test_a_file_begins_with_version_and_session_start(tmp_path: Path):
    EventLog(tmp_path, 0).close()
    path = file_of(tmp_path)
    version, start = read_events(path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (0, SessionLog.START)


def test_tensorboard_reads_numbers_histograms_and_pictures(tmp_path: Path):
    write_run(tmp_path)
    seen = loaded(tmp_path)
    assert [(e.step, e.value) for e in seen.Scalars("train/loss")][1] == (2, 0.5)
    assert [event.step for event in seen.Images("forecast/a")] == [3, 6, 9]
    first = seen.Images("forecast/a")[0]
    assert (first.width, first.height) == (3, 2)
    histogram = seen.Histograms("memel/phi")[0].histogram_value
    assert (histogram.num, histogram.sum) == (5, 3 * -0.5 + 2 * 0.5)
    assert list(histogram.bucket) == [3, 2]


def test_pictures_keep_their_colours(tmp_path: Path):
    import cv2

    log = EventLog(tmp_path, 0)
    picture = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    log.image(1, "forecast/a", picture)
    log.close()
    data = loaded(tmp_path).Images("forecast/a")[0].encoded_image_string
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded[..., ::-1], picture)


def test_a_watching_tensorboard_drops_what_is_done_again(tmp_path: Path):
    log = EventLog(tmp_path, 0)
    log_steps(log, 1, LAST)
    log.close()
    board = PluginEventAccumulator(str(tmp_path))
    board.Reload()
    for session in (7.0, 8.0, 9.0):
        log = EventLog(tmp_path, CHECKPOINT)
        log.scalars(CHECKPOINT + 1, {"train/loss": session})
        log.close()
        board.Reload()
        found = numbers(board, "train/loss")
        assert [step for step, _ in found] == list(range(1, CHECKPOINT + 2))
        assert found[-1] == (CHECKPOINT + 1, session)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_lies_beside_is_read_with_the_run_and_stays_as_it_is(tmp_path: Path):
    write_run(tmp_path)
    for value in (1.0, 2.0):
        write_beside(tmp_path, [(LAST, scalars({"test/error": value}))])
    for _ in range(2):
        board = PluginEventAccumulator(str(tmp_path))
        board.Reload()
        assert numbers(board, "test/error") == [(LAST, 2.0)]
        assert len(numbers(board, "train/loss")) == LAST
        resume(tmp_path)


def test_tags_come_in_the_order_of_their_first_appearance(tmp_path: Path):
    write_run(tmp_path)
    path = file_of(tmp_path)
    assert read_tags(path) == ["train/loss", "train/lr", "memel/phi", "forecast/a"]
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert read_tags(path) == ["train/loss", "train/lr", "memel/phi", "forecast/a"]
    body = next(read_events(path)).SerializeToString()
    path.write_bytes(content.replace(body, b"\xff" * len(body), 1))
    assert read_tags(path) == []


@contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """What a full disk does, from a limit of the operating system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_by_the_call_that_met_it(tmp_path: Path):
    log = EventLog(tmp_path, 0)
    log_steps(log, 1, CHECKPOINT)
    path = file_of(tmp_path)
    with no_file_longer_than(path.stat().st_size + 10), pytest.raises(OSError, match="large"):
        log.scalars(CHECKPOINT + 1, {"train/loss": 1.0})
    log.close()
    before = path.read_bytes()
    with no_file_longer_than(10), pytest.raises(OSError, match="large"):
        EventLog(tmp_path, CHECKPOINT)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {path.name: before}


SETTINGS = RunSettings(
    task="toy",
    train=TrainSettings(steps=20, batch_size=8, validate_every=5, log_every=1),
    optim=OptimSettings(lr=0.02),
    memel=MEmeLSettings(late_start=3, forget_steps=5),
)


def main(folder: str, killed_at: int) -> None:
    """Train, and be killed before a step; run in a process of its own."""

    class Killed(ToyTask):
        def training_batches(self, start: int, ranks: Ranks):
            for step, batch in enumerate(super().training_batches(start, ranks), start=start):
                if step == killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

    train(Killed(SETTINGS), SETTINGS, Run(Path(folder)), Ranks())


def test_a_killed_training_run_leaves_the_events_of_an_unbroken_one(tmp_path: Path):
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    train(ToyTask(SETTINGS), SETTINGS, whole, Ranks())
    call = f"from {__name__} import main; main({str(killed.folder)!r}, 13)"
    paths = os.pathsep.join([*sys.path, str(ROOT)])
    done = subprocess.run([sys.executable, "-c", call], env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == -signal.SIGKILL
    path = file_of(killed.folder)
    assert {event.step for event in read_events(path)} == set(range(14))
    train(ToyTask(SETTINGS), SETTINGS, killed, Ranks())
    assert without_timings(killed) == without_timings(whole)
    assert killed.history() == whole.history()


def without_timings(run: Run) -> list[tuple[int, list[bytes]]]:
    path = file_of(run.folder)
    return [
        (
            event.step,
            [
                value.SerializeToString(deterministic=True)
                for value in event.summary.value
                if not value.tag.startswith("throughput/")
            ],
        )
        for event in read_events(path)
    ]
