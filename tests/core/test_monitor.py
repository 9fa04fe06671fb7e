"""The monitor: its numbers against numpy, when it counts, and that it changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy import ToyTask

from nowcast import MEmeL
from nowcast.core.distributed import Ranks
from nowcast.core.monitor import BIN_EDGES, Monitor
from nowcast.core.runs import Run
from nowcast.core.settings import MEmeLSettings, RunSettings, TrainSettings
from nowcast.core.trainer import train


def test_numbers_by_hand():
    torch.manual_seed(0)
    layer = MEmeL((4, 3), late_start=2)
    monitor = Monitor({"here": layer})
    monitor.arm(True)
    scales, picks = [], []
    for call in range(6):
        values = torch.randn(5, 4, 3)
        mean, var = layer.running_mean.clone(), layer.running_var.clone()
        changed = layer(values) != values
        if call:
            scales.append(((values - mean) ** 2 / (var + 0.01 * var.mean())).numpy())
            picks.append(changed.numpy().reshape(5, -1))
        else:
            monitor.read()  # the first call has no statistics to be measured in
    reading = monitor.read()["here"]
    phi, picked = np.concatenate(scales), np.concatenate(picks).sum(0)
    assert picked.sum() == 4 * 5  # late_start 2: calls 2 to 5 of six
    share = picked[picked > 0] / picked.sum()
    assert reading.numbers == pytest.approx(
        {
            "mean_phi": phi.mean(),
            "top_phi": phi.reshape(25, -1).max(1).mean(),
            "tail": (phi**2).mean() / phi.mean() ** 2,
            "inhibited_share": (picked > 0).mean(),
            "pick_entropy": -(share * np.log(share)).sum() / np.log(12),
        },
        rel=1e-4,
    )
    expected = np.histogram(np.log10(phi.clip(1e-6, 1e6)), BIN_EDGES)[0]
    assert np.abs(reading.histogram - expected).sum() <= 2  # a value on an edge
    assert reading.histogram.sum() == phi.size


def test_zero_scale_and_nothing_picked_give_no_made_up_numbers():
    layer = MEmeL((2,), late_start=50)
    monitor = Monitor({"here": layer})
    monitor.arm(True)
    layer(torch.zeros(3, 2))
    reading = monitor.read()["here"]
    assert reading.numbers == {"mean_phi": 0.0, "top_phi": 0.0}
    assert reading.histogram[0] == reading.histogram.sum() == 6
    assert monitor.idle() == ["here (1 of 50 batches seen)"]


def test_unarmed_it_only_counts_and_closed_it_is_gone():
    layer = MEmeL((2,), late_start=1)
    monitor = Monitor({"here": layer})
    for _ in range(3):
        layer(torch.randn(4, 2))
    assert monitor.read() == {}
    assert monitor.state()["here"].sum() == 8
    twin = Monitor({"here": layer})
    twin.load(monitor.state())
    assert torch.equal(twin.state()["here"], monitor.state()["here"])
    twin.close()
    assert layer.observer is None


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
    expected = {"mean_phi", "top_phi", "tail", "inhibited_share", "pick_entropy"}
    assert {f"memel/hidden/{name}" for name in expected} <= set(tags["True"]["scalars"])
    assert tags["True"]["histograms"] == ["memel/hidden/log10_phi"]
    assert not any(tag.startswith("memel/") for tag in tags["False"]["scalars"])


def test_a_site_that_never_began_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    chosen = settings(True, steps=2)
    train(ToyTask(chosen), chosen, Run(tmp_path / "run"), Ranks(), shown=False)
    assert "hidden (2 of 3 batches seen)" in capsys.readouterr().err
