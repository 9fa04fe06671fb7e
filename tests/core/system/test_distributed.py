"""Several gloo processes do what one process does on the union of their batches."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nowcast import MEmeL, registry
from nowcast.api import config
from nowcast.core.errors import ConfigError, NowcastError, RunError
from nowcast.core.execution.signals import Interrupted
from nowcast.core.monitoring.monitor import Monitor
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import (
    Ranks,
    file_from_main,
    from_main,
    losses_told,
    sum_over_ranks,
)
from nowcast.core.training.evaluate import evaluate, evaluate_blocks
from nowcast.core.training.task import Task
from nowcast.core.training.trainer import train, trained_model
from tests import ROOT
from tests.core.ranks import in_ranks
from tests.core.toy import ToyBatch, ToyTask

CPU = torch.device("cpu")
SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"


SMALLER = {"data.random_crop": [32, 32], "data.in_len": 3, "data.out_len": 3}
NEVER = 1000


def toy_settings(**changes: Any) -> RunSettings:
    return RunSettings(
        task="toy",
        train=TrainSettings(steps=50, batch_size=8, validate_every=25, log_every=1),
        optim=OptimSettings(lr=0.02),
        memel=MEmeLSettings(late_start=3, forget_steps=5),
    ).model_copy(update=changes)


def smoke_task(archive: Path, **changes: Any) -> Task:
    content = config.overridden(config.read(SMOKE), {"data.root": str(archive), **changes})
    settings = config.validate(registry.settings_class("precipitation"), content, str(SMOKE))
    return registry.build(settings)


def losses(run: Run) -> dict[int, float]:
    return {entry["step"]: entry["loss"] for entry in run.history() if "loss" in entry}


def furthest(one: dict[Any, float], other: dict[Any, float]) -> float:
    assert one.keys() == other.keys()
    return max(abs(one[key] - other[key]) for key in one)


def learn_and_look(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """What MEmeL, its monitor, the loop and the scores come to on this rank."""
    layer = MEmeL((3,), late_start=1)
    values = torch.arange(30.0).view(10, 3).sin() ** 3
    share = values[:7] if ranks.rank == 0 else values[7:]  # uneven
    share = values if ranks.size == 1 else share
    layer(share)
    chosen = layer(share) != share
    # Channels innermost, until both phases are long past; now and then a rank has no samples.
    spatial = MEmeL((2, 3, 2), late_start=2, forget_steps=3)
    for step in range(12):
        batch = (torch.arange(60.0).view(5, 2, 3, 2) * (step + 1)).sin() ** 3
        kept = 5 if step % 3 else 2
        mine = batch if ranks.size == 1 else batch[:kept] if ranks.rank == 0 else batch[kept:]
        edited = spatial(mine.to(memory_format=torch.channels_last))
    counted_late = ranks.size - 1  # over several ranks, the last batch is by now under way
    assert int(spatial.num_batches_tracked) == 12 - counted_late
    layer.settle()
    spatial.eval()  # which settles too
    mean, var = spatial.running_mean, spatial.running_var
    apart = float((sum_over_ranks(mean.clone()) / ranks.size - mean).abs().max())
    monitor = Monitor({"it": layer})
    monitor.load_state_dict({"it": torch.tensor([5, 0, 7])})
    run, settings = Run(folder), toy_settings()
    task = ToyTask(settings)
    train(task, settings, run, ranks)
    model = trained_model(task, settings, run)
    scores = evaluate(task, model, "valid", ranks, CPU)
    blocks = evaluate_blocks(task, model, "valid", ranks, CPU)
    return {
        "mean": layer.running_mean.tolist(),
        "var": layer.running_var.tolist(),
        "chosen": chosen[:7].tolist(),
        "error": scores.values["error"],
        "spatial": [mean.tolist(), var.tolist()],
        "apart": apart,
        "samples": int(spatial.num_samples_tracked),
        "last": edited.tolist(),
        "loaded": monitor.state_dict()["it"].tolist(),
        "blocks": {name: float(sums["error"][0]) for name, sums in blocks.items()},
    }


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Run, dict[str, Any]]]:
    found = {}
    for size in (1, 2):
        folder = tmp_path_factory.mktemp("ranks") / f"{size}"
        found[size] = Run(folder), in_ranks(size, learn_and_look, folder)[0]
    return found


def test_memel_takes_the_statistics_of_the_union(outcomes):
    one, two = outcomes[1][1], outcomes[2][1]
    torch.testing.assert_close(torch.tensor(two["mean"]), torch.tensor(one["mean"]))
    torch.testing.assert_close(torch.tensor(two["var"]), torch.tensor(one["var"]))
    assert two["chosen"] == one["chosen"]
    assert any(any(row) for row in one["chosen"])


def test_a_rank_without_samples_takes_part_and_keeps_the_order_in_memory(outcomes):
    one, two = outcomes[1][1], outcomes[2][1]
    torch.testing.assert_close(torch.tensor(two["spatial"]), torch.tensor(one["spatial"]))
    assert two["apart"] < 1e-6
    assert two["samples"] == one["samples"] == 60
    torch.testing.assert_close(torch.tensor(two["last"]), torch.tensor(one["last"]))


def test_training_and_scores_are_those_of_one_process(outcomes):
    (one, _), (two, _) = outcomes.values()
    states = [torch.load(run.last_state, weights_only=True)["model"] for run in (one, two)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)
    assert outcomes[2][1]["error"] == pytest.approx(outcomes[1][1]["error"], rel=1e-4)
    assert len(losses(one)) == 50
    assert furthest(losses(one), losses(two)) < 1e-5


def test_the_monitor_counts_and_measures_what_all_ranks_saw(outcomes):
    picks, readings = [], []
    for run, _ in outcomes.values():
        picks.append(torch.load(run.last_state, weights_only=True)["monitor"]["hidden"])
        events = EventAccumulator(str(run.folder))
        events.Reload()
        names = [name for name in events.Tags()["scalars"] if name.startswith("memel/")]
        readings.append({name: events.Scalars(name)[-1].value for name in names})
    assert torch.equal(picks[0], picks[1])
    assert picks[0].sum() == (50 - 3) * 8
    assert readings[1] == pytest.approx(readings[0], rel=1e-3)
    assert len(readings[0]) == 5
    assert outcomes[1][1]["loaded"] == outcomes[2][1]["loaded"] == [5, 0, 7]


def test_the_blocks_of_both_ranks_are_those_of_one(outcomes):
    one, two = (seen["blocks"] for _, seen in outcomes.values())
    assert list(one) == list(two)
    assert two == pytest.approx(one, rel=1e-4)


RAIN_STEPS = 24  # twice MEmeL's late start and more


def learn_rain(ranks: Ranks, archive: Path, folders: Path) -> None:
    loop = {"train.steps": RAIN_STEPS, "train.validate_every": RAIN_STEPS, "train.log_every": 1}
    task = smoke_task(archive, **loop, **SMALLER)
    train(task, task.settings, Run(folders / f"of_{ranks.size}"), ranks)


def test_the_loss_curve_of_rain_with_memel_is_that_of_one_process(synthetic: Path, tmp_path: Path):
    one, two = Run(tmp_path / "of_1"), Run(tmp_path / "of_2")
    for size in (1, 2):
        assert in_ranks(size, learn_rain, synthetic, tmp_path) == [None] * size
    assert len(losses(one)) == RAIN_STEPS
    assert furthest(losses(one), losses(two)) < 1e-5
    picks = torch.load(two.last_state, weights_only=True)["monitor"]
    assert len(picks) == 4  # a candidate in each of two stages, twice
    assert all(site.sum() > 0 for site in picks.values())


def score_rain(ranks: Ranks, archive: Path) -> tuple[list[str], dict[str, float]]:
    # Each rank scores one clip at a time: a convolution rounds a larger batch otherwise.
    task = smoke_task(archive, **{"data.stride": 21, "train.batch_size": ranks.size})
    names = [name for batch in task.evaluation_batches("valid", ranks) for name in batch.names()]
    torch.manual_seed(0)
    scores = evaluate(task, task.model(), "valid", ranks, CPU).values
    return names, {name: score for name, score in scores.items() if score is not None}


@pytest.mark.parametrize("size", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_every_clip_is_scored_once_by_any_number_of_ranks(synthetic: Path, size: int):
    [(names, scores)] = in_ranks(1, score_rain, synthetic)
    assert len(set(names)) == len(names)
    assert len(names) % size, "the shares must be uneven to show anything"
    shares = in_ranks(size, score_rain, synthetic)
    assert sorted(name for share, _ in shares for name in share) == sorted(names)
    for _, found in shares:
        assert found == pytest.approx(scores, rel=1e-12, abs=0)
    assert scores["b_mse"] > 0


def say(ranks: Ranks, folder: Path) -> tuple[bytes, bytes, bytes, list[str]]:
    mine = folder / str(ranks.rank)
    mine.mkdir()
    if ranks.is_main:
        (mine / "state").write_bytes(b"step 7")
    raised = []
    for kind in (ConfigError, RunError):

        def fail(kind: type[NowcastError] = kind) -> bytes:
            raise kind("this cannot be")

        try:
            from_main(fail)
        except NowcastError as error:
            raised.append(f"{type(error).__name__}: {error}")
    absent = file_from_main(mine / "nothing")
    return from_main(lambda: b"said"), file_from_main(mine / "state"), absent, raised


def test_what_the_first_rank_reads_or_raises_all_ranks_do(tmp_path: Path):
    said, heard = in_ranks(2, say, tmp_path)
    assert said[:3] == heard[:3] == (b"said", b"step 7", b"")
    assert said[3] == ["ConfigError: this cannot be", "RunError: this cannot be"]
    assert heard[3] == ["ConfigError: rank 0: this cannot be", "RunError: rank 0: this cannot be"]
    assert from_main(lambda: b"alone") == b"alone"


def look_for_another_ranks_file(ranks: Ranks, folder: Path) -> bytes:
    mine = folder / str(ranks.rank)
    mine.mkdir()
    if not ranks.is_main:
        (mine / "last.pt").write_bytes(b"step 7")
    return file_from_main(mine / "last.pt")


def test_a_file_that_another_rank_alone_has_is_an_error_on_all(tmp_path: Path):
    for found in in_ranks(2, look_for_another_ranks_file, tmp_path):
        assert isinstance(found, RunError)
        assert "expected it where rank 0 runs, found it on another machine" in str(found)


class Loses(ToyTask):
    """The second rank falls silent while the batch of a step is read, and dies later."""

    def __init__(self, settings: RunSettings, step: int, silent_seconds: float) -> None:
        super().__init__(settings)
        self.step, self.silent_seconds = step, silent_seconds

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(super().training_batches(start, ranks), start=start):
            if number == self.step and ranks.rank == 1:
                time.sleep(self.silent_seconds)
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def learn_until(ranks: Ranks, folder: Path, step: int, silent_seconds: float) -> None:
    mine = folder if ranks.is_main else folder.with_name("another machine")
    train(Loses(toy_settings(), step, silent_seconds), toy_settings(), Run(mine), ranks)


@pytest.mark.parametrize(
    ("silent_seconds", "patience", "reason"),
    [(0, 60, "by peer"), pytest.param(20, 8, "Timed out waiting", marks=pytest.mark.slow)],
)
def test_a_lost_rank_is_told_and_the_same_call_goes_on_to_the_bit(
    outcomes, tmp_path: Path, silent_seconds: float, patience: float, reason: str
):
    whole, broken = outcomes[2][0], Run(tmp_path / "broken")
    told, dead = in_ranks(
        2, learn_until, broken.folder, 33, silent_seconds, timeout=timedelta(seconds=patience)
    )
    assert dead is None
    assert isinstance(told, RunError)
    assert "rank 0 of 2 has lost another rank" in str(told)
    assert reason in str(told)
    assert f"{broken.folder}: the same command goes on from step 25" in str(told)
    assert in_ranks(2, learn_until, broken.folder, NEVER, 0) == [None, None]
    assert broken.history() == whole.history()
    assert broken.best_weights.read_bytes() == whole.best_weights.read_bytes()
    assert not (tmp_path / "another machine").exists()


def fine_tune(ranks: Ranks, folder: Path) -> None:
    parent = folder if ranks.is_main else folder / "is not on this machine"
    settings = toy_settings(start_from=parent, train=TrainSettings(steps=1, batch_size=8))
    train(ToyTask(settings), settings, Run(folder.with_name(f"tuned_by_{ranks.size}")), ranks)


def test_the_first_rank_alone_need_see_the_weights_to_start_from(outcomes):
    parent = outcomes[1][0].folder
    for size in (1, 2):
        assert in_ranks(size, fine_tune, parent) == [None] * size
    one, two = (losses(Run(parent.with_name(f"tuned_by_{size}"))) for size in (1, 2))
    assert furthest(one, two) < 1e-6


class Stops(ToyTask):
    """The second rank gets a signal while the batch of a step is read."""

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(super().training_batches(start, ranks), start=start):
            if number == 33 and ranks.rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch


def learn_until_told(ranks: Ranks, folder: Path) -> None:
    train(Stops(toy_settings()), toy_settings(), Run(folder), ranks)


def test_a_signal_to_one_rank_stops_all_at_the_same_step(tmp_path: Path):
    for found in in_ranks(2, learn_until_told, tmp_path / "run"):
        assert isinstance(found, Interrupted)
        assert "stopped at step 34 of 50, all saved" in str(found)


def test_an_error_of_torch_that_is_no_loss_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="size"), losses_told(lambda: "not to be said"):
        torch.zeros(2) @ torch.zeros(3)
