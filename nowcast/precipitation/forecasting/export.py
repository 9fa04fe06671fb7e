"""A trained forecaster as a file that runs without nowcast: a torch.export program, or ONNX.

Whatever the run was trained with, the graph is the network in evaluation mode and in float32, for
any batch, height and width. Frames whose sides are no multiple of the strides are padded in the
graph and cut back. Motion is an input where a forecaster needs it: optical flow is no graph. The
file carries what its numbers mean, as JSON: in a ``.pt2`` the extra file
`METADATA`, in ONNX the metadata property of the same name.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from nowcast import __version__
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.files import check_place, write_whole
from nowcast.core.storage.runs import Run
from nowcast.core.training.checkpoint import load_weights
from nowcast.precipitation.forecasters.comoving.correction import MULTIPLE
from nowcast.precipitation.forecasters.comoving.graph import ComovingGraph, cut, short
from nowcast.precipitation.forecasters.comoving.network import Comoving
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecaster
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.model import forecaster
from nowcast.precipitation.settings import ModelSettings, PrecipitationSettings
from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN, HKO7_ZR_A, HKO7_ZR_B, PIXEL_LEVELS

FORMATS = (".pt2", ".onnx")
METADATA = "nowcast.json"
OUTPUT = "forecast"
OPSET = 18
TOLERANCE = 1e-4  # pixels; how far a file's forecasts may be from the module's
RANKED = 0.01  # share of pixels that may be further, where ranks decide; see `comoving_graph`
EXAMPLE_BATCH = 2  # 1 would be taken for a constant
LEAST_RAIN = 0.17  # pixel of 0.1 mm/h; radars tell no less

Forecasts = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Graph:
    """What is exported of a forecaster.

    Args:
        module: torch operations alone, from the inputs to the forecast, of any size.
        reference: the forecaster as it is evaluated, from the same inputs.
        inputs: makes an input of each name for a batch, height and width; batch is the first axis
            of each, height and width are the last two.
        meaning: what each of them is, in words.
        multiple: what the network's own frames are multiples of.
        zr: what the a and b of the pixels' Z-R relation are, in words.
        apart: share of pixels that may be further than `TOLERANCE` from the reference.
    """

    module: nn.Module
    reference: nn.Module
    inputs: Mapping[str, Callable[[int, int, int], Tensor]]
    meaning: Mapping[str, str]
    multiple: int
    zr: str = "a and b of the archive it was trained on"
    apart: float = 0.0

    @property
    def least_side(self) -> int:
        """Height and width from which on the graph holds: more than one cell at the coarsest."""
        return self.multiple + 1

    def example(self, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
        """An input of each name, of rain made up."""
        return tuple(make(batch, height, width) for make in self.inputs.values())


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        path: where it lies.
        metadata: what it carries.
        difference: the largest between its forecasts and the module's, in pixels.
        apart: share of pixels that are more than `TOLERANCE` from the module's.
    """

    path: Path
    metadata: Mapping[str, Any]
    difference: float
    apart: float


def export(run: Run, out: Path, lead_frames: int | None = None) -> Exported:
    """Write a run's forecaster with its best weights to a file, once it forecasts as the module.

    Args:
        run: the folder of a finished run, see `weights.located`.
        out: ends in ``.pt2`` (torch.export) or ``.onnx``.
        lead_frames: frames to forecast; None is as many as the run was trained for.

    Raises:
        ConfigError: another ending, a run of another task or with MEmeL at work in evaluation, a
            forecaster that has no graph, or ONNX without the packages that it needs.
        RunError: the weights cannot be loaded, or the file forecasts otherwise than the module.
    """
    if out.suffix not in FORMATS:
        raise ConfigError(f"{out}: expected a file that ends in .pt2 or .onnx; choose one")
    if out.suffix == ".onnx":
        _check_onnx()
    check_place(out)
    settings = _settings(run)
    out_len = lead_frames or settings.data.out_len
    model = forecaster(settings.model, out_len)
    load_weights(run.best_weights, model)
    graph = graph_of(model.eval().requires_grad_(False), settings.model, settings.data.in_len)
    metadata = _metadata(run, settings, graph, out_len)
    with _quiet():
        program = _traced(graph, settings)
        write = _write_pt2 if out.suffix == ".pt2" else _write_onnx
        difference, apart = 0.0, 0.0

        def checked(temporary: Path) -> None:
            nonlocal difference, apart
            write(temporary, program, graph, json.dumps(metadata, indent=2))
            load = _loaded_pt2 if out.suffix == ".pt2" else _loaded_onnx
            difference, apart = _difference(graph, load(temporary, graph))
            if not apart <= graph.apart:
                raise RunError(
                    f"{out}: expected the forecasts of {run.folder.name} within {TOLERANCE:g}, "
                    f"found up to {difference:.3g} between them, {apart:.2%} of pixels further; "
                    "nothing is written. Export the other format, or report this with the versions "
                    "of torch and onnxruntime"
                )

        write_whole(out, checked)
    return Exported(out, metadata, difference, apart)


def graph_of(model: nn.Module, settings: ModelSettings, in_len: int) -> Graph:
    """What is exported of a forecaster in evaluation mode: the one place that tells them apart.

    Raises:
        ConfigError: it cannot be exported.
    """
    frames = partial(_frames, in_len)
    if isinstance(model, Comoving):
        assert settings.comoving is not None
        return Graph(
            module=ComovingGraph(model.network, settings.comoving.widths()).eval(),
            reference=model.network,
            inputs={"frames": frames, "mask": partial(_mask, in_len), "motion": _motion},
            meaning={
                "frames": "the last frames, oldest first; one without any data repeats the one "
                "before",
                "mask": "true where there is data; as the frame's where that is repeated",
                "motion": "of the rain at the last frame, pixels a step: 0 to the right, 1 down",
            },
            multiple=MULTIPLE,
            zr=f"a = {HKO7_ZR_A:g}, b = {HKO7_ZR_B:g}, whatever your radar's",
            apart=RANKED,
        )
    if isinstance(model, EncoderForecaster):
        return Graph(
            module=_Padded(model),
            reference=model,
            inputs={"frames": frames},
            meaning={
                "frames": "the last frames, oldest first, as they stand where there is no data"
            },
            multiple=model.multiple,
        )
    if not isinstance(model, Lagrangian):
        raise ConfigError(
            "expected one of nowcast's own networks (EncoderForecaster, Comoving), found "
            f"{type(model).__name__}, of which it is not known what its graph takes; export it "
            "with torch.export yourself"
        )
    raise ConfigError(
        "model.lagrangian: expected a forecaster in torch operations alone, found one that "
        "estimates motion by OpenCV in the middle; export a run with model.comoving"
    )


class _Padded(nn.Module):
    """An encoder-forecaster on frames of any size, in terms that hold for every size at once.

    `EncoderForecaster` pads where a size needs it; a graph has no such branch, so here zero rows
    are padding too.
    """

    def __init__(self, network: EncoderForecaster) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, frames: Float[Tensor, "batch in_len 1 height width"]
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """See `EncoderForecaster.forward`."""
        height, width = frames.shape[-2:]
        down = short(height, self.network.multiple)
        right = short(width, self.network.multiple)
        return cut(self.network(functional.pad(frames, (0, right, 0, down))), height, width)


def _settings(run: Run) -> PrecipitationSettings:
    config = run.config()
    if config.get("task") != "precipitation":
        raise ConfigError(
            f"{run.folder}: expected a run of the precipitation task, found {config.get('task')!r}"
        )
    settings = PrecipitationSettings.model_validate(config, context={"evaluating": True})
    if settings.memel is not None and settings.memel.in_eval:
        raise ConfigError(
            f"{run.folder}: memel.in_eval: its forecasts depend on the clips before and on the "
            "frame's size, which no graph can hold; export a run without it"
        )
    return settings


def _traced(graph: Graph, settings: PrecipitationSettings) -> ExportedProgram:
    # torch.export takes equal numbers for the same, and a side that needs no padding for a rule.
    height, width = 2 * graph.multiple + 1, 3 * graph.multiple + 1
    graph.module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    try:
        with torch.no_grad():
            return torch.export.export(
                graph.module,
                graph.example(EXAMPLE_BATCH, height, width),
                dynamic_shapes=_dynamic(graph),
                # What it cannot prove of a size, e.g. 1 % (3 n) != 0, is checked when it runs.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines() if line.startswith("  - ")), "")
        raise ConfigError(
            f"model.cell: torch.export finds no graph for any size with {settings.model.cell}: "
            f"{(reason or str(error)).strip(' -')}; export a run with another cell"
        ) from error


def _dynamic(graph: Graph) -> dict[str, dict[int, Any]]:
    batch = Dim("batch", min=1)
    height, width = Dim("height", min=graph.least_side), Dim("width", min=graph.least_side)
    found = {}
    for name, make in graph.inputs.items():
        axes = make(1, graph.least_side, graph.least_side).dim()
        found[name] = {0: batch, axes - 2: height, axes - 1: width}
    return found


def _write_pt2(path: Path, program: ExportedProgram, graph: Graph, metadata: str) -> None:
    content = io.BytesIO()  # torch ends the whole process where it cannot write such a file
    torch.export.save(program, content, extra_files={METADATA: metadata})
    path.write_bytes(content.getbuffer())


def _loaded_pt2(path: Path, graph: Graph) -> Forecasts:
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def forecasts(inputs: Sequence[Tensor]) -> Tensor:
        found: Tensor = module(*inputs)
        return found

    return forecasts


def _write_onnx(path: Path, program: ExportedProgram, graph: Graph, metadata: str) -> None:
    made = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(graph.inputs),
        output_names=[OUTPUT],
        dynamic_shapes=_dynamic(graph),
        verbose=False,
    )
    assert made is not None
    made.model.metadata_props[METADATA] = metadata
    made.save(path)


def _loaded_onnx(path: Path, graph: Graph) -> Forecasts:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def forecasts(inputs: Sequence[Tensor]) -> Tensor:
        named = {name: part.numpy() for name, part in zip(graph.inputs, inputs, strict=True)}
        return torch.from_numpy(np.asarray(session.run([OUTPUT], named)[0]))

    return forecasts


def _difference(graph: Graph, forecasts: Forecasts) -> tuple[float, float]:
    """The largest at sizes other than the traced one, NaN where either is no number; and the share
    of pixels that are not within `TOLERANCE`."""
    side = graph.multiple
    found = []
    for size in ((1, 2 * side, 2 * side), (1, 3 * side - 1, 2 * side + 1), (3, 2 * side, side + 1)):
        inputs = graph.example(*size)
        with torch.no_grad():
            found.append((forecasts(inputs) - graph.reference(*inputs)).abs().flatten())
    whole = torch.cat(found)
    return float(whole.max()), float((~(whole <= TOLERANCE)).float().mean())


def _metadata(
    run: Run, settings: PrecipitationSettings, graph: Graph, out_len: int
) -> dict[str, Any]:
    return {
        "nowcast": __version__,
        "run": run.folder.name,
        "in_len": settings.data.in_len,
        "out_len": out_len,
        "inputs": {
            name: {"axes": _axes(make), "meaning": graph.meaning[name]}
            for name, make in graph.inputs.items()
        },
        "outputs": {
            OUTPUT: {
                "axes": f"batch {out_len} 1 height width",
                "meaning": "the frames that follow, not clipped to [0, 1]",
            }
        },
        "pixel": f"in [0, 1]; reflectivity in dBZ = {DBZ_SPAN:g} * pixel - {-DBZ_AT_PIXEL_0:g}",
        "rain_rate": f"mm/h = (10 ** (dBZ / 10) / a) ** (1 / b), {graph.zr}; pixel 0 is no rain",
        "rows": "0 is north",
        "least_side": graph.least_side,
        "padding": f"in the graph, to multiples of {graph.multiple}",
        "config": settings.model_dump(mode="json"),
        "origin": run.origin(),
    }


def _axes(make: Callable[[int, int, int], Tensor]) -> str:
    fixed = make(1, 1, 1).shape[1:-2]
    return " ".join(["batch", *map(str, fixed), "height", "width"])


def _frames(in_len: int, batch: int, height: int, width: int) -> Tensor:
    """Blobs of rain that move, in a radar's levels, with dry places between them."""
    generator = torch.Generator().manual_seed(height * width)
    noise = torch.rand(batch, 1, height + in_len, width + in_len, generator=generator)
    smooth = functional.avg_pool2d(noise, 9, stride=1, padding=4, count_include_pad=False)
    rain = (8 * (smooth - 0.45)).clamp(0, 1).mul(PIXEL_LEVELS).round() / PIXEL_LEVELS
    rain = rain.where(rain >= LEAST_RAIN, 0.0)
    steps = range(in_len, 0, -1)
    return torch.stack([rain[..., n : n + height, n : n + width] for n in steps], dim=1)


def _mask(in_len: int, batch: int, height: int, width: int) -> Tensor:
    mask = torch.ones(batch, in_len, 1, height, width, dtype=torch.bool)
    mask[..., : height // 8, : width // 4] = False
    return mask


def _motion(batch: int, height: int, width: int) -> Tensor:
    """One to the right and down a step, as `_frames` move, and a little that is none of theirs."""
    columns = torch.linspace(0.9, 1.2, width).expand(batch, 1, height, width)
    return torch.cat([columns, columns.flip(-1)], dim=1)


def _check_onnx() -> None:
    from importlib.util import find_spec

    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"ONNX needs the optional packages onnx, onnxscript and onnxruntime, found no "
            f'{", ".join(absent)}; install them with `pip install "memel-nowcast[export]"`'
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns of its own use of what it will replace, and logs each step that it leaves out."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
