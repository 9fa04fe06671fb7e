"""Accumulation: a batch passed in parts has the gradient and the loss of the whole batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from nowcast.core.comparison import estimate
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.memel.methods import penalty
from nowcast.core.settings import RunSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks, unsynchronised, wrapped
from nowcast.core.system.signals import Interrupted
from nowcast.core.training.gradient import backward, share
from nowcast.core.training.trainer import train
from tests.core.ranks import in_ranks
from tests.core.toy import ToyBatch, ToyModel, ToyTask
from tests.core.training.test_trainer import StopsAt, assert_same_run, settings, state

pytestmark = pytest.mark.isa

CPU = torch.device("cpu")


def in_parts(accumulate: int, memel: bool = False, **changes: Any) -> RunSettings:
    changes = {"steps": 10, "log_every": 1, "accumulate": accumulate} | changes
    found = settings(train=settings().train.model_copy(update=changes))
    return found if memel else found.model_copy(update={"memel": None})


def losses(run: Run) -> list[float]:
    return [entry["loss"] for entry in run.history() if "loss" in entry]


class Notes(ToyTask):
    """Writes down the sizes of what it is asked the loss of."""

    def __init__(self, settings: RunSettings) -> None:
        super().__init__(settings)
        self.sizes: list[int] = []

    def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
        self.sizes.append(len(batch.x))
        return super().loss(model, batch)


@pytest.mark.parametrize(("accumulate", "sizes"), [(2, [4, 4]), (3, [3, 3, 2]), (8, [1] * 8)])
def test_weights_and_losses_are_those_of_whole_batches(
    tmp_path: Path, accumulate: int, sizes: list[int]
):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    train(ToyTask(in_parts(1)), in_parts(1), whole, Ranks())
    task = Notes(in_parts(accumulate))
    train(task, task.settings, parts, Ranks())
    assert task.sizes == 10 * sizes
    for name, value in state(whole).items():
        torch.testing.assert_close(state(parts)[name], value, rtol=0, atol=1e-6)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
    assert len(losses(parts)) == 10


def test_a_batch_in_one_part_is_passed_as_it_is():
    class Untouched(ToyBatch):
        def take(self, which: object) -> ToyBatch:
            raise AssertionError("copied for nothing")

    task, model = ToyTask(in_parts(1)), ToyModel()
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    expected = task.loss(model, ToyBatch(x))
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    loss = backward(task, model, Untouched(x), task.settings.train)
    assert torch.equal(loss, expected) and not loss.requires_grad
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_in_bf16_parts_are_passed_in_bf16_and_add_up():
    class Sees(ToyTask):
        def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
            assert model(batch.x).dtype == torch.bfloat16
            return super().loss(model, batch)

    task, gradients = Sees(in_parts(1)), []
    torch.manual_seed(0)
    model, batch = ToyModel(), next(task.training_batches(0, Ranks()))
    for accumulate in (1, 3):
        model.zero_grad()
        backward(task, model, batch, in_parts(accumulate, precision="bf16").train)
        gradients.append(model.first.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0.05, atol=0.01)


def test_memel_counts_every_part_and_a_run_that_was_stopped_goes_on_to_the_bit(tmp_path: Path):
    class Drops(ToyTask):
        """Draws from torch's generator in every part."""

        def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
            noise = 0.1 * torch.randn_like(batch.x) if model.training else 0.0
            return super().loss(model, ToyBatch(batch.x + noise))

    class DropsAndStops(Drops, StopsAt):
        pass

    chosen = in_parts(3, memel=True, steps=20)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(Drops(chosen), chosen, whole, Ranks())
    with pytest.raises(Interrupted, match="stopped at step 8 of 20"):
        train(DropsAndStops(chosen), chosen, stopped, Ranks())
    train(Drops(chosen), chosen, stopped, Ranks())
    assert_same_run(whole, stopped)
    assert state(whole)["hidden.num_batches_tracked"] == 3 * 20
    assert state(whole)["hidden.num_samples_tracked"] == 8 * 20
    picks = torch.load(whole.last_state, weights_only=True)["monitor"]["hidden"]
    assert picks.sum() == 8 * 20 - (3 + 3 + 2)  # all but those of three parts, late_start


def test_a_part_whose_loss_is_no_number_stops_the_run(tmp_path: Path):
    class LastIsNaN(Notes):
        def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
            loss = super().loss(model, batch)
            return loss * float("nan") if len(self.sizes) == 2 * 3 else loss

    task = LastIsNaN(in_parts(3))
    with pytest.raises(RunError, match="loss is not a number, at step 2, samples x="):
        train(task, task.settings, Run(tmp_path / "run"), Ranks())


@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:Error detected in")
def test_detect_anomaly_names_the_operation_of_a_part(tmp_path: Path):
    class SecondBreaks(Notes):
        def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
            loss = super().loss(model, batch)
            return loss + (0 * loss).sqrt() if len(self.sizes) == 5 else loss

    task = SecondBreaks(in_parts(3, detect_anomaly=True))
    with pytest.raises(RunError, match=r"MulBackward0.* at step 2, samples x="):
        train(task, task.settings, Run(tmp_path / "run"), Ranks())


def test_throughput_counts_samples_and_not_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counted = []
    monkeypatch.setattr(
        "nowcast.core.training.loop.Throughput.count", lambda _, clips: counted.append(clips)
    )
    train(ToyTask(in_parts(3)), in_parts(3), Run(tmp_path / "run"), Ranks())
    assert counted == [8] * 10


def test_more_parts_than_samples_are_refused_before_training(tmp_path: Path):
    assert share(in_parts(4).train, Ranks(0, 2)) == 4
    with pytest.raises(ConfigError, match=r"accumulate: expected at most 4, .* found 5; lower it"):
        share(in_parts(5).train, Ranks(0, 2))
    with pytest.raises(ConfigError, match="cannot be shared evenly by 3 ranks"):
        share(in_parts(1).train, Ranks(0, 3))
    task = Notes(in_parts(9))
    with pytest.raises(ConfigError, match=r"train\.accumulate: expected at most 8"):
        train(task, task.settings, Run(tmp_path / "run"), Ranks())
    with pytest.raises(ConfigError, match=r"train\.accumulate: expected at most 8"):
        estimate._timed(task, task.settings, "valid")
    assert not task.sizes


def test_what_a_step_takes_is_measured_in_parts_and_for_each_number_of_them():
    task = Notes(in_parts(2))
    estimate._timed(task, task.settings, "valid")
    assert task.sizes == [4, 4] * (1 + estimate.TIMED_STEPS)
    keys = {
        estimate._what_is_timed(chosen)
        for chosen in (in_parts(1), in_parts(2), in_parts(1, checkpoint=True), in_parts(1, seed=3))
    }
    assert len(keys) == 3


def test_parts_are_no_incidental_key(tmp_path: Path):
    run = Run(tmp_path / "run")
    train(ToyTask(in_parts(1)), in_parts(1), run, Ranks())
    with pytest.raises(ConfigError, match=r"train\.accumulate 1 there, 2 now"):
        train(ToyTask(in_parts(2)), in_parts(2), run, Ranks())


class Stops(StopsAt):
    """Only the second rank is sent the signal."""

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        own = super() if ranks.rank == 1 else super(StopsAt, self)
        yield from own.training_batches(start, ranks)


def gradients_of_a_weight(ranks: Ranks) -> list[float]:
    """Of a rank's own samples within `unsynchronised`, of all ranks' after it."""
    model = wrapped(nn.Linear(1, 1, bias=False), CPU)
    own = torch.full((1, 1), 1.0 + ranks.rank)
    with unsynchronised(model):
        model(own).sum().backward()
    weight = next(model.parameters())
    before = weight.grad.item()
    model(10 * own).sum().backward()
    return [before, weight.grad.item()]


def learn(ranks: Ranks, folder: Path) -> list[float]:
    inhibited, uneven = in_parts(2, memel=True, steps=20), in_parts(3, batch_size=10)
    train(ToyTask(inhibited), inhibited, Run(folder / "inhibited"), ranks)
    with pytest.raises(Interrupted, match="stopped at step 8 of 20"):
        train(Stops(inhibited), inhibited, Run(folder / "stopped"), ranks)
    train(ToyTask(inhibited), inhibited, Run(folder / "stopped"), ranks)
    train(ToyTask(uneven), uneven, Run(folder / "uneven"), ranks)
    return gradients_of_a_weight(ranks)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[float]]]:
    """The folder of what two ranks have trained, and the gradients of a weight on each."""
    folder = tmp_path_factory.mktemp("of_two")
    return folder, in_ranks(2, learn, folder)


def test_ranks_add_up_their_gradients_in_the_last_part_alone(of_two):
    (own, mean), (other_own, other_mean) = of_two[1]
    assert (own, other_own) == (1.0, 2.0)
    assert mean == other_mean == ((1 + 10) + (2 + 20)) / 2


def test_two_ranks_are_one_whose_parts_are_the_union_of_theirs(of_two, tmp_path: Path):
    """With MEmeL, whose statistics are of what both ranks pass at once."""
    one, two, other = (
        Run(folder) for folder in (tmp_path / "2", of_two[0] / "inhibited", tmp_path / "4")
    )
    for run, parts in ((one, 2), (other, 4)):
        chosen = in_parts(parts, memel=True, steps=20)
        train(ToyTask(chosen), chosen, run, Ranks())
    for name, value in state(one).items():
        torch.testing.assert_close(state(two)[name], value, rtol=1e-5, atol=1e-6)
    assert state(two)["hidden.num_batches_tracked"] == 2 * 20
    assert losses(two) == pytest.approx(losses(one), abs=1e-6)
    picks = [torch.load(run.last_state, weights_only=True)["monitor"] for run in (one, two)]
    assert torch.equal(picks[0]["hidden"], picks[1]["hidden"])
    # Four parts of one rank have as many samples as two of two ranks; MEmeL is given fewer at once.
    assert losses(other) != pytest.approx(losses(one), abs=1e-6)


def test_without_memel_two_ranks_in_uneven_parts_are_one_process(of_two, tmp_path: Path):
    one, two, whole = Run(tmp_path / "one"), Run(of_two[0] / "uneven"), in_parts(1, batch_size=10)
    train(ToyTask(whole), whole, one, Ranks())
    for name, value in state(one).items():
        torch.testing.assert_close(state(two)[name], value, rtol=0, atol=1e-6)
    assert losses(two) == pytest.approx(losses(one), abs=1e-6)


def test_two_ranks_that_were_stopped_go_on_to_the_bit(of_two):
    assert_same_run(Run(of_two[0] / "inhibited"), Run(of_two[0] / "stopped"))


def test_penalties_have_the_weight_of_their_part_of_the_batch():
    class Asked(ToyTask):
        weights: ClassVar[list[float]] = []

        def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
            self.weights.append(penalty._loss_weight)
            return super().loss(model, batch)

    chosen = in_parts(2, batch_size=5)
    task = Asked(chosen)
    backward(task, task.model(), ToyBatch(torch.randn(5, 1)), chosen.train)
    assert Asked.weights == [3 / 5, 2 / 5] and penalty._loss_weight == 1.0
