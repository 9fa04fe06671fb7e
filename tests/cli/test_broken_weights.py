"""Weights that hold NaN or infinity are refused wherever they come in, and so are their answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nowcast.core.comparison.contest import contest
from nowcast.core.errors import NowcastError, RunError
from nowcast.core.settings import RunSettings
from nowcast.core.storage.finite import check_answers
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.checkpoint import Progress, load_state, load_weights, save_state
from nowcast.core.training.evaluate import evaluate, evaluate_blocks
from nowcast.precipitation.archive.tree import Archive
from nowcast.pysteps import forecast as forecast_by_pysteps
from tests.core.toy import ToyModel, ToyTask
from tests.tiny_runs import IN_LEN, write_run

CPU = torch.device("cpu")
Run = Callable[..., tuple[int, str, str]]


def spoil(file: Path, value: float) -> str:
    """One number of one tensor; its name."""
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.endswith("input_conv.weight"))
    tensors[name].view(-1)[7] = value
    save_file(tensors, file, metadata)
    return name


@pytest.fixture
def broken(tmp_path: Path) -> tuple[Path, str]:
    """The folder of a run with one NaN in its weights, and the tensor's name."""
    folder = tmp_path / "broken"
    write_run(folder)
    return folder, spoil(folder / "best.safetensors", float("nan"))


def wettest(root: Path) -> str:
    archive = Archive(root)
    return f"{max(archive.moments[20:-20:20], key=lambda at: int(archive.frame(at).sum()))}Z"


DOORS: dict[str, Callable[[Path, Path, Path], list[object]]] = {
    "evaluate": lambda run, data, out: ["evaluate", run, "--data", data],
    "board": lambda run, data, out: ["evaluate", run, "--data", data, "--out", out],
    "online": lambda run, data, out: [
        "evaluate", run, "--data", data, "--online", "data.random_crop=[16,16]"
    ],
    "forecast": lambda run, data, out: [
        "forecast", data, "--weights", run, "--at", wettest(data), "--out", out
    ],
    "export": lambda run, data, out: ["export", run, out / "x.pt2"],
    "audit": lambda run, data, out: [
        "audit", "neurons", run, "--features", "by_rain_rate", f"data.root={data}", "--out", out
    ],
    "inhibition": lambda run, data, out: [
        "audit", "inhibition", run, f"data.root={data}", "data.random_crop=[16,16]"
    ],
    "start_from": lambda run, data, out: [
        "train", run / "config.yaml", f"data.root={data}", f"start_from={run}", "memel=null",
        "train.steps=2", "data.random_crop=[32,32]", "--run", out,
    ],
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_no_door_lets_them_in(
    run: Run, synthetic: Path, tmp_path: Path, broken: tuple[Path, str], door: str
):
    folder, tensor = broken
    (folder / "result.json").write_text("{}")
    status, _, err = run(*DOORS[door](folder, synthetic, tmp_path / "out"))
    assert status == 1, err
    for part in ("best.safetensors", f"{tensor}: 1 of", "NaN or infinity in 1 of"):
        assert part in err
    assert not (tmp_path / "out" / "leaderboard.json").exists()


def test_pysteps_lets_them_in_neither(broken: tuple[Path, str]):
    rates = np.random.default_rng(0).gamma(1.0, 3.0, (IN_LEN, 16, 16))
    with pytest.raises(NowcastError, match=broken[1]):
        forecast_by_pysteps(rates, None, 2, weights=str(broken[0]))


def test_infinity_is_refused_too(tmp_path: Path):
    _, model = write_run(tmp_path / "run")
    file = tmp_path / "run" / "best.safetensors"
    name = spoil(file, float("-inf"))
    with pytest.raises(RunError, match=f"{name}: 1 of"):
        load_weights(file, model)


def test_a_state_to_resume_from_is_looked_at_too(tmp_path: Path):
    model = ToyModel()
    optimiser = torch.optim.Adam(model.parameters())
    with torch.no_grad():
        model.first.bias[0] = torch.inf
    save_state(tmp_path / "last.pt", model, optimiser, Progress(5), {})
    with pytest.raises(RunError, match=r"last\.pt(.|\n)*first\.bias: 1 of 8"):
        load_state(tmp_path / "last.pt", ToyModel(), optimiser)


class Answers(nn.Module):
    """Forecasts what is no number at one place of one sample."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return x.where(x != x[0], self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_end_with_an_error(tmp_path: Path, value: float):
    task, model = ToyTask(RunSettings(task="toy")), Answers(value)
    with pytest.raises(RunError, match="found NaN or infinity in the sums error"):
        evaluate(task, model, "valid", Ranks(), CPU)
    with pytest.raises(RunError, match=r"^theirs: expected forecasts that are numbers"):
        evaluate_blocks(task, model, "valid", Ranks(), CPU, name="theirs")
    with pytest.raises(RunError, match=r"^theirs: "):
        contest({"theirs": (task, model)}, "valid", Ranks(), CPU, tmp_path)
    # While training a validation says so, and training goes on.
    assert not np.isfinite(
        evaluate(task, model, "valid", Ranks(), CPU, finite=False).values["error"]
    )


def test_a_radar_forecast_without_numbers_ends_the_evaluation(
    run: Run, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Nan(nn.Module):
        def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
            return frames[:, -1:].expand(-1, 10, -1, -1, -1) * torch.nan

    from nowcast.precipitation.task import PrecipitationTask

    monkeypatch.setattr(PrecipitationTask, "baseline", lambda self, name: Nan())
    file = tmp_path / "scores.json"
    for more in (["--json", file], ["--online"]):
        status, _, err = run("evaluate", "persistence", "--data", synthetic, *more)
        assert status == 1 and "NaN or infinity in the sums" in err
    assert not file.exists()


def test_answers_that_are_no_numbers_are_not_taken_for_a_class():
    logits = torch.tensor([[0.1, 0.9], [torch.nan, 0.0]])
    assert int(logits[1].argmax()) == 0  # as if it had said so
    with pytest.raises(RunError, match=r"in 1 of 2, e\.g\. for dev 8"):
        check_answers(logits, ["dev 7", "dev 8"])
    check_answers(logits[:1], ["dev 7"])
