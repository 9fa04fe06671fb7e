"""The yardstick of the training step is the same network, and the rows say what was measured."""

import pytest
import torch

from nowcast.core.memel.plug import plug_in
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench import training
from scripts.bench.benchmark import Asked
from scripts.bench.step import clips, network, training_step
from scripts.bench.straightforward import DenseMEmeL, PlainEncoderForecaster
from scripts.bench.training import arithmetic, measure, straightforward

SMALL = (
    Stage(channels=4, hidden=8, kernel=5, down=(7, 5, 1), up=(7, 5, 1)),
    Stage(channels=8, hidden=8, kernel=3, down=(5, 3, 1), up=(5, 3, 1)),
    Stage(channels=8, hidden=8, kernel=3, down=(3, 2, 1), up=(4, 2, 1)),
)


def test_the_straightforward_network_forecasts_the_same():
    model = network(SMALL, 3)
    plain = PlainEncoderForecaster(SMALL, 3)
    plain.load_state_dict(model.state_dict())
    for layer in plain.modules():
        if isinstance(layer, DenseMEmeL):
            layer.late_start = 1000
    inputs, _ = clips(2, 3, 30)
    torch.testing.assert_close(model(inputs), plain(inputs), rtol=1e-4, atol=1e-6)


def test_the_straightforward_memel_inhibits_the_same_with_the_same_gradient():
    ours, plain = network(SMALL, 4), PlainEncoderForecaster(SMALL, 4)
    plain.load_state_dict(ours.state_dict())
    inputs, truth = clips(3, 4, 30)
    plug_in(ours, "*.candidate", late_start=2)
    for layer in plain.modules():
        if isinstance(layer, DenseMEmeL):
            layer.late_start = 2
    for model in (ours, plain):
        (model(inputs) - truth).square().mean().backward()
    grads = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in ours.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-3, atol=1e-6)


def test_both_steps_train_alike():
    one, other = straightforward(2, 5, 30, SMALL), training_step(2, 5, 30, False, SMALL)
    first = one(), other()
    last = [(one(), other()) for _ in range(4)][-1]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    assert last[0] == pytest.approx(last[1], rel=1e-5)
    assert last[0] < first[0]


def test_the_arithmetic_is_that_of_the_paper_s_network():
    # By hand: a 5x5 convolution of 64 to 192 channels on 24x24 places is 0.177 GMAC, and so on.
    assert arithmetic(1, 10, 120, PAPER_STAGES) == pytest.approx(67.9, abs=1.0)
    assert arithmetic(3, 5, 30, SMALL) == pytest.approx(3 * arithmetic(1, 5, 30, SMALL))


@pytest.mark.slow
def test_every_way_has_a_row(monkeypatch: pytest.MonkeyPatch):
    assert len(training.WAYS) == 4
    monkeypatch.setattr(training, "WAYS", [("fp32", False), ("bf16", True)])  # of processes
    asked = Asked(batch=[1], threads=[1], pairs=2)
    rows = measure(asked, size=30, frames=2, stages=SMALL, matrix=64)
    assert [(row["precision"], row["recompute"]) for row in rows] == training.WAYS
    for row in rows:
        assert row["loss_apart"] < (1e-5 if row["precision"] == "fp32" else 2e-2)
        assert len(row["straightforward"]) == len(row["seconds"]) == 2
        assert row["share"] > 0
    assert len(training.BENCHMARK.table(rows).splitlines()) == 2 + len(rows) + 2
