"""Work is done whatever becomes of other work, and saved where it is stopped."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from nowcast.api.cluster import cluster_settings
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.execution import child
from nowcast.core.execution.child import Child, in_child, packed
from nowcast.core.execution.engines import executor_of
from nowcast.core.execution.executor import Place, carry_out, outcome_of
from nowcast.core.execution.processes import Processes
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted
from tests.core.execution.pieces import Piece, await_files


def test_a_failure_ends_no_other_work_and_is_told_at_the_end(tmp_path: Path):
    works = [
        Piece(tmp_path, "first", "fail"),
        Piece(tmp_path, "dying", "die"),
        Piece(tmp_path, "second"),
        Piece(tmp_path, "after the first", needs="first"),
        Piece(tmp_path, "after the second", needs="second"),
    ]
    counted: list[int] = []
    with pytest.raises(RunError) as failed:
        carry_out(works, Processes(2), counted.append)
    told = str(failed.value)
    assert "2 failed, and all that does not need it is done" in told
    assert "\nfirst: no such luck" in told
    assert "\ndying: its process ended with status 9; if the machine ran out of memory" in told
    assert told.endswith("they start from one of them: after the first")
    assert {path.name for path in tmp_path.iterdir()} == {"second", "after the second"}
    assert counted[-1] == 2


def test_workers_side_by_side_take_gpus_of_their_own(tmp_path: Path):
    works = [Piece(tmp_path, name, "meet") for name in ("one", "other")]
    assert sorted(carry_out(works, Processes(2))) == [0, 1]


def test_a_signal_saves_what_is_at_work(tmp_path: Path):
    def stop() -> None:
        await_files(tmp_path, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Interrupted, match="the same command goes on"):
        carry_out([Piece(tmp_path, "long", "wait for the end")], Processes(2))
    stopper.join()
    assert (tmp_path / "long saved").exists()


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path: Path):
    error = outcome_of(Piece(tmp_path, "odd", "be at fault"), Place(Ranks())).error
    assert "ZeroDivisionError: one by nothing" in str(error)


def test_a_process_of_its_own_saves_once_it_is_not_wanted(tmp_path: Path):
    work = Child(packed(Piece(tmp_path, "long", "wait for the end")), threads=1)
    await_files(tmp_path, 1)
    outcome = in_child(work, stopping=lambda: True)
    assert (tmp_path / "long saved").exists()
    assert "its process ended with status 0" in str(outcome.error)


def test_a_process_of_its_own_brings_back_what_it_found(tmp_path: Path):
    pieces = {
        Piece(tmp_path, "plain"): None,
        Piece(tmp_path, "failing", "fail"): "no such luck",
        Piece(tmp_path, "dying", "die"): "its process ended with status 9",
    }
    children = [Child(packed(piece), threads=1) for piece in pieces]
    for work, found in zip(children, pieces.values(), strict=True):
        outcome = in_child(work, stopping=lambda: False)
        assert outcome.result == (0 if found is None else None)
        assert (found or "None") in str(outcome.error)


def test_a_run_that_its_last_process_still_saves_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    inlet, outlet = multiprocessing.Pipe(duplex=False)
    answer, given = multiprocessing.Pipe(duplex=False)
    ends = {0: inlet.fileno(), 1: given.fileno()}
    outlet.send_bytes(packed(Piece(tmp_path, "run", "be taken at first")))
    slept: list[float] = []
    monkeypatch.setattr(child.time, "sleep", slept.append)
    monkeypatch.setattr(child, "prepare", lambda *_: None)
    monkeypatch.setattr(child, "_end_with", lambda _: None)
    monkeypatch.setattr(child.os, "dup2", lambda *_: None)
    monkeypatch.setattr(child.os, "dup", lambda number, dup=os.dup: dup(ends[number]))
    monkeypatch.setattr(child.sys, "argv", ["-c", "1"])
    child.main()
    assert answer.recv().result == 0
    assert slept == [1]


def test_a_cluster_is_named_or_described(tmp_path: Path):
    assert cluster_settings(None) is cluster_settings("processes") is None
    named = cluster_settings("dask:tcp://node1:8786")
    assert (named.engine, named.address) == ("dask", "tcp://node1:8786")
    assert cluster_settings("submitit").engine == "submitit"
    spec = tmp_path / "slurm.yaml"
    spec.write_text("engine: submitit\ngpus: 2\noptions: {slurm_partition: gpu}\n")
    described = cluster_settings(str(spec))
    assert (described.gpus, described.options["slurm_partition"]) == (2, "gpu")
    for text, message in (
        ("engine: dask\n", "expected address or jobqueue"),
        ("engine: submitit\naddress: tcp://a:1\n", "leave them out"),
        ("engine: dusk\n", "dask.*submitit"),
    ):
        spec.write_text(text)
        with pytest.raises(ConfigError, match=message):
            cluster_settings(str(spec))
    with pytest.raises(ConfigError, match=r"expected processes, dask:ADDRESS .* found 'slrm'"):
        cluster_settings("slrm")


def test_on_one_machine_one_piece_at_a_time_needs_no_executor(tmp_path: Path):
    assert executor_of(None, None, tmp_path) is executor_of(None, 1, tmp_path) is None
    found = executor_of(None, 3, tmp_path)
    assert isinstance(found, Processes) and found.room == 3
