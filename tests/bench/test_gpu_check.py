"""The check of a GPU keeps what it finds, shows it, and does no stage twice."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts import gpu_check

STEP = {"batch": 16, "precision": "bf16", "memel": True, "ms": 4.0, "launches": 2140}


def test_a_step_is_shown_as_a_share_of_what_the_machine_can_do():
    found = {
        "ceilings": {"bf16_tflop_s": 500.0},
        "step_16_bf16_memel": STEP | {"memory_gib": 3.25, "gflop": 1000.0},
    }
    shown = gpu_check.table(found).splitlines()
    assert shown[2] == "| ceilings | bf16_tflop_s 500 |"
    assert shown[3] == ("| step_16_bf16_memel | 4.0 ms, 2140 launches, 3.2 GiB, 50% of the bound |")
    found["step_16_bf16_memel"]["graph_ms"] = 2.5
    (_, last) = gpu_check.table(found).splitlines()[2:]
    assert "2140 launches, 2.5 ms as a graph, 3.2 GiB, 80% of the bound" in last


@pytest.mark.parametrize(("status", "exit_code"), [(0, 0), (1, 1)])
def test_without_a_gpu_its_tests_are_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, exit_code: int
):
    run: list[list[str]] = []

    def stage(command: list[str], **_: Any) -> None:
        run.append(command)
        (tmp_path / "tests.json").write_text(json.dumps({"status": status, "passed": 20}))

    monkeypatch.setattr(gpu_check.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(subprocess, "run", stage)
    for _ in range(2):
        found = CliRunner().invoke(gpu_check.app, ["--out", str(tmp_path)])
        assert found.exit_code == exit_code
        assert "| tests | status" in found.output and "passed 20" in found.output
    assert [command[-4:-2] for command in run] == [["--stage", "tests"]]
