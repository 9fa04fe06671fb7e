"""Two gloo processes do what one process does on the union of their batches."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCRIPT = """
import json, sys, weakref
import torch
import torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from toy import ToyTask
from nowcast import MEmeL
from nowcast.core.distributed import joined, sum_over_ranks
from nowcast.core.evaluate import evaluate, evaluate_blocks
from nowcast.core.monitor import Monitor
from nowcast.core.runs import Run
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.trainer import train, trained_model
from pathlib import Path

torch.set_num_threads(1)
settings = RunSettings(
    task="toy",
    train=TrainSettings(steps=50, batch_size=8, validate_every=25, log_every=1),
    optim=OptimSettings(lr=0.02),
    memel=MEmeLSettings(late_start=3, forget_steps=5),
)
run = Run(Path(sys.argv[2]))
with joined() as ranks:
    group = weakref.ref(dist.group.WORLD) if ranks.size > 1 else lambda: None
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
    mean, var = spatial.running_mean, spatial.running_var
    apart = float((sum_over_ranks(mean.clone()) / ranks.size - mean).abs().max())
    monitor = Monitor({"it": layer})
    monitor.load_state_dict({"it": torch.tensor([5, 0, 7])})
    task = ToyTask(settings)
    train(task, settings, run, ranks)
    model = trained_model(task, settings, run)
    scores = evaluate(task, model, "valid", ranks, torch.device("cpu"))
    blocks = evaluate_blocks(task, model, "valid", ranks, torch.device("cpu"))
    loaded = monitor.state_dict()["it"].tolist()
    if ranks.is_main:
        out = {"mean": layer.running_mean.tolist(), "var": layer.running_var.tolist(),
               "chosen": chosen[:7].tolist(), "error": scores.values["error"],
               "spatial": [mean.tolist(), var.tolist()], "apart": apart,
               "samples": int(spatial.num_samples_tracked), "last": edited.tolist(),
               "loaded": loaded,
               "blocks": {name: float(sums["error"][0]) for name, sums in blocks.items()}}
        (run.folder / "seen.json").write_text(json.dumps(out))
# Threads of a group that lives on abort the process at its end, now and then.
assert group() is None
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, dict]]:
    found = {}
    for ranks in (1, 2):
        run = tmp_path_factory.mktemp("ranks") / f"{ranks}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = []
        for rank in range(ranks):
            place = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            command = [
                sys.executable,
                "-W",
                "error::FutureWarning",
                "-c",
                SCRIPT,
                str(Path(__file__).parent),
                str(run),
            ]
            processes.append(subprocess.Popen(command, env=os.environ | place))
        assert [process.wait(timeout=120) for process in processes] == [0] * ranks
        found[ranks] = run, json.loads((run / "seen.json").read_text())
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
    states = [
        torch.load(run / "last.pt", weights_only=True)["model"] for run, _ in outcomes.values()
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)
    assert outcomes[2][1]["error"] == pytest.approx(outcomes[1][1]["error"], rel=1e-4)


def test_the_monitor_counts_and_measures_what_all_ranks_saw(outcomes):
    picks, readings = [], []
    for run, _ in outcomes.values():
        picks.append(torch.load(run / "last.pt", weights_only=True)["monitor"]["hidden"])
        events = EventAccumulator(str(run))
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
