"""What dask and submitit compute is what processes of one machine do, to the bit."""

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nowcast.core.comparison.compare import compare
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.execution.cluster import ClusterSettings
from nowcast.core.execution.engines import executor_of
from nowcast.core.execution.executor import carry_out
from nowcast.core.execution.processes import Processes
from nowcast.core.system.distributed import Ranks
from nowcast.core.tuning.tune import run_search
from tests.core.comparison.test_compare import comparison, resolve
from tests.core.execution.pieces import PATIENCE_SECONDS, Piece, Slow
from tests.core.toy import ToyTask
from tests.core.tuning.test_tune import outcome, search

distributed = pytest.importorskip("distributed", reason="needs memel-nowcast[cluster]")
pytest.importorskip("submitit", reason="needs memel-nowcast[cluster]")
submitit_here = ClusterSettings(
    engine="submitit", where="local", threads=1, gpus=0, options={"timeout_min": 30}
)


def results(out: Path) -> dict[str, object]:
    """Weights and scores of all runs of a comparison, or trials of a search."""
    weights = {
        str(path.relative_to(out)): load_file(path) for path in out.rglob("best.safetensors")
    }
    scores = {str(path.relative_to(out)): path.read_text() for path in out.rglob("scores_*.json")}
    return {"weights": weights, "scores": scores}


def assert_equal(one: dict, other: dict) -> None:
    assert one["scores"] == other["scores"]
    assert one["weights"].keys() == other["weights"].keys()
    for name, weights in one["weights"].items():
        assert all(torch.equal(weights[key], other["weights"][name][key]) for key in weights)


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("processes")
    compare(comparison(seeds=[0]), resolve, ToyTask, out, Ranks(), parallel=2)
    return out


@pytest.mark.slow
def test_dask_whose_workers_are_killed_on_the_way(tmp_path: Path, side_by_side: Path):
    out = tmp_path / "out"
    killed: list[int] = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:

        def kill() -> None:
            """Each worker once, as soon as a run has saved that was not there before."""
            deadline = time.monotonic() + 10 * PATIENCE_SECONDS
            saved: set[Path] = set()
            while len(killed) < 2 and time.monotonic() < deadline:
                new = set(out.rglob("last.pt")) - saved
                if new:
                    saved |= new
                    worker = list(cluster.workers.values())[len(killed)]
                    os.kill(worker.pid, signal.SIGKILL)
                    killed.append(worker.pid)
                time.sleep(0.05)

        killer = threading.Thread(target=kill)
        killer.start()
        spec = ClusterSettings(engine="dask", address=cluster.scheduler_address, threads=1)
        compare(comparison(seeds=[0]), resolve, Slow, out, Ranks(), None, cluster=spec)
        killer.join()
    assert len(killed) == 2
    assert_equal(results(out), results(side_by_side))


@pytest.mark.slow
def test_submitits_jobs(tmp_path: Path, side_by_side: Path):
    out = tmp_path / "out"
    compare(comparison(seeds=[0]), resolve, ToyTask, out, Ranks(), 2, cluster=submitit_here)
    assert_equal(results(out), results(side_by_side))
    assert list((out / "cluster").iterdir())  # scripts and logs


@pytest.mark.slow
def test_a_job_that_is_out_of_time_saves_is_queued_again_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from submitit.local import local

    start = local.start_controller

    def start_short(**given: Any) -> object:
        """submitit signals a job so long before its end: here 40 s after it began."""
        return start(**given | {"signal_delay_s": 60 * given["timeout_min"] - 40})

    monkeypatch.setattr(local, "start_controller", start_short)
    (tmp_path / "done").mkdir()
    executor = executor_of(submitit_here, None, tmp_path / "cluster")
    assert executor is not None
    assert carry_out([Piece(tmp_path / "done", "long", "wait for the end")], executor) == [0]
    assert (tmp_path / "done" / "long saved").exists()


@pytest.mark.slow
def test_a_failing_job_is_told_and_the_others_are_done(tmp_path: Path):
    (tmp_path / "done").mkdir()
    works = [Piece(tmp_path / "done", "failing", "fail"), Piece(tmp_path / "done", "other")]
    executor = executor_of(submitit_here, None, tmp_path / "cluster")
    assert executor is not None
    with pytest.raises(RunError, match=r"1 failed.*\nfailing: no such luck"):
        carry_out(works, executor)
    assert (tmp_path / "done" / "other").exists()


@pytest.mark.slow
def test_a_search_on_a_cluster_selects_what_processes_do(tmp_path: Path):
    space = {"memel.delta": [1, 5]}
    found = []
    for name, executor in (
        ("processes", Processes(2)),
        ("submitit", executor_of(submitit_here, 2, tmp_path / "cluster")),
    ):
        run_search(search(tmp_path / name, ToyTask, space=space, prune=False), Ranks(), executor)
        rows = outcome(tmp_path / name / "Tune")
        found.append(sorted(rows, key=lambda row: row["memel.delta"]))
    assert found[0] == found[1]


def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nowcast.core.execution.through_dask.CONNECT_SECONDS", 1)
    executor = executor_of(
        ClusterSettings(engine="dask", address="tcp://127.0.0.1:1"), None, tmp_path
    )
    assert executor is not None
    with pytest.raises(ConfigError, match=r"expected dask's scheduler at tcp://127.0.0.1:1"):
        carry_out([Piece(tmp_path, "one")], executor)


@pytest.mark.parametrize(
    ("gpus", "offered", "asked"),
    [(None, 1, {"GPU": 1}), (None, 0, {}), (0, 1, {}), (2, 4, {"GPU": 2})],
)
def test_work_takes_the_gpus_that_dasks_workers_offer(
    gpus: int | None, offered: int, asked: dict[str, int]
):
    assert asked_of(gpus, offered) == asked


def test_gpus_that_no_worker_offers_are_told():
    with pytest.raises(ConfigError, match=r'gpus: 1 were asked for .* --resources "GPU=1"'):
        asked_of(1, 0)


def asked_of(gpus: int | None, offered: int) -> dict[str, float]:
    from nowcast.core.execution.through_dask import ThroughDask

    executor = ThroughDask(ClusterSettings(engine="dask", address="tcp://a:1", gpus=gpus), 1)
    workers = {"tcp://b:2": {"resources": {"GPU": offered} if offered else {}}}
    executor._client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": workers})
    return executor._asked_of_workers()
