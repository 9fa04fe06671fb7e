"""The monitor: its numbers against numpy, when it counts, and that it changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy import ToyTask

from nowcast import MEmeL
from nowcast.core.distributed import Ranks
from nowcast.core.monitor import LOG10_PHI_EDGES, Monitor, unstarted
from nowcast.core.runs import Run
from nowcast.core.settings import MEmeLSettings, RunSettings, TrainSettings
from nowcast.core.trainer import train


def test_numbers_by_hand():
    torch.manual_seed(0)
    layer = MEmeL((4, 3), late_start=2)
    monitor = Monitor({"here": layer})
    monitor.arm()
    scales, picks = [], []
    for call in range(6):
        values = torch.randn(5, 4, 3)
        mean, var = layer.running_mean.clone(), layer.running_var.clone()
        changed = layer(values) != values
        if call > 1:  # the first calls have no variance to be measured in
            scales.append(((values - mean) ** 2 / (var + 0.01 * var.mean())).numpy())
            picks.append(changed.numpy().reshape(5, -1))
    reading = monitor.read()["here"]
    phi, picked = np.concatenate(scales), np.concatenate(picks).sum(0)
    assert picked.sum() == 4 * 5  # late_start 2: calls 2 to 5 of six
    share = picked[picked > 0] / picked.sum()
    assert reading.numbers == pytest.approx(
        {
            "mean_phi": phi.mean(),
            "top_phi": phi.reshape(20, -1).max(1).mean(),
            "tail": (phi**2).mean() / phi.mean() ** 2,
            "fraction_inhibited": (picked > 0).mean(),
            "pick_entropy": -(share * np.log(share)).sum() / np.log(12),
        },
        rel=1e-4,
    )
    edges = np.array(LOG10_PHI_EDGES)
    expected = np.histogram(np.log10(phi).clip(edges[0], edges[-1]), edges)[0]
    assert np.abs(np.array(reading.log10_phi) - expected).sum() <= 2  # a value on an edge
    assert sum(reading.log10_phi) == phi.size


def test_zero_scale_and_nothing_picked_give_no_made_up_numbers():
    layer = MEmeL((2,), late_start=50)
    monitor = Monitor({"here": layer})
    monitor.arm()
    for _ in range(3):
        layer(torch.zeros(3, 2))
    reading = monitor.read()["here"]
    assert reading.numbers == {"mean_phi": 0.0, "top_phi": 0.0, "fraction_inhibited": 0.0}
    assert reading.log10_phi[0] == sum(reading.log10_phi) == 6
    assert unstarted({"here": layer}) == ["here (3 batches seen, late_start 50)"]


def test_unarmed_it_only_counts_and_closed_it_is_gone():
    layer = MEmeL((2,), late_start=1)
    monitor = Monitor({"here": layer})
    for _ in range(3):
        layer(torch.randn(4, 2))
    assert "mean_phi" not in monitor.read()["here"].numbers
    assert monitor.state_dict()["here"].sum() == 8
    monitor.close()
    assert layer.observer is None
    twin = Monitor({"here": layer})
    twin.load_state_dict(monitor.state_dict())
    assert torch.equal(twin.state_dict()["here"], monitor.state_dict()["here"])
    layer(torch.randn(4, 2))
    assert twin.state_dict()["here"].sum() == 12


def settings(monitor: bool, steps: int = 8) -> RunSettings:
    return RunSettings(
        task="toy",
        train=TrainSettings(steps=steps, batch_size=8, validate_every=4, log_every=2),
        memel=MEmeLSettings(late_start=3, forget_steps=3, monitor=monitor),
    )


def test_it_changes_nothing_and_writes_its_tags(tmp_path: Path):
    for monitor in (True, False):
        chosen = settings(monitor)
        train(ToyTask(chosen), chosen, Run(tmp_path / str(monitor)), Ranks(), shown=False)
    states = [
        torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("True", "False")
    ]
    for name, value in states[0]["model"].items():
        assert torch.equal(states[1]["model"][name], value)
    assert states[0]["monitor"]["hidden"].sum() == 5 * 8
    assert states[1]["monitor"] == {}
    tags = {}
    for name in ("True", "False"):
        events = EventAccumulator(str(tmp_path / name))
        events.Reload()
        tags[name] = events.Tags()
    expected = {"mean_phi", "top_phi", "tail", "fraction_inhibited", "pick_entropy"}
    assert {f"memel/hidden/{name}" for name in expected} <= set(tags["True"]["scalars"])
    assert tags["True"]["histograms"] == ["memel/hidden/log10_phi"]
    assert not any(tag.startswith("memel/") for tag in tags["False"]["scalars"])


def test_a_site_that_never_began_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    chosen = settings(True, steps=2)
    train(ToyTask(chosen), chosen, Run(tmp_path / "run"), Ranks(), shown=False)
    assert "hidden (2 batches seen" in " ".join(capsys.readouterr().err.split())
