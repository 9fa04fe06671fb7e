"""The loop: learns, resumes to the bit, stops on a signal, keeps the best and not the last."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nowcast.core.errors import RunError
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted
from nowcast.core.training.checkpoint import load_weights
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import train, trained_model
from tests.core.toy import ToyBatch, ToyTask

pytestmark = pytest.mark.isa


def settings(**changes) -> RunSettings:
    return RunSettings(
        task="toy",
        train=TrainSettings(steps=20, batch_size=8, validate_every=5, log_every=5),
        optim=OptimSettings(lr=0.02, decay_every=8),
        memel=MEmeLSettings(late_start=3, forget_steps=5),
    ).model_copy(update=changes)


def state(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.last_state, weights_only=True)["model"]


def assert_same_run(first: Run, second: Run) -> None:
    one, other = state(first), state(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert first.history() == second.history()
    assert first.best_weights.read_bytes() == second.best_weights.read_bytes()


class StopsAt(ToyTask):
    """Sends this process a signal while a step's batch is read."""

    step, signal = 7, signal.SIGTERM

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(super().training_batches(start, ranks), start=start):
            if number == self.step:
                os.kill(os.getpid(), self.signal)
            yield batch


def test_training_lowers_the_error_and_leaves_a_whole_run(tmp_path: Path):
    run = Run(tmp_path / "run")
    task = ToyTask(settings())
    torch.manual_seed(0)
    before = evaluate(task, task.model(), "valid", Ranks(), torch.device("cpu"))
    train(task, settings(), run, Ranks())
    after = evaluate(
        task, trained_model(task, settings(), run), "valid", Ranks(), torch.device("cpu")
    )
    assert after.values["error"] < 0.5 * before.values["error"]
    assert run.is_finished
    assert [entry["step"] for entry in run.history() if "valid" in entry] == [5, 10, 15, 20]
    assert run.config()["optim"]["lr"] == 0.02
    assert list(run.folder.glob("events.out.tfevents.*"))
    assert not list(run.folder.glob("*.tmp"))


def test_what_only_resuming_needs_can_go_once_a_run_is_finished(tmp_path: Path):
    brief = settings(train=settings().train.model_copy(update={"keep_state": False}))
    run = Run(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(StopsAt(brief), brief, run, Ranks())
    assert run.last_state.is_file()
    train(ToyTask(brief), brief, run, Ranks())
    assert run.is_finished and not run.last_state.exists()
    trained_model(ToyTask(brief), brief, run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_call_goes_on_to_the_bit(
    tmp_path: Path, number: signal.Signals
):
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(ToyTask(settings()), settings(), whole, Ranks())
    task = StopsAt(settings())
    task.signal = number
    with pytest.raises(Interrupted, match="stopped at step 8 of 20, all saved"):
        train(task, settings(), stopped, Ranks())
    assert not stopped.is_finished
    train(ToyTask(settings()), settings(), stopped, Ranks())
    assert_same_run(whole, stopped)


def test_a_lost_run_goes_on_from_its_last_validation_to_the_bit(tmp_path: Path):
    class Dies(ToyTask):
        def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
            for number, batch in enumerate(super().training_batches(start, ranks), start=start):
                if number == 13:
                    raise KeyError("as if killed: nothing is saved here")
                yield batch

    whole, died = Run(tmp_path / "whole"), Run(tmp_path / "died")
    train(ToyTask(settings()), settings(), whole, Ranks())
    with pytest.raises(KeyError):
        train(Dies(settings()), settings(), died, Ranks())
    train(ToyTask(settings()), settings(), died, Ranks())
    assert_same_run(whole, died)


def averaged(over: int, **changes: object) -> RunSettings:
    return settings(train=settings().train.model_copy(update={"average": over, **changes}))


def test_weights_are_averaged_and_go_on_to_the_bit(tmp_path: Path):
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(ToyTask(averaged(4)), averaged(4), whole, Ranks())
    with pytest.raises(Interrupted):
        train(StopsAt(averaged(4)), averaged(4), stopped, Ranks())
    train(ToyTask(averaged(4)), averaged(4), stopped, Ranks())
    assert_same_run(whole, stopped)


def test_what_is_kept_is_the_mean_of_the_weights_after_each_step(tmp_path: Path):
    def of_steps(count: int) -> dict[str, torch.Tensor]:
        brief = averaged(10, steps=count, validate_every=count)
        run = Run(tmp_path / f"run-{count}")
        train(ToyTask(brief), brief, run, Ranks())
        return {"kept": trained_model(ToyTask(brief), brief, run).state_dict(), "last": state(run)}

    runs = [of_steps(count) for count in (1, 2, 3)]
    name = next(name for name, _ in ToyTask(settings()).model().named_parameters())
    mean = torch.stack([run["last"][name] for run in runs]).mean(0)
    torch.testing.assert_close(runs[-1]["kept"][name], mean)
    assert not torch.equal(runs[-1]["kept"][name], runs[-1]["last"][name])


def test_a_finished_run_is_left_alone(tmp_path: Path):
    run = Run(tmp_path / "run")
    train(ToyTask(settings()), settings(), run, Ranks())
    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    train(ToyTask(settings()), settings(), run, Ranks())
    assert before == {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}


def test_best_is_the_best_and_not_the_last(tmp_path: Path):
    class Worsens(ToyTask):
        """Learns the opposite from step 10 on."""

        def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
            self.steps = start
            for batch in super().training_batches(start, ranks):
                yield batch
                self.steps += 1

        def loss(self, model, batch):
            return super().loss(model, batch) * (1 if self.steps < 10 else -1)

    run = Run(tmp_path / "run")
    task = Worsens(settings())
    train(task, settings(), run, Ranks())
    validated = {e["step"]: e["valid"]["error"] for e in run.history() if "valid" in e}
    best = min(validated, key=validated.get)
    assert best < 20
    result = json.loads(run.result_file.read_text())
    assert result["best_step"] == best
    assert result["best_objective"] == validated[best]
    kept = trained_model(task, settings(), run)
    scores = evaluate(task, kept, "valid", Ranks(), torch.device("cpu"))
    assert scores.values["error"] == pytest.approx(validated[best])


def test_fine_tuning_starts_from_the_best_weights_with_a_fresh_optimiser(tmp_path: Path):
    parent, child = Run(tmp_path / "parent"), Run(tmp_path / "child")
    train(ToyTask(settings()), settings(), parent, Ranks())
    frozen = settings(
        start_from=parent.folder,
        memel=None,
        optim=OptimSettings(lr=1e-12, decay_every=None),
    )
    train(ToyTask(frozen), frozen, child, Ranks())
    expected = ToyTask(frozen).model()
    load_weights(parent.best_weights, expected)
    found = state(child)
    assert found.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-9)


def test_memel_changes_training_and_off_does_not(tmp_path: Path):
    runs = {name: Run(tmp_path / name) for name in ("with", "without", "again")}
    train(ToyTask(settings()), settings(), runs["with"], Ranks())
    for name in ("without", "again"):
        off = settings(memel=None)
        train(ToyTask(off), off, runs[name], Ranks())
    losses = {
        name: [entry["loss"] for entry in run.history() if "loss" in entry]
        for name, run in runs.items()
    }
    assert losses["without"] == losses["again"]
    assert losses["with"] != losses["without"]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_samples(tmp_path: Path):
    class Explodes(ToyTask):
        def loss(self, model, batch):
            return super().loss(model, batch) * float("nan")

    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match=r"loss is not a number, at step 1, samples x=.*optim.lr"):
        train(Explodes(settings()), settings(), run, Ranks())
    assert not run.is_finished


def test_bf16_trains_and_keeps_float32_statistics(tmp_path: Path):
    run = Run(tmp_path / "run")
    half = settings(train=settings().train.model_copy(update={"precision": "bf16"}))
    train(ToyTask(half), half, run, Ranks())
    losses = [entry["loss"] for entry in run.history() if "loss" in entry]
    assert losses[-1] < losses[0]
    found = state(run)
    assert {found[name].dtype for name in ("first.weight", "hidden.running_var")} == {torch.float32}
    assert found["hidden.num_batches_tracked"] == 20


def test_after_each_validation_the_objective_is_told_and_may_end_the_run(tmp_path: Path):
    run, told = Run(tmp_path / "run"), []

    def stop_at_ten(step: int, objective: float) -> None:
        told.append((step, objective))
        if step == 10:
            raise KeyError("enough")

    with pytest.raises(KeyError):
        train(ToyTask(settings()), settings(), run, Ranks(), after_validation=stop_at_ten)
    validated = {e["step"]: e["valid"]["error"] for e in run.history() if "valid" in e}
    assert told == list(validated.items())
    assert list(validated) == [5, 10]
    train(ToyTask(settings()), settings(), run, Ranks(), after_validation=lambda *_: None)
    assert run.is_finished
