"""How long one forecast takes, and how much memory: networks and optical flow beside S-PROG."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib.util import find_spec
from itertools import count

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nowcast.core.errors import RunError
from nowcast.core.system.allocator import keep_freed_memory
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.baselines import Setting, baseline
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, EncoderForecaster
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.forecasters.through_pysteps import ThroughPysteps
from nowcast.precipitation.synthetic.cells import FLOOR_DBZ
from nowcast.precipitation.synthetic.rain import Rain
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B, PIXEL_LEVELS, encode, pixel_from_dbz
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

STEP_MINUTES = 6
LEAST_WET = 0.1  # share of the pixels with rain, in every frame

CONVGRU, TRAJGRU, LAGRANGIAN = "ConvGRU", "TrajGRU", "Lagrangian ConvGRU"
NETWORKS = (CONVGRU, TRAJGRU, LAGRANGIAN)
COMOVING, FLOW, SPROG = "comoving", "optical flow", "S-PROG"
FORECASTERS = (*NETWORKS, COMOVING, FLOW)
_BASELINES = {FLOW: "flow", SPROG: "sprog"}


def measure(
    asked: Asked,
    size: int = 480,
    in_len: int = 5,
    out_len: int = 20,
    forecasters: Sequence[str] = FORECASTERS,
) -> list[Row]:
    """Time each forecaster in a process of its own, in turns with S-PROG if pysteps is there.

    Args:
        asked: one number of threads, of torch and OpenCV, as many as the cores that all may use;
            the networks' precisions.
        size: height and width of a frame.
        in_len: frames in, 6 minutes apart.
        out_len: frames out.
        forecasters: of `FORECASTERS`.

    Raises:
        ConfigError: there are fewer cores than threads.
        RunError: S-PROG had no forecast of its own.
    """
    threads = asked.only("threads")
    clip = moving_rain(size, in_len)
    setting = {"threads": threads, "size": size, "in_len": in_len, "out_len": out_len}

    def process(name: str, precision: str | None) -> AbstractContextManager[Apart]:
        environment = {"OMP_NUM_THREADS": str(threads)}
        work = name, precision, clip, out_len, asked.device if name in NETWORKS else "cpu"
        return apart(make, *work, threads=threads, cores=threads, environment=environment)

    rows: list[Row] = []
    beside: list[float] = []
    with ExitStack() as stack:
        sprog: Apart | None = None
        if find_spec("pysteps") is not None:
            sprog = stack.enter_context(process(SPROG, None))
        for name in forecasters:
            for precision in asked.precision if name in NETWORKS else (None,):
                with process(name, precision) as forecast:
                    # Without S-PROG a forecaster takes turns with itself.
                    (theirs, ours), _ = in_turns((sprog or forecast, forecast), asked.pairs)
                    memory = forecast.peak_mib()
                row = {"forecaster": name, "precision": precision, "memory_mib": memory} | setting
                beside.extend(theirs)
                faster = ratio(theirs, ours) if sprog else None
                rows.append(row | {"seconds": ours, "faster": faster})
        if sprog is not None:
            row = {"forecaster": SPROG, "precision": None, "memory_mib": sprog.peak_mib()} | setting
            rows.append(row | {"seconds": tuple(beside), "faster": None})
    return rows


def moving_rain(size: int, in_len: int) -> Float[Tensor, "1 in_len 1 size size"]:
    """A clip from the middle of a synthetic spell, with rain in every frame; pixels in [0, 1]."""
    for seed in count():
        rain = Rain(np.random.default_rng(seed), (size, size), STEP_MINUTES)
        middle = int(rain.middles[0])
        dbz = np.stack([rain.advance(middle + STEP_MINUTES * number) for number in range(in_len)])
        wet = dbz >= FLOOR_DBZ
        if wet.mean(axis=(1, 2)).min() >= LEAST_WET:
            break
    levels = encode(np.where(wet, pixel_from_dbz(dbz), 0.0))
    return torch.from_numpy(levels / np.float32(PIXEL_LEVELS))[None, :, None]


def make(
    name: str,
    precision: str | None,
    clip: Float[Tensor, "1 in_len 1 size size"],
    out_len: int,
    device: str = "cpu",
) -> Callable[[], None]:
    """A function that forecasts the clip, networks on `device`; OpenCV has as many threads as
    torch."""
    keep_freed_memory()
    cv2.setNumThreads(torch.get_num_threads())
    if name in NETWORKS:
        model = network(name, out_len)
    elif name == COMOVING:
        model = Comoving(out_len)  # untrained, which takes as long
    else:
        size = clip.shape[-1]
        archive = Description("rain", "synthetic", STEP_MINUTES, size, size, HKO7_ZR_A, HKO7_ZR_B)
        model = baseline(_BASELINES[name], Setting(out_len, archive))
    model.eval().to(device)
    clip = clip.to(device)

    def forecast() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"),
        ):
            model(clip).cpu()
        if isinstance(model, ThroughPysteps) and model.replaced:
            raise RunError(
                f"{name}: expected a forecast of its own, found extrapolation in its place, for "
                "lack of rain; measure larger frames"
            )

    return forecast


def network(name: str, out_len: int) -> nn.Module:
    """Of `NETWORKS`, with the paper's stages: ConvGRU and TrajGRU as in the HKO-7 benchmark."""
    if name == CONVGRU:
        return EncoderForecaster(PAPER_STAGES, out_len, activate_convolutions=False)
    if name == TRAJGRU:
        return EncoderForecaster(PAPER_STAGES, out_len, cell="trajgru")
    guided = EncoderForecaster(PAPER_STAGES, out_len, guided=True, channels_out=Lagrangian.CHANNELS)
    return Lagrangian(guided)


def cells(row: Row) -> Cells:
    """Of a line."""
    return {
        "forecaster": row["forecaster"],
        "precision": row["precision"] or "-",
        "a forecast": f"{milliseconds(row['seconds']):.0f} ms",
        "memory": f"{row['memory_mib']:.0f} MiB",
        "times as fast as S-PROG (95 % interval)": interval(row["faster"]),
    }


def note(rows: Sequence[Row]) -> str:
    """What was forecast, and on what."""
    row = rows[0]
    text = (
        f"One clip of {row['size']}x{row['size']} pixels, {row['in_len']} -> {row['out_len']} "
        f"frames. Threads of torch and OpenCV: {row['threads']}; all were held to as many cores, "
        "S-PROG with pysteps' defaults (one worker, FFT of numpy). Memory is beyond a process with "
        "torch loaded."
    )
    if not any(row["forecaster"] == SPROG for row in rows):
        text += "\nS-PROG is left out: pysteps is not installed."
    return text


BENCHMARK = Benchmark(
    "how long a forecast takes, and its memory: networks and optical flow beside S-PROG",
    measure,
    cells,
    note,
    ("threads", "precision", "pairs", "device", "isa"),
    Asked(threads=(2,), pairs=7),
)
