"""What a GPU does with nowcast, stage by stage within a budget: equality first, then times.

Each stage is a process of its own with a limit of its own, and leaves its JSON at once, so that
what is done is done; the same command goes on with the rest. Without a GPU the tests run on the
CPU, which tries them and measures nothing.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from nowcast.core.storage.files import write_json
from nowcast.core.system.devices import arithmetic
from nowcast.core.system.machine import when_and_where

Facts = dict[str, Any]

STARTING_S = 20.0  # less than this much left, and no stage begins
TURNS, WARM_UP = 9, 3
BATCHES, PRECISIONS = (16, 64, 256), ("fp32", "tf32", "bf16")
FRAMES, SIDE = 10, 120  # of the paper's step
MATRIX, COPY_MIB = 8192, 1024
MEMBERS = 24
TESTS = (
    "tests/gpu",
    "tests/core/memel/test_memel_triton.py",
    "tests/precipitation/forecasters/test_gates_triton.py",
)

app = typer.Typer(add_completion=False)


def ceilings(device: torch.device) -> Facts:
    """What the machine can do at best: bytes copied and floating-point operations a second."""
    source = torch.empty(COPY_MIB * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = median_s(lambda: target.copy_(source), device)
    found: Facts = {"copy_gb_s": 2 * source.numel() / seconds / 1e9}
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        one, other = torch.randn(2, MATRIX, MATRIX, device=device).to(dtype)
        with arithmetic(precision):
            seconds = median_s(lambda: torch.mm(one, other), device)  # noqa: B023
        found[f"{precision}_tflop_s"] = 2 * MATRIX**3 / seconds / 1e12
    return found


def step(
    device: torch.device,
    batch: int,
    precision: str,
    memel: bool,
    kernels: bool = True,
) -> Facts:
    """The paper's training step: median of its times, launched kernel by kernel and as one graph;
    launches, memory, arithmetic.

    Args:
        device: the GPU.
        batch: clips.
        precision: as of `train.precision`.
        memel: with a layer at every candidate.
        kernels: with the Triton kernels; else torch's operations in their place.
    """
    from nowcast.core.memel import fused
    from nowcast.core.memel.plug import plug_in
    from nowcast.core.settings import OptimSettings
    from nowcast.core.training import graph, optim
    from nowcast.precipitation.forecasters.cells import recurrence
    from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES
    from scripts.bench.step import clips, network
    from scripts.bench.training import arithmetic as gflop

    model = network(PAPER_STAGES, FRAMES).to(device)
    inputs, truth = (part.to(device) for part in clips(batch, FRAMES, SIDE))
    if memel:
        plug_in(model, "*.candidate", dry_run=lambda host: host(inputs[:1]), late_start=1)
    if not kernels:
        fused.on_gpu = recurrence.gates_on = lambda device: None
    optimiser = optim.optimiser(model, OptimSettings())
    optim.for_device(optimiser, device)

    def once() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss: torch.Tensor = (model(inputs).float() - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.detach()

    found: Facts = {}
    with arithmetic(precision):
        found["ms"] = 1000 * median_s(once, device)
        found["launches"] = launched(once, device)
        recorder = graph.recorder(device)
        if recorder is not None:
            for _ in range(graph.WARM_UP):
                recorder.run(once)
            replay, _ = recorder.record(once)
            found["graph_ms"] = 1000 * median_s(replay, device)
    return {
        "batch": batch,
        "precision": precision,
        "memel": memel,
        "kernels": kernels,
        **found,
        "memory_gib": torch.cuda.max_memory_allocated(device) / 2**30,
        "gflop": gflop(batch, FRAMES, SIDE, PAPER_STAGES),
    }


def forecasts(device: torch.device) -> Facts:
    """Milliseconds of a forecast of 480x480 pixels, 5 frames in and 20 out, and of an ensemble."""
    from nowcast.precipitation.forecasters.comoving.ensemble import ComovingEnsembleSettings
    from nowcast.precipitation.forecasters.comoving.forecaster import ComovingSettings
    from scripts.bench.latency import CONVGRU, moving_rain, network

    clip = moving_rain(480, 5).to(device)
    found: Facts = {}
    with torch.inference_mode(), arithmetic():
        for name, model in (
            ("convgru", network(CONVGRU, 20)),
            ("comoving", ComovingSettings().build(5, 20)),
        ):
            model.eval().to(device)
            found[f"{name}_ms"] = 1000 * median_s(lambda: model(clip), device)  # noqa: B023
        ensemble = ComovingEnsembleSettings().build(5, 20).eval().to(device)
        many = median_s(lambda: ensemble.members(clip, None, count=MEMBERS, seed=0), device)
        found[f"members_{MEMBERS}_ms"] = 1000 * many
    return found


def training(device: torch.device) -> Facts:
    """A real `nowcast train` on made-up rain: steps a second, and what it waits for data."""
    folder = Path(tempfile.mkdtemp())
    root, run = folder / "synthetic", folder / "run"
    nowcast = [sys.executable, "-m", "nowcast"]
    subprocess.run([*nowcast, "data", "synth", str(root), "--days", "4"], check=True)
    changes = ["train.steps=200", "train.validate_every=100", "train.log_every=50"]
    where = f"train.device={device.type}"
    began = time.monotonic()
    subprocess.run(
        [*nowcast, "train", "smoke", f"data.root={root}", *changes, where, "--run", str(run)],
        check=True,
    )
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return {"seconds": time.monotonic() - began, "last": lines[-1]}


def tests(device: torch.device) -> Facts:
    """`TESTS`, without a GPU by Triton's interpreter: how many passed, and the end of what pytest
    said."""
    environment = os.environ | ({"NOWCAST_GPU_TESTS": "cpu"} if device.type == "cpu" else {})
    # The house's own options need packages that a borrowed machine lacks.
    command = [sys.executable, "-m", "pytest", *TESTS, "-q", "-o", "addopts="]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    counts = {
        word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped)", ended.stdout)
    }
    return {"status": ended.returncode, **counts, "said": ended.stdout[-3000:]}


def stages() -> Iterator[tuple[str, float, Callable[[torch.device], Facts]]]:
    """Name, limit in seconds and function of each stage, what matters most first."""
    yield "tests", 240, tests
    yield "ceilings", 60, ceilings
    for batch in BATCHES:
        for precision in PRECISIONS:
            for memel in (False, True):
                name = f"step_{batch}_{precision}{'_memel' * memel}"
                of = partial(step, batch=batch, precision=precision, memel=memel)
                yield name, 60, of
                if batch == BATCHES[0]:
                    yield f"{name}_by_torch", 60, partial(of, kernels=False)
    yield "forecasts", 90, forecasts
    yield "training", 180, training


def median_s(function: Callable[[], object], device: torch.device) -> float:
    """Median of the seconds of a call, the device waited for."""
    seconds = []
    for turn in range(WARM_UP + TURNS):
        finish(device)
        began = time.perf_counter()
        function()
        finish(device)
        if turn >= WARM_UP:
            seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def launched(function: Callable[[], object], device: torch.device) -> int | None:
    """How many kernels a call launches; None where nothing is launched."""
    if device.type != "cuda":
        return None
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        function()
        finish(device)
    counts = {event.key: event.count for event in profile.key_averages()}
    return int(sum(count for key, count in counts.items() if "LaunchKernel" in key))


def finish(device: torch.device) -> None:
    """Wait for what a device has been given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(found: dict[str, Facts]) -> str:
    """What was found, as Markdown."""
    lines = []
    ceiling = found.get("ceilings", {})
    for name, facts in found.items():
        if name.startswith("step_") and "ms" in facts:
            best = ceiling.get(f"{facts['precision']}_tflop_s")
            least = min(facts["ms"], facts.get("graph_ms", facts["ms"]))
            bound = f", {facts['gflop'] / best / least:.0%} of the bound" if best else ""
            as_graph = f", {facts['graph_ms']:.1f} ms as a graph" if "graph_ms" in facts else ""
            lines.append(
                f"| {name} | {facts['ms']:.1f} ms, {facts['launches']} launches{as_graph}, "
                f"{facts['memory_gib']:.1f} GiB{bound} |"
            )
        else:
            shown = {key: value for key, value in facts.items() if key not in ("said", "last")}
            text = ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in shown.items()
            )
            lines.append(f"| {name} | {text} |")
    return "\n".join(["| stage | found |", "| --- | --- |", *lines])


@app.command()
def main(
    budget: Annotated[float, typer.Option(help="Seconds in all.")] = 480,
    out: Annotated[Path, typer.Option(help="Folder of what is found.")] = Path("gpu_check"),
    stage: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Check and time a GPU, or without one try the tests on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = {name: (limit, function) for name, limit, function in stages()}
    if stage is not None:
        facts = known[stage][1](device)
        write_json(out / f"{stage}.json", facts | when_and_where())
        return
    if device.type == "cpu":
        typer.echo("no GPU here: its tests run on the CPU, and nothing is timed")
        known = {"tests": (budget, tests)}
    deadline = time.monotonic() + budget
    for name, (limit, _) in known.items():
        left = deadline - time.monotonic()
        if (out / f"{name}.json").is_file() or left < STARTING_S:
            continue
        command = [sys.executable, "-m", "scripts.gpu_check", "--stage", name, "--out", str(out)]
        typer.echo(f"{name}: at most {min(limit, left):.0f} s")
        try:
            subprocess.run(command, timeout=min(limit, left), check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            typer.echo(f"{name}: {error}", err=True)
    found = {
        name: json.loads(file.read_text())
        for name in known
        if (file := out / f"{name}.json").is_file()
    }
    write_json(out / "all.json", found)
    typer.echo(table(found))
    if set(found) != set(known):
        typer.echo(f"not done: {', '.join(known.keys() - found.keys())}; the same command goes on")
        raise typer.Exit(1)
    raise typer.Exit(int(found["tests"]["status"] != 0))


if __name__ == "__main__":
    app()
