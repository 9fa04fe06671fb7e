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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nowcast import __version__
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.files import check_place, write_whole
from nowcast.core.storage.runs import Run
from nowcast.precipitation.forecasters.graph import Graph, Make
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN

FORMATS = (".pt2", ".onnx")
METADATA = "nowcast.json"
OUTPUT = "forecast"
FRAME_AXES = 4  # of an input that has height and width
OPSET = 18
TOLERANCE = 1e-4  # pixels; how far a file's forecasts may be from the module's
EXAMPLE_BATCH = 2  # 1 would be taken for a constant

Forecasts = Callable[[Sequence[Tensor]], Tensor]


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
    model = trained_forecaster(run, settings, out_len).requires_grad_(False)
    graph = settings.model.graph(model, settings.data.in_len)
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


def _settings(run: Run) -> PrecipitationSettings:
    settings = settings_of_run(run)
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
            program = torch.export.export(
                graph.module,
                graph.example(EXAMPLE_BATCH, height, width),
                dynamic_shapes=_dynamic(graph),
                # What it cannot prove of a size, e.g. 1 % (3 n) != 0, is checked when it runs.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            return _for_any_device(program)
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines() if line.startswith("  - ")), "")
        raise ConfigError(
            f"model.kind: torch.export finds no graph for any size with {settings.model.kind}: "
            f"{(reason or str(error)).strip(' -')}; export a run of another kind"
        ) from error


def _for_any_device(program: ExportedProgram) -> ExportedProgram:
    """Without the checks that a tensor is where it was traced, on the CPU."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


def _dynamic(graph: Graph) -> dict[str, dict[int, Any]]:
    batch = Dim("batch", min=1)
    height, width = Dim("height", min=graph.least_side), Dim("width", min=graph.least_side)
    found = {}
    for name, make in graph.inputs.items():
        axes = make(1, graph.least_side, graph.least_side).dim()
        sides = {axes - 2: height, axes - 1: width} if axes >= FRAME_AXES else {}
        found[name] = {0: batch, **sides}
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
            found.append((forecasts(inputs) - graph.module(*inputs)).abs().flatten())
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


def _axes(make: Make) -> str:
    shape = make(1, 1, 1).shape
    fixed, sides = (
        (shape[1:-2], ["height", "width"]) if len(shape) >= FRAME_AXES else (shape[1:], [])
    )
    return " ".join(["batch", *map(str, fixed), *sides])


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
