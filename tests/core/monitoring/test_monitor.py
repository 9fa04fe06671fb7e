"""The monitor: its numbers against numpy, when it counts, and that it changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nowcast import MEmeL
from nowcast.core.monitoring.monitor import CALLS_AT_ONCE, LOG10_PHI_EDGES, Monitor, unstarted
from nowcast.core.settings import MEmeLSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.displays import TextLines
from nowcast.core.terminal.progress import shown
from nowcast.core.training.trainer import train
from tests.core.toy import ToyBatch, ToyTask


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


def test_a_state_takes_the_place_of_what_was_counted():
    layer = MEmeL((2,), late_start=1)
    monitor = Monitor({"here": layer})
    for _ in range(4):
        layer(torch.randn(4, 2))
    monitor.close()
    twin = Monitor({"here": layer})
    layer(torch.randn(4, 2))
    twin.load_state_dict(monitor.state_dict())
    assert torch.equal(twin.state_dict()["here"], monitor.state_dict()["here"])
    layer(torch.randn(4, 2))
    assert twin.state_dict()["here"].sum() == 16
    assert monitor.state_dict()["here"].sum() == 12


def test_what_was_read_is_not_read_again():
    layer = MEmeL((2,), late_start=1)
    monitor = Monitor({"here": layer})
    monitor.arm()
    for _ in range(3):
        layer(torch.randn(4, 2))
    assert sum(monitor.read()["here"].log10_phi) == 8
    layer(torch.randn(4, 2))
    assert monitor.read()["here"].log10_phi == ()
    monitor.arm()
    layer(torch.randn(4, 2))
    assert sum(monitor.read()["here"].log10_phi) == 8


def test_calls_after_closing_do_not_reach_back():
    layer = MEmeL((2,), late_start=3)
    monitor = Monitor({"here": layer})
    layer(torch.randn(4, 2))
    monitor.close()
    for _ in range(5):  # the layer starts when nobody watches
        layer(torch.randn(4, 2))
    assert monitor.state_dict()["here"].sum() == 0


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_every_inhibited_value_is_counted_whatever_the_batches(convention: str):
    torch.manual_seed(0)
    layer = MEmeL((3, 2, 2), top_k=2, late_start=CALLS_AT_ONCE - 4, convention=convention)
    monitor = Monitor({"here": layer})
    expected = torch.zeros(12, dtype=torch.int64)
    for call in range(2 * CALLS_AT_ONCE):
        values = torch.randn(4 if call % 50 else 3, 3, 2, 2)
        values = values.to(memory_format=torch.channels_last)
        changed = layer(values) != values
        expected += changed.permute(0, 2, 3, 1).flatten(1).sum(0)
        if call in (5, CALLS_AT_ONCE):  # a state that is asked for in between changes nothing
            assert torch.equal(monitor.state_dict()["here"], expected)
    assert torch.equal(monitor.state_dict()["here"], expected)
    assert expected.sum() == 2 * (4 * (CALLS_AT_ONCE + 4) - 1)


def test_the_order_in_memory_and_autocast_change_no_number():
    torch.manual_seed(0)
    values = torch.randn(8, 6, 3, 4, 4) ** 3
    readings = []
    for channels_last, half in ((False, False), (True, False), (True, True)):
        layer = MEmeL((3, 4, 4), late_start=1)
        monitor = Monitor({"here": layer})
        monitor.arm()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            for batch in values:
                layer(batch.to(memory_format=torch.channels_last) if channels_last else batch)
        readings.append(monitor.read()["here"])
    for other in readings[1:]:
        assert other.numbers == pytest.approx(readings[0].numbers, rel=1e-5)
        assert other.log10_phi == readings[0].log10_phi


def test_normal_activations_have_the_tail_of_a_normal_distribution():
    torch.manual_seed(0)
    layer = MEmeL((500,), forget_steps=1000)
    monitor = Monitor({"here": layer})
    for call in range(60):
        if call == 50:
            monitor.arm()
        layer(5 + 2 * torch.randn(100, 500))
    numbers = monitor.read()["here"].numbers
    assert numbers["tail"] == pytest.approx(3, rel=0.01)
    assert numbers["mean_phi"] == pytest.approx(1 / 1.01, rel=0.01)  # eps


def test_phi_that_is_no_number_is_left_out():
    layer = MEmeL((3,), late_start=1)
    monitor = Monitor({"here": layer})
    for _ in range(4):
        layer(torch.randn(5, 3))
    monitor.arm()
    layer(torch.tensor([[1.0, float("nan"), 2.0]]))
    reading = monitor.read()["here"]
    assert reading.numbers.keys() == {"fraction_inhibited", "pick_entropy"}
    assert reading.log10_phi == ()


def test_a_layer_without_shape_or_watched_already_is_refused():
    with pytest.raises(ValueError, match="at here has not known its neurons' shape"):
        Monitor({"here": MEmeL(None)})
    layer = MEmeL((2,))
    first = Monitor({"here": layer})
    with pytest.raises(ValueError, match="at here has an observer"):
        Monitor({"here": layer})
    first.close()
    Monitor({"here": layer})


def settings(monitor: bool, steps: int = 8) -> RunSettings:
    return RunSettings(
        task="toy",
        train=TrainSettings(steps=steps, batch_size=8, validate_every=4, log_every=2),
        memel=MEmeLSettings(late_start=3, forget_steps=3, monitor=monitor),
    )


def test_it_changes_nothing_and_writes_its_tags(tmp_path: Path):
    for monitor in (True, False):
        chosen = settings(monitor)
        train(ToyTask(chosen), chosen, Run(tmp_path / str(monitor)), Ranks())
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


def test_a_site_that_never_began_is_told(tmp_path: Path):
    chosen = settings(True, steps=2)
    said: list[str] = []
    with shown(TextLines(said.append)):
        train(ToyTask(chosen), chosen, Run(tmp_path / "run"), Ranks())
    assert "hidden (2 batches seen" in said[-1]


def test_on_only_logged_steps_measure_and_off_there_is_no_observer(tmp_path: Path):
    class Looks(ToyTask):
        def loss(self, model, batch):
            self.observers.append(model.hidden.observer)
            watching = self.observers[-1] is not None
            self.armed.append(watching and self.observers[-1].__self__.measured is not None)
            return super().loss(model, batch)

    for monitor in (True, False):
        chosen = settings(monitor, steps=5)
        task = Looks(chosen)
        task.observers, task.armed = [], []
        train(task, chosen, Run(tmp_path / str(monitor)), Ranks())
        assert [observer is not None for observer in task.observers] == [monitor] * 5
        # Every second step is logged, and the last.
        assert task.armed == ([False, True, False, True, True] if monitor else [False] * 5)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if name.startswith("memel/")]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_a_resumed_run_reports_what_an_uninterrupted_one_does(tmp_path: Path):
    class Dies(ToyTask):
        def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
            for number, batch in enumerate(super().training_batches(start, ranks), start=start):
                if number == 7:  # after a reading at 6 that the resumed run does again
                    raise KeyError("as if killed")
                yield batch

    chosen = settings(True, steps=12)
    train(ToyTask(chosen), chosen, Run(tmp_path / "whole"), Ranks())
    died = Run(tmp_path / "died")
    with pytest.raises(KeyError):
        train(Dies(chosen), chosen, died, Ranks())
    train(ToyTask(chosen), chosen, died, Ranks())
    whole = scalars(tmp_path / "whole")
    assert [step for step, _ in whole["memel/hidden/fraction_inhibited"]] == [2, 4, 6, 8, 10, 12]
    assert scalars(died.folder) == whole


def test_a_state_from_before_there_was_a_monitor_still_loads(tmp_path: Path):
    run = Run(tmp_path / "run")
    chosen = settings(True)
    train(ToyTask(chosen), chosen, run, Ranks())
    run.result_file.unlink()
    state = torch.load(run.last_state, weights_only=True)
    del state["monitor"]
    state["progress"]["step"] = 4
    torch.save(state, run.last_state)
    train(ToyTask(chosen), chosen, run, Ranks())
    assert torch.load(run.last_state, weights_only=True)["monitor"]["hidden"].sum() == 4 * 8
