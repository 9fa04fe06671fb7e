"""A recorded step is a step launched kernel by kernel, and neither waits for the GPU."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nowcast.core.memel import fused
from nowcast.core.memel.plug import plug_in
from nowcast.core.settings import OptimSettings
from nowcast.core.system.devices import arithmetic
from nowcast.core.system.distributed import Ranks
from nowcast.core.training import graph, optim
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.forecasters.cells import recurrence
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecaster
from nowcast.precipitation.forecasters.graph import example_frames
from nowcast.precipitation.loss import balanced_loss
from nowcast.precipitation.units import Calibration
from tests.gpu.conftest import STAND_IN
from tests.gpu.test_forecasters import forecaster
from tests.gpu.test_runs import losses, trained, weights

IN_LEN, OUT_LEN = 3, 4
STEPS = 40


@pytest.fixture(autouse=True)
def needs_cuda(gpu: torch.device) -> None:
    if STAND_IN:
        pytest.skip("a CPU has no graphs")


def batch(device: torch.device, number: int) -> RadarBatch:
    levels = (255 * example_frames(IN_LEN + OUT_LEN)(4, 48, 48)).roll(number, 4).to(torch.uint8)
    times = 6 * torch.arange(IN_LEN + OUT_LEN).expand(4, -1)
    missing = torch.zeros(4, IN_LEN + OUT_LEN, dtype=torch.bool)
    return RadarBatch(levels, torch.ones_like(levels).bool(), times, missing, IN_LEN).to(device)


def stepped(
    device: torch.device, precision: str, method: str
) -> tuple[EncoderForecaster, Callable[[RadarBatch], Tensor], Callable[[], bool]]:
    """A network with MEmeL, a training step of it, and whether that may be recorded."""
    model = forecaster("convgru").to(device)
    inputs = batch(device, 0).inputs
    layers = plug_in(
        model, "*.candidate", dry_run=lambda host: host(inputs), late_start=2, method=method
    )
    settings = OptimSettings()
    optimiser = optim.optimiser(model.train(), settings)
    optim.for_device(optimiser, device)

    def step(given: RadarBatch) -> Tensor:
        optimiser.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            forecast = model(given.inputs, given.input_mask)
        loss = balanced_loss(forecast, given.truth, given.truth_mask, Calibration())
        loss.backward()
        optim.clip(model, settings)
        optimiser.step()
        return loss.detach()

    return model, step, lambda: all(layer.is_proven for layer in layers.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["memel", "share", "sham"])
def test_recorded_steps_are_single_ones_and_wait_for_nothing(
    gpu: torch.device, precision: str, method: str
):
    found: list[tuple[list[float], nn.Module]] = []
    for recorded in (False, True):
        model, step, ready = stepped(gpu, precision, method)
        if recorded:
            recorder = graph.recorder(gpu)
            assert recorder is not None

            def fail(why: Exception) -> None:
                raise why

            replayed = graph.Replayed(step, recorder, ready, lambda: None, fail)
            step = lambda given, replayed=replayed: replayed(given, watched=False)  # noqa: E731
        batches = [batch(gpu, number) for number in range(STEPS)]
        seen = []
        with arithmetic(precision):
            for number, given in enumerate(batches):
                # Compilers and libraries wait at first, and the layers for what they may warn of.
                waits = "error" if number > STEPS // 2 else "default"
                torch.cuda.set_sync_debug_mode(waits)
                try:
                    seen.append(step(given).clone())
                finally:
                    torch.cuda.set_sync_debug_mode("default")
        found.append((torch.stack(seen).tolist(), model))
    (plain, one), (replayed_losses, other) = found
    assert replayed_losses == plain
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_the_kernels_are_used(gpu: torch.device):
    pytest.importorskip("triton")
    assert recurrence.gates_on(gpu) is not None
    assert fused.on_gpu(gpu) is not None


def test_a_run_of_recorded_steps_is_that_of_single_ones(
    gpu: torch.device, synthetic: Path, tmp_path: Path
):
    several = {"train.steps": 60, "train.validate_every": 30, "train.log_every": 10}
    runs = [
        trained(
            Ranks(), synthetic, tmp_path / kind, gpu.type, None,
            several | {"train.graph": kind},
        )
        for kind in ("on", "off")
    ]  # fmt: skip
    assert losses(runs[0]) == losses(runs[1])
    one, other = (weights(run) for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)
