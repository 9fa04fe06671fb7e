"""Recorded steps: what surrounds a CUDA graph, with one that is done again in Python in its place.

A stand-in cannot tell what a GPU would refuse to record; tests/gpu/test_graph.py does that.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nowcast.core.errors import ConfigError
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.progress import Display, shown
from nowcast.core.training import graph, optim
from nowcast.core.training.trainer import train
from tests.core.toy import ToyBatch, ToyTask

CPU = torch.device("cpu")


class StandIn:
    """Records a function, and does it at every replay; its result is always in the same place."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.device = device
        self.steps = ""
        """What was done: a step by itself, a recording, a replay."""

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        self.steps += "s"
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        self.steps += "R"
        result = torch.full((), torch.nan)

        def replay() -> None:
            self.steps += "r"
            result.copy_(work())

        return replay, result


class Refusing(StandIn):
    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        super().record(work)
        raise RuntimeError("operation not permitted when stream is capturing")


class ReplayableToy(ToyTask):
    replayable = True


def settings(**changes: object) -> RunSettings:
    loop = {"steps": 30, "batch_size": 8, "validate_every": 10, "log_every": 10} | changes
    return RunSettings(
        task="toy",
        train=TrainSettings(**loop),
        optim=OptimSettings(lr=0.02, decay_every=8, clip="norm", clip_at=1.0),
        memel=MEmeLSettings(late_start=3, forget_steps=5),
    )


def trained(monkeypatch: pytest.MonkeyPatch, folder: Path, stand_in: StandIn | None, **changes):
    """A run and its last state."""
    monkeypatch.setattr(graph, "recorder", lambda device: stand_in)
    run, wanted = Run(folder), settings(**changes)
    train(ReplayableToy(wanted), wanted, run, Ranks())
    return run, torch.load(run.last_state, weights_only=True)


def test_a_run_of_recorded_steps_is_that_of_single_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    stand_in = StandIn()
    _, plain = trained(monkeypatch, tmp_path / "plain", None)
    run, state = trained(monkeypatch, tmp_path / "recorded", stand_in)
    # The layer says after 13 calls whether it has inhibited anything; 20 and 30 are logged.
    assert stand_in.steps == 13 * "s" + "R" + 6 * "r" + "s" + 9 * "r" + "s"
    assert all(torch.equal(state["model"][name], value) for name, value in plain["model"].items())
    assert torch.equal(state["monitor"]["hidden"], plain["monitor"]["hidden"])
    assert int(state["monitor"]["hidden"].sum()) == (30 - 3) * 8
    assert run.history() == Run(tmp_path / "plain").history()


def test_a_run_resumed_between_recorded_steps_is_one_that_was_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    class Stop(Exception):
        pass

    def stop(step: int, objective: float) -> None:
        if step == 20:
            raise Stop

    _, whole = trained(monkeypatch, tmp_path / "whole", StandIn())
    wanted, run = settings(), Run(tmp_path / "parts")
    with pytest.raises(Stop):
        train(ReplayableToy(wanted), wanted, run, Ranks(), after_validation=stop)
    _, parts = trained(monkeypatch, tmp_path / "parts", StandIn())
    assert all(torch.equal(parts["model"][name], value) for name, value in whole["model"].items())


def test_what_cannot_be_recorded_goes_on_step_by_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    said: list[str] = []

    class Listening(Display):
        def say(self, text: str) -> None:
            said.append(text)

    stand_in = Refusing()
    _, plain = trained(monkeypatch, tmp_path / "plain", None)
    with shown(Listening()):
        _, state = trained(monkeypatch, tmp_path / "refused", stand_in)
    assert stand_in.steps == 13 * "s" + "R" + 17 * "s"
    assert all(torch.equal(state["model"][name], value) for name, value in plain["model"].items())
    assert torch.equal(state["monitor"]["hidden"], plain["monitor"]["hidden"])
    (message,) = (text for text in said if "train.graph" in text)
    assert "kernel by kernel, because operation not permitted" in message


def test_asked_for_it_stops_where_it_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(ConfigError, match="there is no GPU"):
        trained(monkeypatch, tmp_path / "none", None, graph="on")
    with pytest.raises(ConfigError, match="not permitted"):
        trained(monkeypatch, tmp_path / "refused", Refusing(), graph="on")
    with pytest.raises(ConfigError, match="accumulate"):
        trained(monkeypatch, tmp_path / "parts", StandIn(), graph="on", accumulate=2)
    stand_in = StandIn()
    trained(monkeypatch, tmp_path / "off", stand_in, graph="off")
    assert stand_in.steps == ""


@pytest.mark.parametrize(
    ("changes", "ranks", "why"),
    [
        ({}, Ranks(), None),
        ({}, Ranks(0, 2), "2 ranks"),
        ({"accumulate": 2}, Ranks(), "train.accumulate"),
        ({"checkpoint": True}, Ranks(), "train.checkpoint"),
        ({"detect_anomaly": True}, Ranks(), "train.detect_anomaly"),
    ],
)
def test_what_stands_in_the_way(changes: dict[str, object], ranks: Ranks, why: str | None):
    wanted = settings(**changes)
    found = graph.obstacle(ReplayableToy(wanted), wanted.train, ranks)
    assert found is None if why is None else why in str(found)
    if why is None:
        assert "host" in str(graph.obstacle(ToyTask(wanted), wanted.train, ranks))


def replayed(stand_in: StandIn, ready: Callable[[], bool] = lambda: True) -> graph.Replayed:
    def work(batch: ToyBatch) -> Tensor:
        return batch.x.sum()

    def fail(why: Exception) -> None:
        raise why

    return graph.Replayed(work, stand_in, ready, lambda: None, fail)


def batch(number: float, size: int = 2) -> ToyBatch:
    return ToyBatch(torch.full((size, 1), float(number)))


def test_each_step_is_of_its_own_batch():
    stand_in = StandIn()
    step = replayed(stand_in)
    losses = [float(step(batch(number), watched=False)) for number in range(6)]
    assert losses == [0, 2, 4, 6, 8, 10]
    assert stand_in.steps == "sssRrrr"


def test_a_watched_step_and_another_kind_of_batch_go_by_themselves():
    stand_in = StandIn()
    step = replayed(stand_in)
    for number in range(4):
        step(batch(number), watched=False)
    assert float(step(batch(7.0), watched=True)) == 14
    assert [float(step(batch(1.0, size=3), watched=False)) for _ in range(5)] == [3.0] * 5
    assert float(step(batch(8.0), watched=False)) == 16
    assert stand_in.steps == "sssRr" + "s" + "sssss" + "r"


def test_nothing_is_recorded_before_it_is_ready():
    stand_in, answers = StandIn(), iter([False, False, True])
    step = replayed(stand_in, lambda: next(answers))
    for number in range(6):
        step(batch(number), watched=False)
    assert stand_in.steps == "sss" + "ss" + "Rr"


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_rate_in_a_tensor_is_read_at_each_step(
    monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path
):
    found = []
    for on_gpu in (False, True):
        model = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(model.weight, 0.5)
        torch.nn.init.constant_(model.bias, 0.5)
        optimiser = optim.optimiser(model, OptimSettings(name=name))
        if on_gpu:  # which `meta` would be, had it memory
            for group in optimiser.param_groups:
                group["lr"] = torch.tensor(0.0)
        places = [group["lr"] for group in optimiser.param_groups]
        for rate in (0.1, 0.01):
            optim.set_rate(optimiser, rate)
            optimiser.zero_grad()
            model(torch.ones(3, 2)).square().mean().backward()
            optimiser.step()
        if on_gpu:
            assert all(
                group["lr"] is place
                for group, place in zip(optimiser.param_groups, places, strict=True)
            )
        found.append(model.weight.detach().clone())
        # A state from a GPU goes on here, with a number.
        optim.for_device(optimiser, CPU)
        assert [group["lr"] for group in optimiser.param_groups] == [pytest.approx(0.01)]
        json.dumps([group["lr"] for group in optimiser.param_groups])
    torch.testing.assert_close(*found)
