from pathlib import Path

import pytest
import torch

from nowcast.core.errors import RunError
from nowcast.core.training.checkpoint import load_weights, save_weights
from nowcast.precipitation.forecasters.comoving.ensemble import (
    HEADROOM,
    ComovingEnsemble,
    ComovingEnsembleSettings,
)
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.settings import as_ensemble
from tests.precipitation.forecasters.test_comoving import SMALL, moving_rain


def made(out_len: int = 3) -> ComovingEnsemble:
    torch.manual_seed(0)
    return ComovingEnsemble(out_len, widths=SMALL, member_count=6).eval()


def test_it_is_an_ensemble_with_the_members_of_its_settings():
    settings = ComovingEnsembleSettings(**SMALL.model_dump(), members=5)
    model = settings.build(5, 3)
    assert as_ensemble(model) is model
    members = model.members(moving_rain())
    assert members.shape == (2, 5, 3, 1, 48, 64)
    assert members.min() >= 0 and members.max() <= 1


def test_a_member_depends_on_its_seed_alone():
    model, frames = made(), moving_rain()
    members = model.members(frames)
    assert torch.equal(model.members(frames), members)
    torch.testing.assert_close(model.members(frames, count=2), members[:, :2], rtol=0, atol=1e-5)
    torch.testing.assert_close(model.members(frames[1:]), members[1:], rtol=0, atol=1e-5)
    assert (model.members(frames, seed=1) - members).abs().mean() > 1e-3
    spread = members.std(dim=1)
    assert spread.mean() > 1e-3


def test_it_begins_with_the_weights_of_the_forecaster_without_members(tmp_path: Path):
    torch.manual_seed(1)
    alone, model, frames = Comoving(3, widths=SMALL).eval(), made(), moving_rain()
    with torch.no_grad():  # weights that say something
        for weight in (alone.network.head.weight, alone.network.correction.added.weight):
            weight += 0.02 * torch.randn(weight.shape)
    save_weights(tmp_path / "alone", alone, {})
    load_weights(tmp_path / "alone", model)
    forecast, member = model.drawn(frames, None, calm, and_forecast=True).unbind(1)
    torch.testing.assert_close(member, forecast, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(frames), alone(frames), rtol=0, atol=1e-6)
    assert model.members(frames).std(dim=1).mean() > 1e-3
    save_weights(tmp_path / "members", model, {})
    other = made()
    load_weights(tmp_path / "members", other)
    assert torch.equal(other.members(frames), model.members(frames))
    with pytest.raises(RunError, match="weights of another model"):
        load_weights(tmp_path / "members", alone)


def calm(height: int, width: int) -> torch.Tensor:
    return torch.zeros(2, 1, height, width)


def test_the_first_weights_without_noise_give_the_comoving_forecast():
    model, frames = made(), moving_rain()
    forecast, member = model.drawn(frames, None, calm, and_forecast=True).unbind(1)
    assert torch.equal(forecast, model(frames))
    torch.testing.assert_close(member, forecast, rtol=0, atol=1e-5)


def test_members_are_corrected_apart_from_the_forecast():
    model, frames = made(), moving_rain()
    forecast, member = model.drawn(frames, None, calm, and_forecast=True).unbind(1)
    with torch.no_grad():
        model.network.of_members.added.bias += 0.1
    kept, moved = model.drawn(frames, None, calm, and_forecast=True).unbind(1)
    assert torch.equal(kept, forecast)
    assert (moved - member).mean() > 0.01


def test_the_levels_of_eight_bits_do_as_well():
    model = made()
    levels = (255 * moving_rain()).round().to(torch.uint8)
    whole = model.members(levels.float() / 255)
    torch.testing.assert_close(model.members(levels), whole, rtol=0, atol=1e-5)


def test_dry_frames_give_dry_members():
    assert made().members(torch.zeros(1, 5, 1, 48, 64)).max() < 0.05  # dry is below 0.17


def test_no_member_is_far_above_what_the_input_allows():
    model, frames = made(), moving_rain()
    torch.nn.init.constant_(model.network.everywhere.bias[-3:], 5.0)
    assert model.members(frames).max() <= frames.max() + HEADROOM + 0.05


def test_noise_and_its_memory_learn():
    model = made(4)
    members = model.drawn(moving_rain(), None, lambda high, wide: torch.randn(2, 3, high, wide))
    members.var(dim=1).sum().backward()
    network = model.network
    for weight in (network.memory.bias, network.head.weight, network.everywhere.weight):
        assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_one_forecast_stands_for_its_members():
    model, frames = made(), moving_rain()
    members = model.members(frames)
    assert torch.equal(model.single(members, frames), model(frames))
