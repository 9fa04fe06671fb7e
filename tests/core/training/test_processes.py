"""A worker process does not outlive the command that started it, and saves before it ends."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

from nowcast.core.execution.processes import begin
from nowcast.core.system.signals import stop_signals

PATIENCE_SECONDS = 60


def work(folder: Path) -> None:
    begin(threads=1, processes=1)
    with stop_signals() as stopping:
        (folder / "begun").touch()
        if stopping.wait(PATIENCE_SECONDS):
            (folder / "saved").touch()


def command(folder: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=work, args=(folder,))
    worker.start()
    while not (folder / "begun").exists():
        assert worker.is_alive(), "the worker has failed"
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_of_a_killed_command_is_told_to_save_and_stop(tmp_path: Path):
    killed = multiprocessing.get_context("forkserver").Process(target=command, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "saved").exists():
        assert time.monotonic() < deadline, "the worker was never told"
        time.sleep(0.01)
