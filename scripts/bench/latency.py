"""How long one forecast takes, and how much memory: networks and optical flow beside S-PROG."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import count
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nowcast.core.errors import RunError
from nowcast.core.system.allocator import keep_freed_memory
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.baselines import Setting, baseline
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, EncoderForecaster
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.forecasters.through_pysteps import ThroughPysteps
from nowcast.precipitation.synthetic.rain import FLOOR_DBZ, Rain
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B, PIXEL_LEVELS, encode, pixel_from_dbz
from scripts.bench.apart import Apart, apart
from scripts.bench.paired import Pairs, alternate

STEP_MINUTES = 6
LEAST_WET = 0.1  # share of the pixels with rain, in every frame

CONVGRU, TRAJGRU, LAGRANGIAN = "ConvGRU", "TrajGRU", "Lagrangian ConvGRU"
NETWORKS = (CONVGRU, TRAJGRU, LAGRANGIAN)
FLOW, SPROG = "optical flow", "S-PROG"
FORECASTERS = (*NETWORKS, FLOW)
_BASELINES = {FLOW: "flow", SPROG: "sprog"}


@dataclass(frozen=True)
class Latency:
    """What was timed: forecasts of one clip.

    Args:
        forecaster: of `FORECASTERS`, or S-PROG.
        precision: ``fp32`` or ``bf16``; None for what is no network.
        threads: of torch and OpenCV, and cores for all.
        size: height and width of a frame.
        in_len: frames in.
        out_len: frames out.
        memory_mib: by how much its process was larger, at most, than before it was made.
        seconds: of each call.
        sprog: seconds of S-PROG's call beside each; None without pysteps, and for itself.
    """

    forecaster: str
    precision: str | None
    threads: int
    size: int
    in_len: int
    out_len: int
    memory_mib: float
    seconds: tuple[float, ...]
    sprog: tuple[float, ...] | None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        faster, low, high = self.faster() or (None, None, None)
        milliseconds = 1000 * float(np.median(self.seconds))
        return asdict(self) | {
            "milliseconds": milliseconds,
            "faster": faster,
            "faster_low": low,
            "faster_high": high,
        }

    def faster(self) -> tuple[float, float, float] | None:
        """How many times as fast as S-PROG, and its 95 % interval."""
        return None if self.sprog is None else Pairs(self.seconds, self.sprog).ratio()


def measure(
    threads: int,
    pairs: int,
    size: int = 480,
    in_len: int = 5,
    out_len: int = 20,
    forecasters: Sequence[str] = FORECASTERS,
) -> list[Latency]:
    """Time each forecaster in a process of its own, in turns with S-PROG if pysteps is there.

    Args:
        threads: of torch and OpenCV; S-PROG and everything else may use as many cores.
        pairs: calls of each.
        size: height and width of a frame.
        in_len: frames in, 6 minutes apart.
        out_len: frames out.
        forecasters: of `FORECASTERS`; networks come in fp32 and in bf16 autocast.

    Raises:
        ConfigError: there are fewer cores than threads.
        RunError: S-PROG had no forecast of its own.
    """
    clip = moving_rain(size, in_len)
    setting = threads, size, in_len, out_len

    def process(name: str, precision: str | None) -> AbstractContextManager[Apart]:
        return apart(
            make,
            name,
            precision,
            clip,
            out_len,
            threads=threads,
            cores=threads,
            environment={"OMP_NUM_THREADS": str(threads)},
        )

    rows: list[Latency] = []
    beside: list[float] = []
    with ExitStack() as stack:
        sprog: Apart | None = None
        if find_spec("pysteps") is not None:
            sprog = stack.enter_context(process(SPROG, None))
        for name in forecasters:
            for precision in ("fp32", "bf16") if name in NETWORKS else (None,):
                with process(name, precision) as forecast:
                    # Without S-PROG a forecaster takes turns with itself.
                    times = alternate(sprog or forecast, forecast, pairs)
                    memory = forecast.peak_mib()
                theirs = None if sprog is None else times.one
                beside.extend(theirs or ())
                rows.append(Latency(name, precision, *setting, memory, times.other, theirs))
        if sprog is not None:
            memory = sprog.peak_mib()
            rows.append(Latency(SPROG, None, *setting, memory, tuple(beside), None))
    return rows


def moving_rain(size: int, in_len: int) -> Float[Tensor, "1 in_len 1 size size"]:
    """A clip from the middle of a synthetic spell, with rain in every frame; pixels in [0, 1]."""
    for seed in count():
        rain = Rain(np.random.default_rng(seed), (size, size), STEP_MINUTES)
        middle = int(rain.middles[0])
        dbz = np.stack(
            [rain.advance(middle + STEP_MINUTES * number)[:size, :size] for number in range(in_len)]
        )
        wet = dbz >= FLOOR_DBZ
        if wet.mean(axis=(1, 2)).min() >= LEAST_WET:
            break
    levels = encode(np.where(wet, pixel_from_dbz(dbz), 0.0))
    return torch.from_numpy(levels / np.float32(PIXEL_LEVELS))[None, :, None]


def make(
    name: str, precision: str | None, clip: Float[Tensor, "1 in_len 1 size size"], out_len: int
) -> Callable[[], None]:
    """A function that forecasts the clip; OpenCV has as many threads as torch."""
    keep_freed_memory()
    cv2.setNumThreads(torch.get_num_threads())
    if name in NETWORKS:
        model = network(name, out_len)
    else:
        size = clip.shape[-1]
        archive = Description("rain", "synthetic", STEP_MINUTES, size, size, HKO7_ZR_A, HKO7_ZR_B)
        model = baseline(_BASELINES[name], Setting(out_len, archive))
    model.eval()

    def forecast() -> None:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            model(clip)
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


def table(rows: Sequence[Latency]) -> str:
    """One line a forecaster and precision, as Markdown."""
    lines = [
        "| forecaster | precision | a forecast | memory | times as fast as S-PROG "
        "(95 % interval) |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        faster = row.faster()
        ratio = "-" if faster is None else "{:.2f} ({:.2f} to {:.2f})".format(*faster)
        lines.append(
            f"| {row.forecaster} | {row.precision or '-'} | {1000 * np.median(row.seconds):.0f} ms "
            f"| {row.memory_mib:.0f} MiB | {ratio} |"
        )
    row = rows[0]
    lines += [
        "",
        f"One clip of {row.size}x{row.size} pixels, {row.in_len} -> {row.out_len} frames. Threads "
        f"of torch and OpenCV: {row.threads}; all were held to as many cores, S-PROG with pysteps' "
        "defaults (one worker, FFT of numpy). Memory is beyond a process with torch loaded.",
    ]
    if not any(row.forecaster == SPROG for row in rows):
        lines.append(
            'S-PROG is left out: pysteps is not installed (`pip install "memel-nowcast[pysteps]"`).'
        )
    return "\n".join(lines)
