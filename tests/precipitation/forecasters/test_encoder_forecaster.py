"""The encoder-forecaster against a frame-by-frame transcription, and what its shape promises."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast import plug_in
from nowcast.core.memel.plug import sockets
from nowcast.core.training.activations import recompute_blocks
from nowcast.precipitation.forecasters.cells import recurrence
from nowcast.precipitation.forecasters.cells.cell import Cell, State
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from nowcast.precipitation.forecasters.cells.trajgru import TrajGRU
from nowcast.precipitation.forecasters.encoder_forecaster import (
    PAPER_STAGES,
    CellName,
    EncoderForecaster,
    Stage,
)

pytestmark = pytest.mark.isa

# Channels differ everywhere, so that no layer can be taken for another.
STAGES = (
    Stage(channels=3, hidden=4, kernel=5, down=(3, 2, 1), up=(4, 2, 1)),
    Stage(channels=5, hidden=6, kernel=3, down=(5, 3, 1), up=(5, 3, 1)),
)
DEAD = "forecaster.1.input_conv.weight"


CELLS = ("convgru", "trajgru", "convlstm")
GRU_SOCKETS = ("update", "reset", "candidate", "hidden")
SOCKETS = {
    "convgru": GRU_SOCKETS,
    "trajgru": GRU_SOCKETS,
    "convlstm": ("input", "forget", "output", "candidate", "hidden"),
}


def model(activate: bool = True, cell: CellName = "convgru") -> EncoderForecaster:
    torch.manual_seed(0)
    made = EncoderForecaster(STAGES, 4, activate, cell)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "head" not in name:
                parameter.mul_(2)
            if not parameter.any():  # flows and peepholes, which are zero when training begins
                parameter.normal_(std=0.1)
    return made


def frames(batch: int, length: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, length, 1, height, width, generator=torch.Generator().manual_seed(1))


def by_frames(model: EncoderForecaster, clip: Tensor) -> Tensor:
    """All stages for one frame, then the next frame; the model does it the other way round."""
    states: list[State | None] = [None] * len(model.down)
    for time in range(clip.shape[1]):
        values = clip[:, time]
        for number, (down, cell) in enumerate(zip(model.down, model.encoder, strict=True)):
            values = down(values)
            state = states[number] or cell.start(values[None])
            (values,), states[number] = cell(values[None], state, 1)
    forecast = []
    for _ in range(model.out_len):
        passed: Tensor | None = None
        for number in reversed(range(len(states))):
            cell = model.forecaster[number]
            above = None if passed is None else passed[None]
            (hidden,), states[number] = cell(above, states[number], 1)
            passed = model.up[number](hidden)
        forecast.append(model.head(passed))
    return torch.stack(forecast, dim=1)


@pytest.mark.parametrize(
    ("activate", "cell"),
    [(True, "convgru"), (False, "convgru"), (True, "trajgru"), (True, "convlstm")],
)
def test_it_is_the_cells_frame_by_frame(activate: bool, cell: CellName):
    made, clip = model(activate, cell), frames(2, 3, 12, 18)
    forecast = made(clip)
    assert forecast.shape == (2, 4, 1, 12, 18)
    torch.testing.assert_close(forecast, by_frames(made, clip), rtol=1e-4, atol=1e-5)


def test_every_change_of_size_is_a_convolution_and_a_leaky_relu():
    made, rng = model(), torch.Generator().manual_seed(2)
    for stage, down, up in zip(STAGES, made.down, made.up, strict=True):
        _, stride, padding = stage.down
        fine = torch.randn(1, down[0].in_channels, 12, 12, generator=rng)
        coarse = torch.randn(1, stage.hidden, 4, 4, generator=rng)
        for layer, values, convolve in (
            (down, fine, functional.conv2d),
            (up, coarse, functional.conv_transpose2d),
        ):
            linear = convolve(
                values, layer[0].weight, layer[0].bias, stride=stride, padding=padding
            )
            assert (linear < 0).any() and (linear > 0).any()
            expected = torch.where(linear > 0, linear, 0.2 * linear)
            torch.testing.assert_close(layer(values), expected, rtol=1e-4, atol=1e-5)
        assert down(fine).shape[-1] == 12 // stride
        assert up(coarse).shape[-1] == 4 * stride


@pytest.mark.parametrize("cell", CELLS)
def test_every_input_frame_is_read_and_their_order_matters(cell: CellName):
    made, clip = model(cell=cell), frames(1, 3, 12, 12)
    forecast = made(clip)
    assert not torch.allclose(forecast, made(clip.flip(1)))
    for time in range(3):
        other = clip.clone()
        other[:, time] = 1 - other[:, time]
        assert not torch.allclose(forecast, made(other))


@pytest.mark.parametrize("cell", CELLS)
def test_clips_of_a_batch_do_not_see_each_other(cell: CellName):
    made, clip = model(cell=cell), frames(3, 3, 12, 12)
    apart = torch.cat([made(single) for single in clip.split(1)])
    torch.testing.assert_close(made(clip), apart, rtol=1e-4, atol=1e-5)


def test_the_papers_model_has_13_775_137_parameters():
    with torch.device("meta"):
        paper = EncoderForecaster(PAPER_STAGES, out_len=10)
    assert sum(parameter.numel() for parameter in paper.parameters()) == 13_775_137
    assert paper.multiple == 30


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        # Table 1 of Shi et al. 2017 for MovingMNIST++, in millions.
        ("convgru 5", 4.77),
        ("convgru 7", 8.01),
        ("trajgru 9", 3.42),
        ("trajgru 13", 4.00),
    ],
)
def test_cells_are_as_large_as_in_the_benchmarks_paper(cell: str, count: float):
    name, number = cell.split()

    def made(channels: int | None, hidden: int) -> Cell:
        if name == "trajgru":
            return TrajGRU(channels, hidden, int(number))
        return ConvGRU(channels or hidden, hidden, int(number))

    with torch.device("meta"):
        # Its model for 64x64 frames, whose coarsest forecaster has no convolution of an input.
        parts = [
            *(nn.Conv2d(1, 16, 3), made(16, 64), nn.Conv2d(64, 96, 3), made(96, 96)),
            *(nn.Conv2d(96, 96, 3), made(96, 96), made(None, 96), nn.Conv2d(96, 96, 4)),
            *(made(96, 96), nn.Conv2d(96, 96, 4), made(96, 64), nn.Conv2d(64, 16, 3)),
            *(nn.Conv2d(16, 16, 3), nn.Conv2d(16, 1, 1)),
        ]
    idle = 3 * 96 * (9 * 96 + 1) if name == "convgru" else 0
    total = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert round((total - idle) / 1e6, 2) == count


@pytest.mark.parametrize(("cell", "count"), [("trajgru", 11_177_805), ("convlstm", 16_384_417)])
def test_the_other_cells_sizes_in_the_papers_stages(cell: CellName, count: int):
    with torch.device("meta"):
        paper = EncoderForecaster(PAPER_STAGES, 10, cell=cell)
    assert sum(parameter.numel() for parameter in paper.parameters()) == count


def test_the_papers_model_forecasts_ten_frames():
    torch.manual_seed(0)
    paper = EncoderForecaster(PAPER_STAGES, out_len=10).eval()
    with torch.inference_mode():
        assert paper(frames(1, 2, 60, 30)).shape == (1, 10, 1, 60, 30)


@pytest.mark.parametrize(("cell", "dead"), [("convgru", [DEAD]), ("trajgru", []), ("convlstm", [])])
def test_the_dead_weight_alone_gets_no_gradient(cell: CellName, dead: list[str]):
    made = model(cell=cell)
    made(frames(2, 3, 12, 12)).square().mean().backward()
    without = [
        name
        for name, weight in made.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert without == dead
    assert not any(made.get_parameter(name).requires_grad for name in dead)


def test_in_evaluation_other_sizes_are_padded_dry_below_and_to_the_right():
    made, clip = model().eval(), frames(2, 3, 13, 17)
    padded = functional.pad(clip, (0, 1, 0, 5))
    assert padded.shape[-2:] == (18, 18)
    forecast = made(clip)
    assert forecast.shape == (2, 4, 1, 13, 17)
    assert torch.equal(forecast, made(padded)[..., :13, :17])


def test_in_training_another_size_is_an_error():
    made = model().train()
    for height, width in ((13, 12), (12, 16)):
        with pytest.raises(ValueError, match=f"frames of {height}x{width} are no multiple .* 6;"):
            made(frames(1, 2, height, width))


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_is_near_float32(cell: CellName):
    made, clip = model(cell=cell), frames(2, 3, 12, 12)
    exact = made(clip)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = made(clip)
    assert rough.dtype == torch.bfloat16
    assert bool(rough.isfinite().all())
    rounding = 2**-8 * exact.abs().max().item()  # of the forecast itself
    assert 0 < (rough - exact).abs().max().item() < 0.1 * exact.std().item() + rounding
    rough.float().square().mean().backward()
    assert all(
        bool(weight.grad.isfinite().all())
        for weight in made.parameters()
        if weight.grad is not None
    )


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_has_sockets_at_its_gates(cell: CellName):
    assert sorted(sockets(model(cell=cell))) == sorted(
        f"{part}.{number}.{socket}"
        for part in ("encoder", "forecaster")
        for number in (0, 1)
        for socket in SOCKETS[cell]
    )


@pytest.mark.parametrize(
    ("cell", "socket"), [(cell, socket) for cell in CELLS for socket in SOCKETS[cell]]
)
def test_memel_plugs_in_and_changes_nothing_in_evaluation(cell: CellName, socket: str):
    made, clip = model(cell=cell), frames(2, 3, 12, 12)
    before, names = made(clip), set(made.state_dict())
    layers = plug_in(made, [f"*.{socket}"], dry_run=lambda host: host(clip), late_start=1)
    assert len(layers) == 4
    assert layers[f"encoder.0.{socket}"].running_mean.shape == (4, 6, 6)
    assert layers[f"forecaster.1.{socket}"].running_mean.shape == (6, 2, 2)
    assert names < set(made.state_dict())
    assert torch.equal(made.eval()(clip), before)
    made.train()
    made(clip)
    assert not torch.equal(made(clip), before)
    assert torch.isfinite(made(clip)).all()


def test_a_model_in_evaluation_stays_in_evaluation_when_memel_is_plugged_in():
    made, clip = model().eval(), frames(2, 3, 12, 12)
    before = made(clip)
    plug_in(made, ["*.candidate"], dry_run=lambda host: host(clip), late_start=1)
    assert not any(module.training for module in made.modules())
    assert torch.equal(made(clip), before)


@pytest.mark.parametrize("way", ["in C", "torch operations"])
@pytest.mark.parametrize("cell", CELLS)
def test_time_steps_computed_again_train_the_same(
    cell: CellName, way: str, monkeypatch: pytest.MonkeyPatch
):
    if way != "in C":
        monkeypatch.setattr(recurrence, "available", False)
    found = []
    for recompute in (False, True):
        made = model(cell=cell)
        layers = plug_in(made, "*.candidate", dry_run=lambda host: host(frames(1, 3, 12, 18)))
        if recompute:
            recompute_blocks(made)
        for _ in range(3):
            made.zero_grad()
            made(frames(2, 3, 12, 18)).square().sum().backward()
        assert all(layer.num_batches_tracked in (9, 12) for layer in layers.values())
        found.append({name: tensor.grad for name, tensor in made.named_parameters()})
    for name, expected in found[0].items():
        if expected is not None:
            torch.testing.assert_close(found[1][name], expected, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_deconvolution_has_torch_s_gradients(dtype: torch.dtype):
    made = model().up[0][0]
    plain = nn.ConvTranspose2d(4, 3, 4, 2, 1)
    plain.load_state_dict(made.state_dict())
    found = []
    for layer in (made, plain):
        inputs = frames(2, 4, 5, 6)[:, :, 0].requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
            output = layer(inputs)
        assert output.dtype is dtype
        (output.float() * torch.arange(output.shape[-1])).sum().backward()
        found.append([output.detach(), inputs.grad, layer.weight.grad, layer.bias.grad])
    tolerance = 1e-4 if dtype is torch.float32 else 2e-2
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
