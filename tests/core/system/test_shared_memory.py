"""Where batches read ahead have no room in /dev/shm, a message says so and nothing waits."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nowcast.core.errors import RunError
from nowcast.core.system import shared_memory
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.shared_memory import check_shared_memory, share_memory_with
from nowcast.core.training.task import Batch
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask

Free = Callable[[int], None]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Free:
    """Plays a machine with so many bytes of shared memory left."""

    def play(count: int) -> None:
        found = SimpleNamespace(f_bavail=count, f_frsize=1)
        monkeypatch.setattr(shared_memory, "SHARED", tmp_path)
        monkeypatch.setattr(os, "statvfs", lambda place: found)

    return play


def tensor_bytes(batch: Batch) -> int:
    return sum(part.nbytes for part in vars(batch).values() if isinstance(part, torch.Tensor))


def radar(root: Path, **train: object) -> PrecipitationTask:
    data = {"root": root, "in_len": 3, "out_len": 2, "random_crop": [30, 30]}
    content = {"task": "precipitation", "data": data, "train": {"batch_size": 8, **train}}
    return PrecipitationTask(PrecipitationSettings.model_validate(content))


def test_the_message_names_what_is_needed_and_what_is_free(free: Free):
    free(10_000_000)
    check_shared_memory(0, 10**12)  # reads in this process
    check_shared_memory(4, 1_000_000)  # 2 a worker and 2 in hand: 10 of 1 MB
    with pytest.raises(RunError) as error:
        check_shared_memory(4, 1_000_000, 400_000)
    for part in (
        "expected 14.0 MB",
        "10 of 1.0 MB and 10 of 400.0 kB",
        "4 workers",
        "found 10.0 MB",
    ):
        assert part in str(error.value)
    assert "train.workers" in str(error.value) and "--shm-size" in str(error.value)


def test_processes_side_by_side_share_it(free: Free):
    free(10_000_000)
    try:
        share_memory_with(3)
        with pytest.raises(RunError, match=r"expected 30.0 MB .* in each of 3 processes"):
            check_shared_memory(4, 1_000_000)
    finally:
        share_memory_with(1)


def test_where_the_system_has_no_such_folder_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(shared_memory, "SHARED", tmp_path / "absent")
    check_shared_memory(4, 10**12)


def test_radar_is_stopped_before_the_first_batch(free: Free, synthetic: Path):
    """A window of 30x30 to train on, and whole frames of 64x64 to validate on."""
    task = radar(synthetic, workers=2)
    training, validation = 8 * (2 * 5 * 30**2 + 49), 8 * (2 * 5 * 64**2 + 49)
    plain = radar(synthetic)
    assert tensor_bytes(next(plain.training_batches(0, Ranks()))) == training - 8 * 4
    assert tensor_bytes(next(plain.evaluation_batches("valid", Ranks()))) == validation - 8 * 4
    free(6 * (training + validation) - 1)
    with pytest.raises(RunError, match=r"train\.workers: expected"):
        task.training_batches(0, Ranks())
    next(plain.training_batches(0, Ranks()))
    free(6 * validation - 1)
    with pytest.raises(RunError, match=r"train\.workers: expected"):
        task.evaluation_batches("valid", Ranks())


def test_images_are_stopped_before_the_first_batch(free: Free, tmp_path: Path):
    pytest.importorskip("transformers", reason="needs memel-nowcast[imagenet]")
    from nowcast.imagenet.task import ImagenetTask
    from tests.imagenet.tiny_swin import settings, write_colours

    root = write_colours(tmp_path / "colours")
    task = ImagenetTask(settings(root))
    size = task.settings.train.batch_size
    training = tensor_bytes(next(task.training_batches(0, Ranks())))
    validation = tensor_bytes(next(task.evaluation_batches("valid", Ranks())))
    assert size > 1 and training > validation
    train = task.settings.train.model_copy(update={"workers": 1})
    task.settings = task.settings.model_copy(update={"train": train})
    free(4 * (training + validation) - 1)
    with pytest.raises(RunError, match=r"train\.workers: expected"):
        task.training_batches(0, Ranks())
    free(4 * validation - 1)
    with pytest.raises(RunError, match=r"train\.workers: expected"):
        task.evaluation_batches("valid", Ranks())


TRIED = """
import sys
from pathlib import Path
from nowcast.core.system.distributed import Ranks
from nowcast.core.errors import RunError
sys.path[:0] = {tests!r}
from itertools import islice
from tests.core.system.test_shared_memory import radar
task = radar(Path({root!r}), workers=2)
try:
    print(len(list(islice(task.training_batches(0, Ranks()), 4))), "batches")
except RunError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("room", "said"), [("256k", "train.workers: expected"), ("8m", "4 batches")]
)
def test_a_small_shm_in_earnest(synthetic: Path, room: str, said: str):
    """In a mount namespace of its own, as a container has it; without rights to one it skips."""
    unshare = shutil.which("unshare")
    mount = f"mount -t tmpfs -o size={room} tmpfs /dev/shm"
    if unshare is None or subprocess.run([unshare, "-m", "sh", "-c", mount]).returncode:
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own")
    script = TRIED.format(tests=sys.path, root=str(synthetic))
    command = [unshare, "-m", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert said in done.stdout, done.stderr
