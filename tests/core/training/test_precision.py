"""`train.precision: auto` becomes what the device has, once; bf16 in emulation is not started in
silence."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from nowcast.core.comparison.compare import compare
from nowcast.core.comparison.estimate import planned
from nowcast.core.errors import ConfigError
from nowcast.core.settings import CompareSettings, RunSettings, TrainSettings, TuneSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted
from nowcast.core.terminal.progress import Display, shown
from nowcast.core.training import precision
from nowcast.core.training.precision import computes_bf16, settled
from nowcast.core.training.trainer import train
from nowcast.core.tuning.search import Search
from nowcast.core.tuning.tune import run_search
from tests.core.toy import ToyTask
from tests.core.training.test_trainer import StopsAt

CPU = torch.device("cpu")
WARNING = "has no instructions for bf16"

Machine = Callable[[bool], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Plays a machine with or without bf16, and one on which nothing has been said yet."""

    def play(has_bf16: bool) -> None:
        monkeypatch.setattr(precision, "computes_bf16", lambda device: has_bf16)
        monkeypatch.setattr(precision, "_warned", set())

    return play


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What a command would show meanwhile."""

    class Kept(Display):
        def say(self, text: str) -> None:
            kept.append(text)

    kept: list[str] = []
    with shown(Kept()):
        yield kept


def settings(found: str = "auto") -> RunSettings:
    train = TrainSettings(steps=20, batch_size=8, validate_every=10, log_every=5, precision=found)
    return RunSettings(task="toy", train=train)


def stored(run: Run) -> str:
    return str(run.config()["train"]["precision"])


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_is_what_the_device_has_and_so_is_the_runs_identity(
    tmp_path: Path, machine: Machine, has_bf16: bool
):
    machine(has_bf16)
    auto, explicit = Run(tmp_path / "auto"), Run(tmp_path / "explicit")
    named = "bf16" if has_bf16 else "fp32"
    train(ToyTask(settings()), settings(), auto, Ranks())
    train(ToyTask(settings()), settings(named), explicit, Ranks())
    assert stored(auto) == named
    assert auto.origin()["key"] == explicit.origin()["key"]
    assert auto.best_weights.read_bytes() == explicit.best_weights.read_bytes()


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_run_goes_on_elsewhere_as_it_began(
    tmp_path: Path,
    machine: Machine,
    has_bf16: bool,
    said: list[str],
):
    whole, moved = Run(tmp_path / "whole"), Run(tmp_path / "moved")
    machine(has_bf16)
    train(ToyTask(settings()), settings(), whole, Ranks())
    with pytest.raises(Interrupted):
        train(StopsAt(settings()), settings(), moved, Ranks())
    assert not any(WARNING in text for text in said)
    machine(not has_bf16)
    train(ToyTask(settings()), settings(), moved, Ranks())
    assert stored(moved) == ("bf16" if has_bf16 else "fp32")
    assert whole.best_weights.read_bytes() == moved.best_weights.read_bytes()
    assert any(WARNING in text for text in said) == has_bf16


def test_another_precision_than_that_of_the_run_is_refused(tmp_path: Path, machine: Machine):
    machine(False)
    run = Run(tmp_path / "run")
    train(ToyTask(settings()), settings(), run, Ranks())
    with pytest.raises(ConfigError, match=r"train\.precision 'fp32' there, 'bf16' now"):
        train(ToyTask(settings()), settings("bf16"), run, Ranks())


def test_bf16_in_emulation_is_told_once_with_its_price(
    tmp_path: Path, machine: Machine, said: list[str]
):
    machine(False)
    for name in ("one", "two"):
        train(ToyTask(settings()), settings("bf16"), Run(tmp_path / name), Ranks())
    (warning,) = [text for text in said if WARNING in text]
    assert "up to 12 times as long as with fp32" in warning and "train.precision=fp32" in warning
    machine(True)
    train(ToyTask(settings()), settings("bf16"), Run(tmp_path / "three"), Ranks())
    machine(False)
    train(ToyTask(settings()), settings("auto"), Run(tmp_path / "four"), Ranks())
    assert sum(WARNING in text for text in said) == 1


def resolve(changes) -> RunSettings:
    content = settings().model_dump(mode="json")
    for dotted, value in changes.items():
        *sections, last = dotted.split(".")
        place = content
        for section in sections:
            if place[section] is None:
                place[section] = {}
            place = place[section]
        place[last] = value
    return RunSettings.model_validate(content)


def test_a_comparison_has_one_precision_wherever_its_runs_are_made(
    tmp_path: Path, machine: Machine
):
    variants = {
        "A": {},
        "fixed": {"set": {"train.precision": "bf16"}},
        "B": {"start_from": "A"},
        "searched": {"tune": {"space": {"optim.lr": [0.01, 0.02]}}},
    }
    comparison = CompareSettings(seeds=(0,), variants=variants, baselines=("identity",))
    machine(False)
    runs = tmp_path / "runs"
    compare(comparison.selected(["A"], []), resolve, ToyTask, tmp_path, Ranks())
    machine(True)
    planned(comparison, resolve, ToyTask, tmp_path, runs)
    compare(comparison, resolve, ToyTask, tmp_path, Ranks())
    found = {name: stored(Run(runs / name / "seed0")) for name in variants}
    assert found == {"A": "fp32", "fixed": "bf16", "B": "fp32", "searched": "fp32"}
    assert stored(Run(tmp_path / "tune" / "searched")) == "fp32"


def test_a_search_has_one_precision_wherever_its_trials_are_made(tmp_path: Path, machine: Machine):
    machine(False)
    tune = TuneSettings(space={"optim.lr": [0.01, 0.02]}, seed=0)
    search = Search("toy", tune, {"train.seed": 0}, resolve, ToyTask, tmp_path / "tune" / "toy")

    class Stopped(Exception):
        pass

    def stops(*_: object) -> ToyTask:
        if Run(search.folder).config_file.is_file():
            raise Stopped
        return ToyTask(settings())

    with pytest.raises(Stopped):
        run_search(Search(**(vars(search) | {"build": stops})), Ranks())
    machine(True)
    run_search(search, Ranks())
    trials = list((search.folder / "trials").glob("*/config.yaml"))
    assert [stored(Run(trial.parent)) for trial in trials] == ["fp32", "fp32"]


@pytest.mark.parametrize("limit", ["AVX2", "avx512_core"])
def test_what_onednn_is_held_to_is_not_in_hardware(limit: str):
    """In a process of its own: oneDNN reads the variable once."""
    code = "import torch; from nowcast.core.training.precision import computes_bf16 as has; "
    code += "print(has(torch.device('cpu')))"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": limit}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert said.stdout.decode().strip() == "False", said.stderr.decode()


def test_this_processor_has_bf16_where_torch_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert computes_bf16(CPU) == (supported and torch.cpu._is_avx512_bf16_supported())


def test_settings_that_say_more_stay_as_they_are(machine: Machine):
    machine(True)
    assert settled(settings("fp32")) == settings("fp32")
