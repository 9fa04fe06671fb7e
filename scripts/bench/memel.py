"""The cost of MEmeL: a training step of the paper's ConvGRU with its six layers and without."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from nowcast.core.memel import fused
from nowcast.core.memel.layer import MEmeL
from nowcast.core.memel.plug import plug_in, unplug
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, EncoderForecaster
from scripts.bench.paired import Pairs, alternate

FRAMES = 10  # in and out; Wang et al. 2024


@dataclass(frozen=True)
class Cost:
    """What was timed, and how long it took without and with MEmeL."""

    batch: int
    threads: int
    precision: str
    in_c: bool
    pairs: Pairs

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ratio, low, high = self.pairs.ratio()
        return asdict(self) | {"ratio": ratio, "ratio_low": low, "ratio_high": high}


def measure(batch: int, threads: int, bf16: bool, pairs: int, size: int = 120) -> Cost:
    """Time alternating steps of one model, its sockets empty and filled in turn."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = EncoderForecaster(PAPER_STAGES, FRAMES)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    frames = torch.rand(2, batch, FRAMES, 1, size, size)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = (model(frames[0]).float() - frames[1]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    layers = plug_in(model, "*.candidate", dry_run=lambda host: host(frames[0, :1]))
    _settle(layers.values(), step)
    empty = unplug(model)

    def with_memel() -> None:
        for site in empty:
            model.set_submodule(site, layers[site])
        step()
        for site in empty:
            model.set_submodule(site, layers[site].socket[0])

    times = alternate(step, with_memel, pairs)
    return Cost(batch, threads, "bf16" if bf16 else "fp32", fused.available, times)


def _settle(layers: Iterable[MEmeL], step: Callable[[], None]) -> None:
    """Train until every layer inhibits, and its statistics forget."""
    step()
    step()
    assert all(layer.num_batches_tracked >= layer.late_start for layer in layers)


def table(rows: Sequence[Cost]) -> str:
    """One line a setting, as Markdown."""
    lines = [
        "| batch | threads | precision | step without | with MEmeL | ratio (95 % interval) |",
        "| ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        without, with_memel = np.median(row.pairs.one), np.median(row.pairs.other)
        ratio, low, high = row.pairs.ratio()
        lines.append(
            f"| {row.batch} | {row.threads} | {row.precision} | {without:.2f} s | "
            f"{with_memel:.2f} s | {ratio:.3f} ({low:.3f} to {high:.3f}) |"
        )
    way = "in C" if rows[0].in_c else "as torch operations: it was installed without a C compiler"
    return "\n".join([*lines, "", f"MEmeL works {way}."])
