"""A task that another package adds by an entry point, used from the command line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nowcast import registry
from nowcast.core.errors import ConfigError
from tests import ROOT

# Fit y = 2x to the numbers of a file: no more than a `Task`.
MODULE = """
from typing import Literal

import numpy as np
import torch
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.settings import Place, RunSettings, Section
from nowcast.core.storage.origin import digest
from nowcast.core.training.sampling import evaluation_plan, passes
from nowcast.registry import Entry


class Data(Section):
    root: Place


class Settings(RunSettings):
    task: Literal["numbers"] = "numbers"
    data: Data


class Batch:
    def __init__(self, x):
        self.x = x

    def to(self, device):
        return Batch(self.x.to(device))

    def take(self, which):
        return Batch(self.x[which])

    def names(self):
        return [str(float(x)) for x in self.x]


class Numbers:
    sites, objective, loss_scale, mask = ("hidden",), ("error",), None, None

    def __init__(self, settings, reuse):
        self.settings = settings
        self.x = torch.tensor([float(line) for line in settings.data.root.read_text().split()])

    def model(self):
        return torch.nn.Linear(1, 1)

    def dry_run(self, model):
        return model(torch.zeros(1, 1))

    def epoch(self):
        return len(self.x)

    def samples(self, split):
        return len(self.x)

    def training_batches(self, start, ranks):
        train, step = self.settings.train, start
        while True:
            yield Batch(self.x[passes(train.seed, step, train.batch_size, len(self.x))])
            step += 1

    def evaluation_batches(self, split, ranks):
        for rows in evaluation_plan(len(self.x), self.settings.train.batch_size, ranks):
            yield Batch(self.x[rows])

    def loss(self, model, batch):
        return (model(batch.x[:, None])[:, 0] - 2 * batch.x).square().mean()

    def score(self, model, batch):
        error = float(self.loss(model, batch)) * len(batch.x)
        return Sums({"error": np.array(error), "samples": np.array(len(batch.x))})

    def read(self, sums):
        return Scores({"error": float(sums["error"] / sums["samples"])})

    def data_hash(self):
        return digest(self.x.tolist())


ENTRY = Entry("numbers_task:Settings", "numbers_task:Numbers")
"""
CONFIG = """
task: numbers
data: {root: numbers.txt}
train: {steps: 200, batch_size: 8, validate_every: 100}
optim: {lr: 0.05, decay_every: null}
"""


@pytest.mark.slow
def test_an_installed_task_is_trained_and_scored_from_the_command_line(tmp_path: Path):
    project, installed = tmp_path / "project", tmp_path / "installed"
    project.mkdir()
    (project / "numbers_task.py").write_text(MODULE)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "numbers-task"\nversion = "1.0"\n'
        '[project.entry-points."nowcast.tasks"]\nnumbers = "numbers_task:ENTRY"\n'
        '[tool.setuptools]\npy-modules = ["numbers_task"]\n'
    )
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", installed, project], check=True, capture_output=True)
    (tmp_path / "numbers.txt").write_text("\n".join(str(n / 10) for n in range(-20, 21)))
    (tmp_path / "cfg.yaml").write_text(CONFIG)
    path = [str(installed), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]

    def nowcast(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nowcast", *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    done = nowcast("train", "cfg.yaml", "--run", "run")
    assert done.returncode == 0, done.stderr
    assert "run: finished 200 steps; best at step" in done.stdout
    scored = ("--data", "numbers.txt", "--json", "scores.json", "--split", "valid")
    done = nowcast("evaluate", "run", *scored)
    assert done.returncode == 0, done.stderr
    assert "41 samples, valid split" in done.stdout
    assert json.loads((tmp_path / "scores.json").read_text())["error"] < 1e-3
    for arguments, lacks in (
        (
            ("evaluate", "run", "--data", "numbers.txt", "--out", "board"),
            "--out: .*columns.*Numbers lacks",
        ),
        (("audit", "neurons", "run", "--features", "sign"), "audit neurons: .*features, groups"),
    ):
        done = nowcast(*arguments)
        assert done.returncode == 2 and re.search(lacks, done.stderr), done.stderr


Register = Callable[..., None]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Puts a package with an entry point on the path, as an installer leaves it."""

    def write(package: str, name: str, source: str) -> None:
        site = tmp_path / f"site_{package}"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nowcast.tasks]\n{name} = {package}:ENTRY")
        monkeypatch.syspath_prepend(site)

    return write


def test_own_and_added_tasks_are_named(register: Register):
    register("numbers_task", "numbers", MODULE)
    assert registry.names() == [*registry.TASKS, "numbers"]
    assert {"data", "optim", "tune"} <= registry.sections()
    assert registry.settings_class("numbers").__name__ == "Settings"
    with pytest.raises(ConfigError, match=r"imagenet, numbers, found 'number'.*numbers"):
        registry.settings_class("number")


def test_a_clash_names_the_packages_and_leaves_own_tasks_usable(register: Register):
    register("task_a", "glue", MODULE)
    with pytest.raises(ConfigError, match=r"'glue' of the package task_a and of nowcast itself;"):
        registry.names()
    assert registry.settings_class("glue").__module__.startswith("nowcast.")


def test_two_packages_may_not_add_one_name(register: Register):
    register("task_b", "twice", MODULE)
    register("task_c", "twice", MODULE)
    with pytest.raises(ConfigError, match=r"'twice' of the package task_[bc] and of .* task_[bc];"):
        registry.settings_class("twice")


START = "from nowcast.registry import Entry\nfrom nowcast.core.settings import RunSettings as R\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_like_it", "broken_0:ENTRY of the package broken_0: .* ModuleNotFoundErr"),
        ("ENTRY = 3", r"the package broken_1: expected an instance of nowcast.registry.Entry, fo"),
        (f"{START}ENTRY = Entry('broken_2:X', 'broken_2:X')", "broken_2:X of the package broken_2"),
        (
            f"{START}X = 1\nENTRY = Entry('broken_3:X', 'broken_3:X')",
            "broken of the package broken_3: expected settings",
        ),
        (f"{START}ENTRY = Entry('broken_4:R', 'broken_4:list')", "broken_4:list of the package"),
        (
            f"{START}X = lambda *_: 3\nENTRY = Entry('broken_5:R', 'broken_5:X')",
            "package broken_5: expected sites, .*, which int lacks; repair the package",
        ),
    ],
)
def test_a_broken_package_is_one_error_that_names_it(
    source: str, message: str, register: Register, request: pytest.FixtureRequest
):
    number = request.node.callspec.indices["source"]
    register(f"broken_{number}", "broken", source)
    with pytest.raises(ConfigError, match=message):
        registry.build(registry.settings_class("broken")(task="broken"))
