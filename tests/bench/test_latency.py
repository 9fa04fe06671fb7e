"""Latency: the networks are those of the configs, the rain moves, and S-PROG may be missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from nowcast import registry
from nowcast.api import config
from nowcast.core.errors import RunError
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from scripts.bench import latency
from scripts.bench.benchmark import Asked
from scripts.bench.latency import (
    CONVGRU,
    FLOW,
    LAGRANGIAN,
    NETWORKS,
    SPROG,
    TRAJGRU,
    make,
    measure,
    moving_rain,
    network,
)
from tests import ROOT
from tests.bench.here import Here

CONFIGS = ROOT / "configs" / "precipitation"


@pytest.mark.parametrize(
    ("name", "file", "changes"),
    [
        (CONVGRU, "hko7_benchmark.yaml", {}),
        (TRAJGRU, "trajgru.yaml", {}),
        # Lagrangian at the size of the others.
        (LAGRANGIAN, "hko7_table5.yaml", {"model.lagrangian": True, "data.crop": None}),
    ],
)
def test_networks_are_those_of_the_configs(
    name: str, file: str, changes: dict[str, object], synthetic: Path
):
    content = config.overridden(
        config.read(CONFIGS / file), {"data.root": str(synthetic), **changes}
    )
    content.pop("compare", None)
    settings = config.validate(registry.settings_class("precipitation"), content, file)
    assert isinstance(settings, PrecipitationSettings)
    configured = PrecipitationTask(settings).model()
    with torch.device("meta"):
        ours = network(name, settings.data.out_len)
    assert repr(ours) == repr(configured)
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in configured.state_dict().items()
    }


def test_rain_moves_through_every_frame():
    clip = moving_rain(60, 5)
    assert clip.shape == (1, 5, 1, 60, 60)
    assert (clip > 0).float().mean(dim=(0, 2, 3, 4)).min() >= 0.1
    assert clip.max() <= 1
    still = (clip[:, 1:] - clip[:, :-1]).abs().mean()
    assert 0 < still < clip.mean()
    assert torch.equal(clip, moving_rain(60, 5))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_forecast_without_gradients_in_their_precision(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[torch.dtype, bool]] = []
    original = latency.network

    def watched(name: str, out_len: int) -> torch.nn.Module:
        model = original(name, out_len)
        head = next(part for path, part in model.named_modules() if path.endswith("head"))
        head.register_forward_hook(
            lambda _, __, output: seen.append((output.dtype, output.is_inference()))
        )
        return model

    monkeypatch.setattr(latency, "network", watched)
    for precision in ("fp32", "bf16"):
        make(name, precision, torch.rand(1, 2, 1, 30, 30), 2)()
    assert set(seen) == {(torch.float32, True), (torch.bfloat16, True)}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pysteps") is None, reason="needs pysteps")
def test_forecasters_take_turns_with_sprog():
    asked = Asked(threads=[1], pairs=2)
    flow, sprog = measure(asked, size=60, in_len=3, out_len=2, forecasters=[FLOW])
    assert (flow["forecaster"], sprog["forecaster"]) == (FLOW, SPROG)
    assert len(flow["seconds"]) == len(sprog["seconds"]) == 2
    assert 0 < flow["memory_mib"] < sprog["memory_mib"]
    ratio, low, high = flow["faster"]
    assert low <= ratio <= high
    assert sprog["faster"] is None


@pytest.mark.skipif(find_spec("pysteps") is None, reason="needs pysteps")
@pytest.mark.filterwarnings("ignore:sprog:UserWarning")
def test_extrapolation_does_not_pass_for_sprog():
    dry = torch.zeros(1, 3, 1, 60, 60)
    dry[0, -1, 0, 20:40, 20:40] = 0.5
    with pytest.raises(RunError, match="extrapolation in its place"):
        make(SPROG, None, dry, 2)()


def test_without_pysteps_the_table_says_so(monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def here(make: Callable[..., Callable[[], None]], *args: object, **_: object) -> Iterator[Here]:
        yield Here(make(*args))

    monkeypatch.setattr(latency, "find_spec", lambda _: None)
    monkeypatch.setattr(latency, "apart", here)
    asked = Asked(threads=[1], pairs=2)
    rows = measure(asked, size=30, in_len=2, out_len=2, forecasters=[CONVGRU, FLOW])
    assert [(row["forecaster"], row["precision"]) for row in rows] == [
        (CONVGRU, "fp32"),
        (CONVGRU, "bf16"),
        (FLOW, None),
    ]
    assert all(row["faster"] is None and len(row["seconds"]) == 2 for row in rows)
    text = latency.BENCHMARK.table(rows)
    assert "S-PROG is left out" in text
    assert "30x30 pixels, 2 -> 2 frames. Threads of torch and OpenCV: 1;" in text
