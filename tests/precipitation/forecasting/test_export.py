"""An exported file forecasts as the module does, at sizes that it was not traced at."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.memel.plug import plug_in
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.training.checkpoint import save_weights
from nowcast.precipitation.forecasters.graph import Graph
from nowcast.precipitation.forecasters.settings import ForecasterSettings
from nowcast.precipitation.forecasting import export as exporting
from nowcast.precipitation.forecasting.export import METADATA, TOLERANCE, export
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.settings import PrecipitationSettings

IN_LEN, OUT_LEN = 3, 2
STAGES = [{"channels": 2, "hidden": 2, "kernel": 3, "down": [5, 3, 1], "up": [5, 3, 1], "links": 2}]
COMOVING = {"stem": 2, "hidden": [2, 2], "guide": 2, "head": 2}
SIZES = ((1, 12, 12), (3, 14, 31), (2, 7, 20))  # batch, height, width; strides multiply to 3


def tiny_run(folder: Path, memel: dict | None = None, **model: object) -> Run:
    """A finished run with random weights."""
    config = {
        "task": "precipitation",
        "data": {"in_len": IN_LEN, "out_len": OUT_LEN},
        "model": model if "comoving" in model else {"stages": STAGES} | model,
        "memel": memel,
    }
    settings = PrecipitationSettings.model_validate(config)
    torch.manual_seed(0)
    network = settings.model.build(IN_LEN, OUT_LEN)
    if memel is not None:
        plug_in(network, "*.hidden", dry_run=lambda m: m(torch.zeros(1, IN_LEN, 1, 12, 12)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)  # so that forecasts vary from place to place
    folder.mkdir()
    content = settings.model_dump(mode="json")
    (folder / "config.yaml").write_text(dumps(content))
    save_weights(folder / "best.safetensors", network, content)
    return Run(folder)


def as_evaluated(run: Run, out_len: int = OUT_LEN) -> torch.nn.Module:
    return trained_forecaster(run, settings_of_run(run), out_len)


def rain(batch: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(batch, IN_LEN, 1, height, width, generator=generator)


@pytest.mark.parametrize(
    "cell",
    [
        "convgru",
        pytest.param("trajgru", marks=pytest.mark.slow),
        pytest.param("convlstm", marks=pytest.mark.slow),
    ],
)
def test_onnx_forecasts_as_the_module(tmp_path: Path, cell: str):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs memel-nowcast[export]")
    run = tiny_run(tmp_path / "run", cell=cell)
    made = export(run, tmp_path / "out.onnx")
    assert made.difference <= TOLERANCE
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    (frames,), (forecast,) = session.get_inputs(), session.get_outputs()
    assert (frames.name, forecast.name) == ("frames", "forecast")
    assert frames.shape == ["batch", IN_LEN, 1, "height", "width"]
    assert forecast.shape == ["batch", OUT_LEN, 1, "height", "width"]
    model = as_evaluated(run)
    for size in SIZES:
        with torch.no_grad():
            expected = model(rain(*size)).numpy()
        (found,) = session.run(None, {"frames": rain(*size).numpy()})
        assert expected.std() > 0.02
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    kept = session.get_modelmeta().custom_metadata_map
    assert json.loads(kept[METADATA]) == json.loads(json.dumps(made.metadata))


@pytest.mark.slow
def test_a_comoving_forecaster_has_a_graph_for_any_size(tmp_path: Path):
    run = tiny_run(tmp_path / "run", comoving=COMOVING)
    settings = PrecipitationSettings.model_validate(run.config())
    graph = settings.model.graph(as_evaluated(run, 1).requires_grad_(False), IN_LEN)
    with exporting._quiet():
        program = exporting._traced(graph, settings)
    sizes = [program.range_constraints[axis] for axis in program.range_constraints]
    assert {int(size.lower) for size in sizes} == {1, 17}
    assert all(size.upper > 10**6 for size in sizes)
    assert not [node for node in program.graph.nodes if "device" in node.kwargs]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_comoving_forecaster_takes_its_motion(tmp_path: Path, suffix: str):
    run = tiny_run(tmp_path / "run", comoving=COMOVING)
    made = export(run, tmp_path / f"out{suffix}", lead_frames=1)
    assert made.apart <= 0.01
    assert "a = 58.53, b = 1.56, whatever your radar's" in made.metadata["rain_rate"]
    axes = {name: told["axes"] for name, told in made.metadata["inputs"].items()}
    assert axes == {
        "frames": "batch 3 1 height width",
        "mask": "batch 3 1 height width",
        "motion": "batch 2 height width",
        "scale": "batch 2",
    }
    network = as_evaluated(run, 1).network
    forecasts = read_back(made.path, list(axes))
    for size in ((2, 40, 51), (1, 64, 17)):
        mask = torch.ones(size[0], IN_LEN, 1, *size[1:], dtype=torch.bool)
        mask[..., :5] = False
        scale = torch.tensor([[6.0, 1.0]]).expand(size[0], 2)
        inputs = (rain(*size), mask, torch.full((size[0], 2, *size[1:]), 1.5), scale)
        with torch.no_grad():
            expected, found = network(*inputs), forecasts(*inputs)
        assert found.shape == expected.shape == (size[0], 1, 1, *size[1:])
        assert ((found - expected).abs() <= TOLERANCE).float().mean() > 0.99
        assert expected.std() > 0.02


def read_back(path: Path, names: list[str]) -> Callable[..., torch.Tensor]:
    if path.suffix == ".pt2":
        with path.open("rb") as file:
            return torch.export.load(file).module()
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs memel-nowcast[export]")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def forecasts(*inputs: torch.Tensor) -> torch.Tensor:
        given = {name: part.numpy() for name, part in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return forecasts


def test_the_command_writes_a_program_without_memel(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
):
    trained = tiny_run(tmp_path / "trained", memel={"sites": ["*.hidden"]})
    assert any("num_samples_tracked" in name for name in load_file(trained.best_weights))
    path = tmp_path / "new" / "out.pt2"
    status, out, err = run("export", trained.folder, path, "--lead-frames", 3)
    assert status == 0
    assert all(line.startswith("nowcast: exporting ") for line in err.splitlines()), err
    assert "frames    batch 3 1 height width: the last frames, oldest first" in out
    assert "forecast  batch 3 1 height width" in out
    assert "height and width from 4" in out
    extra = {METADATA: ""}
    with path.open("rb") as file:
        program = torch.export.load(file, extra_files=extra)
    plain = load_file(tiny_run(tmp_path / "plain").best_weights)
    assert set(program.state_dict) == set(plain)
    assert "memel" not in str(program.graph_module.code).lower()
    model, forecasts = as_evaluated(trained, 3), program.module()
    for size in SIZES:
        with torch.no_grad():
            expected, found = model(rain(*size)), forecasts(rain(*size))
        assert expected.shape[1] == 3
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert not [node for node in program.graph.nodes if "device" in node.kwargs]
    with torch.no_grad():  # moved to another device it needs nothing of this one
        moved = program.module().to("meta")(rain(2, 14, 31).to("meta"))
    assert (moved.device.type, moved.shape) == ("meta", (2, 3, 1, 14, 31))
    facts = json.loads(extra[METADATA])
    assert (facts["in_len"], facts["out_len"], facts["run"]) == (IN_LEN, 3, "trained")
    assert facts["config"]["model"]["kind"] == "convgru"
    assert facts["pixel"] == "in [0, 1]; reflectivity in dBZ = 70 * pixel - 10"
    assert facts["inputs"]["frames"]["axes"] == "batch 3 1 height width"


def test_the_command_says_what_it_cannot_use(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
):
    folder = tiny_run(tmp_path / "run").folder
    for arguments, message in (
        ((folder, tmp_path / "out.pth"), "ends in .pt2 or .onnx"),
        ((tmp_path / "none", tmp_path / "out.pt2"), "the folder of a finished run"),
    ):
        status, _, err = run("export", *arguments)
        assert status == 2 and message in err


def test_memel_at_work_in_evaluation_is_refused(tmp_path: Path):
    run = tiny_run(tmp_path / "run", memel={"sites": ["*.hidden"], "in_eval": True})
    with pytest.raises(ConfigError, match=r"memel\.in_eval: .* export a run without it"):
        export(run, tmp_path / "out.pt2")


def test_flow_in_the_middle_of_a_forecaster_is_refused(tmp_path: Path):
    run = tiny_run(tmp_path / "run", lagrangian=True)
    with pytest.raises(
        ConfigError, match=r"model\.kind: .* found lagrangian.* export a run of kind comoving"
    ):
        export(run, tmp_path / "out.pt2")


def test_a_file_that_forecasts_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def spoiled(_: Path, graph: Graph) -> Callable[..., torch.Tensor]:
        return lambda inputs: graph.module(*inputs) + 2 * TOLERANCE

    monkeypatch.setattr(exporting, "_traced", lambda *_: None)
    monkeypatch.setattr(exporting, "_write_pt2", lambda path, *_: path.write_bytes(b"program"))
    monkeypatch.setattr(exporting, "_loaded_pt2", spoiled)
    with pytest.raises(RunError, match=r"found up to 0\.0002.*nothing is written"):
        export(tiny_run(tmp_path / "run"), tmp_path / "out.pt2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_onnx_says_which_package_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def found(name: str) -> object | None:
        return None if name == "onnxscript" else name

    monkeypatch.setattr("importlib.util.find_spec", found)
    with pytest.raises(ConfigError, match=r'found no onnxscript; .*"memel-nowcast\[export\]"'):
        export(Run(tmp_path), tmp_path / "out.onnx")


def test_a_forecaster_that_does_not_say_what_its_graph_takes_is_refused():
    class Theirs(ForecasterSettings):
        kind: Literal["theirs"] = "theirs"

        def build(self, in_len: int, out_len: int, calibration: object = None) -> torch.nn.Module:
            return torch.nn.Identity()

    with pytest.raises(ConfigError, match="found theirs"):
        Theirs().graph(Theirs().build(3, 2), IN_LEN)
