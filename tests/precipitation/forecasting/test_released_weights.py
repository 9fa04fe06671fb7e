"""Weights that come with the package: found by name, and with nothing of where they were made."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from nowcast.core.errors import ConfigError
from nowcast.core.storage.runs import Run
from nowcast.core.training.checkpoint import load_weights
from nowcast.precipitation.clips.trained_on import trained_on
from nowcast.precipitation.forecasting.frames_needed import least_of_run
from nowcast.precipitation.forecasting.released import weights
from nowcast.precipitation.forecasting.released.weights import CARD, located, shipped
from nowcast.precipitation.settings import DataSettings, PrecipitationSettings
from scripts.release.ship import ship
from tests.tiny_runs import write_run

pytestmark = pytest.mark.isa

LARGEST_BYTES = 6_000_000


def test_a_run_is_shipped_without_its_places_and_forecasts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    choice, bare = write_run(tmp_path / "run", root=str(tmp_path / "archive"))
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "released")
    assert shipped() == []
    ship(Run(tmp_path / "run"), tmp_path / "released" / "name")
    assert shipped() == ["name"]
    found = located("name")
    assert str(tmp_path) not in found.config_file.read_text()
    with safe_open(found.best_weights, framework="pt") as file:
        assert str(tmp_path) not in str(file.metadata())
        assert set(file.keys()) == set(bare.state_dict())  # nothing of MEmeL
    model = choice.settings.model.build(10, 3).eval()
    load_weights(found.best_weights, model)
    frames = torch.rand(1, 4, 1, 16, 16)
    assert torch.equal(model(frames), bare(frames))


def test_what_a_run_saw_is_shipped_with_it(tmp_path: Path, synthetic: Path):
    write_run(tmp_path / "run", root=str(synthetic))
    shipped_run = ship(Run(tmp_path / "run"), tmp_path / "released")
    seen = trained_on(shipped_run, DataSettings())
    assert seen is not None
    assert (seen.step_minutes, seen.in_lens, seen.out_lens) == (6, (4,), (3,))
    again = ship(shipped_run, tmp_path / "again")  # where no archive is
    assert trained_on(again, DataSettings()) == seen
    assert str(tmp_path) not in again.trained_on_file.read_text()


def test_neither_a_name_nor_a_run():
    with pytest.raises(ConfigError, match=r"expected one of .* or the folder of a finished run"):
        located("no-such-weights")


@pytest.mark.parametrize("name", shipped())
def test_what_ships_is_small_has_a_card_and_loads(name: str):
    run = located(name)
    assert run.best_weights.stat().st_size <= LARGEST_BYTES
    seen = trained_on(run, DataSettings())
    assert seen is not None and (seen.step_minutes, seen.pixel_km) == (5, (1.0, 4.4))
    assert least_of_run(run, DataSettings()) == 5
    card = (run.folder / CARD).read_text()
    for part in ("Data", "Recipe", "Seeds", "Scores", "Limits", "Licence", "Date", "Command"):
        assert f"## {part}" in card, part
    settings = PrecipitationSettings.model_validate(run.config(), context={"evaluating": True})
    model = settings.model.build(settings.data.in_len, settings.data.out_len).eval()
    load_weights(run.best_weights, model)
    rain = torch.zeros(1, settings.data.in_len, 1, 50, 61)
    rain[..., 20:30, 20:30] = 0.5
    with torch.inference_mode():
        assert bool(model(rain).isfinite().all())
