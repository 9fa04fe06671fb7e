"""A package of somebody else's brings a forecaster, and the command line trains it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "fading-rain"
version = "1.0"

[project.entry-points."nowcast.forecasters"]
fading = "fading_rain:FadingSettings"

[tool.setuptools]
py-modules = ["fading_rain"]
"""

MODULE = """
from typing import Literal

import torch
from torch import nn

from nowcast.core.settings import Positive
from nowcast.precipitation.forecasters.settings import ForecasterSettings


class Fading(nn.Module):
    def __init__(self, out_len, half_life):
        super().__init__()
        self.out_len = out_len
        self.rate = nn.Parameter(torch.tensor(-1.0 / half_life))

    def forward(self, frames, mask=None):
        steps = torch.arange(1, self.out_len + 1, device=frames.device)
        return frames[:, -1:] * torch.exp2(steps * self.rate)[:, None, None, None]


class FadingSettings(ForecasterSettings):
    kind: Literal["fading"] = "fading"
    half_life: Positive = 5.0

    def build(self, in_len, out_len, calibration=None):
        return Fading(out_len, self.half_life)
"""

CONFIG = """
task: precipitation
data: {in_len: 3, out_len: 2, stride: 40}
model: {kind: fading, half_life: 4.0}
train: {steps: 4, batch_size: 2, validate_every: 2, log_every: 2}
"""


@pytest.mark.slow
def test_its_kind_trains_and_forecasts_from_the_command_line(tmp_path: Path, synthetic: Path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "fading_rain.py").write_text(MODULE)
    (tmp_path / "fading.yaml").write_text(CONFIG)
    pip = ("-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    install = [sys.executable, *pip, "--target", str(installed), str(source)]
    subprocess.run(install, check=True, capture_output=True, text=True)

    def nowcast(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nowcast", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT), *ours])},
            capture_output=True,
            text=True,
        )

    ours = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    root = f"data.root={synthetic}"
    wrong = nowcast("train", "fading.yaml", root, "model.half_lif=3", "--run", "wrong")
    assert wrong.returncode == 2 and "did you mean model.half_life?" in wrong.stderr
    for arguments in (
        ("train", "fading.yaml", root, "model.half_life=3", "--run", "run"),
        ("evaluate", "run", "--data", synthetic, "--json", "scores.json"),
        ("forecast", synthetic, "--weights", "run", "--out", "forecast"),
    ):
        ran = nowcast(*arguments)
        assert ran.returncode == 0, ran.stderr
    assert "half_life: 3" in (tmp_path / "run" / "config.yaml").read_text()
    assert (tmp_path / "scores.json").is_file()
    assert list((tmp_path / "forecast").glob("*.nc"))
    exported = nowcast("export", "run", "out.pt2")
    assert exported.returncode == 2 and "kind that can be exported" in exported.stderr
    (installed / "fading_rain.py").unlink()
    gone = nowcast("train", "fading.yaml", root, "--run", "run")
    assert gone.returncode == 2 and "nowcast.forecasters: fading, fading_rain:" in gone.stderr
