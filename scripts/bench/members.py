"""How long members take, and how much memory: ours and lagged optical flow beside STEPS."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib.util import find_spec

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from nowcast.core.system.allocator import keep_freed_memory
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.baselines import Setting, baseline
from nowcast.precipitation.forecasters.comoving.ensemble import MEMBERS, ComovingEnsemble
from nowcast.precipitation.forecasters.settings import as_ensemble
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B
from scripts.bench.apart import Apart, apart
from scripts.bench.benchmark import (
    Asked,
    Benchmark,
    Cells,
    Row,
    in_turns,
    interval,
    milliseconds,
    ratio,
)
from scripts.bench.latency import STEP_MINUTES, moving_rain

OURS, LAGGED, STEPS = "comoving-ensemble", "lagged-flow", "steps"
MOST = {LAGGED: 6}  # members that it can have


def measure(
    asked: Asked, size: int = 480, in_len: int = 10, out_len: int = 12, count: int = MEMBERS
) -> list[Row]:
    """Time each ensemble in a process of its own, in turns with STEPS if pysteps is there.

    Args:
        asked: one number of threads, of torch and OpenCV, as many as the cores that all may use.
        size: height and width of a frame.
        in_len: frames in, 6 minutes apart.
        out_len: frames out.
        count: members; of lagged flow at most 6.

    Raises:
        ConfigError: there are fewer cores than threads.
    """
    threads = asked.only("threads")
    clip = moving_rain(size, in_len)
    setting = {"threads": threads, "size": size, "in_len": in_len, "out_len": out_len}

    def process(name: str) -> AbstractContextManager[Apart]:
        environment = {"OMP_NUM_THREADS": str(threads)}
        work = name, clip, out_len, members_of(name)
        return apart(make, *work, threads=threads, cores=threads, environment=environment)

    def members_of(name: str) -> int:
        return min(count, MOST.get(name, count))

    names = [OURS, LAGGED, *([STEPS] if find_spec("pysteps") is not None else [])]
    with ExitStack() as stack:
        forecasts = [stack.enter_context(process(name)) for name in names]
        seconds, _ = in_turns(forecasts, asked.pairs)
        memory = [each.peak_mib() for each in forecasts]
    taken = dict(zip(names, seconds, strict=True))
    return [
        {
            "ensemble": name,
            "members": members_of(name),
            "seconds": taken[name],
            "of_steps": ratio(taken[name], taken[STEPS])
            if STEPS in taken and name != STEPS
            else None,
            "memory_mib": peak,
        }
        | setting
        for name, peak in zip(names, memory, strict=True)
    ]


def make(
    name: str, clip: Float[Tensor, "1 in_len 1 size size"], out_len: int, count: int
) -> Callable[[], None]:
    """A function that forecasts the members of the clip. Ours is untrained, which takes as long."""
    keep_freed_memory()
    cv2.setNumThreads(torch.get_num_threads())
    size = clip.shape[-1]
    archive = Description("rain", "synthetic", STEP_MINUTES, size, size, HKO7_ZR_A, HKO7_ZR_B)
    model = ComovingEnsemble(out_len) if name == OURS else baseline(name, Setting(out_len, archive))
    ensemble = as_ensemble(model.eval())
    assert ensemble is not None

    def forecast() -> None:
        with torch.inference_mode():
            ensemble.members(clip, None, count=count, seed=0)

    return forecast


def cells(row: Row) -> Cells:
    """Of a line."""
    return {
        "ensemble": row["ensemble"],
        "members": str(row["members"]),
        "a forecast": f"{milliseconds(row['seconds']) / 1000:.2f} s",
        "memory": f"{row['memory_mib']:.0f} MiB",
        "of STEPS' time (95 % interval)": interval(row["of_steps"], 3),
    }


def note(rows: Sequence[Row]) -> str:
    """What was forecast, and on what."""
    row = rows[0]
    text = (
        f"One clip of {row['size']}x{row['size']} pixels, {row['in_len']} -> {row['out_len']} "
        f"frames. Threads of torch and OpenCV: {row['threads']}; all were held to as many cores. "
        "Memory is beyond a process with torch loaded."
    )
    if not any(row["ensemble"] == STEPS for row in rows):
        text += "\nSTEPS is left out: pysteps is not installed."
    return text


BENCHMARK = Benchmark(
    "how long the members of an ensemble take, and their memory, beside STEPS",
    measure,
    cells,
    note,
    ("threads", "pairs", "isa"),
    Asked(threads=(1,), pairs=2),
)
