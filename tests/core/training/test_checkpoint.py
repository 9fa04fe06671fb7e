"""Weights on disk: whole or not there, with MEmeL or without."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from nowcast import plug_in
from nowcast.core.errors import RunError
from nowcast.core.training.checkpoint import (
    Progress,
    load_state,
    load_weights,
    save_state,
    save_weights,
    write_whole,
)
from tests.core.toy import ToyModel


def dry_run(model: torch.nn.Module) -> object:
    return model(torch.zeros(1, 1))


def plugged() -> ToyModel:
    model = ToyModel()
    plug_in(model, ["hidden"], dry_run=dry_run, late_start=1)
    model(torch.rand(5, 1))
    return model


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "weights"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("saver", [ToyModel, plugged])
@pytest.mark.parametrize("loader", [ToyModel, plugged])
def test_weights_load_with_and_without_memel_on_either_side(tmp_path: Path, saver, loader):
    source, target = saver(), loader()
    fresh = {n: v.clone() for n, v in target.state_dict().items() if n.startswith("hidden.")}
    save_weights(tmp_path / "w", source, {"task": "toy"})
    load_weights(tmp_path / "w", target)
    for name, value in source.named_parameters():
        assert torch.equal(value, target.get_parameter(name))
    for name, value in fresh.items():
        expected = source.state_dict().get(name, value)
        assert torch.equal(target.state_dict()[name], expected)


def test_weights_of_another_model_are_named(tmp_path: Path):
    save_weights(tmp_path / "w", torch.nn.Sequential(torch.nn.Linear(2, 2)), {})
    with pytest.raises(RunError, match=r"6 entries(.|\n)*first.weight: missing"):
        load_weights(tmp_path / "w", ToyModel())


def test_a_file_that_holds_no_weights_is_an_error(tmp_path: Path):
    (tmp_path / "w").write_bytes(b"not weights")
    with pytest.raises(RunError, match="expected weights written by nowcast"):
        load_weights(tmp_path / "w", ToyModel())


def test_the_header_holds_the_config(tmp_path: Path):
    save_weights(tmp_path / "w", plugged(), {"task": "toy"})
    with safe_open(tmp_path / "w", framework="pt") as file:
        header = json.loads(file.metadata()["nowcast"])
    assert header == {"config": {"task": "toy"}, "memel_sites": ["hidden"]}


def test_state_round_trip_and_a_pickle_is_refused(tmp_path: Path):
    model = ToyModel()
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.rand(3, 1)).sum().backward()
    optimiser.step()
    picks = {"hidden": torch.tensor([1.0, 4.0])}
    save_state(tmp_path / "s", model, optimiser, Progress(5, 4, 1.5), picks)
    other = ToyModel()
    moments = torch.optim.Adam(other.parameters())
    progress, counted = load_state(tmp_path / "s", other, moments)
    assert progress == Progress(5, 4, 1.5)
    assert counted["hidden"].tolist() == [1.0, 4.0]
    assert torch.equal(other.first.weight, model.first.weight)
    assert str(moments.state_dict()) == str(optimiser.state_dict())

    torch.save({"model": ToyTrap()}, tmp_path / "s")
    with pytest.raises(RunError, match="remove the file to start the run anew"):
        load_state(tmp_path / "s", other, moments)


class ToyTrap:
    """Stands for anything that is not plain data."""
