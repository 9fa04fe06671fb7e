"""What commands say where nobody's terminal is: how far they are, and names as they are."""

import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nowcast.core.storage import yaml_files
from nowcast.core.terminal.displays import TextLines
from nowcast.core.terminal.tables import print_table
from tests import ROOT

SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"
QUICK = ["train.steps=4", "train.validate_every=2", "train.log_every=1", "data.random_crop=[32,32]"]
# Markup of rich, templates, mathematics, HTML, URLs, patterns and a shell.
NAME = "x[red] [b] 50% {b} $x_1$ <i> #1 ? * ü"

Run = Callable[..., tuple[int, str, str]]
Told = Callable[..., tuple[str, str]]


@pytest.fixture
def told(run: Run, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Calls the program by a clock that leaps half a minute; stdout, and what it has said of its
    progress."""
    lines: list[str] = []
    clock = itertools.count(0.0, 30.0)

    @contextmanager
    def display_on(rank: str = "0") -> Iterator[TextLines]:
        yield TextLines(lines.append, lambda: next(clock))

    monkeypatch.setattr("nowcast.cli.app.display_on", display_on)

    def call(*arguments: object) -> tuple[str, str]:
        lines.clear()
        status, out, err = run(*arguments)
        assert status == 0, err
        return out, "\n".join(lines)

    return call


def test_radar_commands(told: Told, tmp_path: Path):
    root = tmp_path / NAME
    out, said = told("data", "synth", root, "--days", "3", "--size", "32")
    assert "synthetic rain: 716 of 716, " in said
    assert f"`nowcast data info '{root}'`" in out
    out, said = told("data", "info", root)
    assert f"looking through {root}: " in said and f" {root} " in out.splitlines()[1]
    out, said = told("data", "check", root)
    assert "checking: 716 of 716" in said and f"{root}: 716 frames" in out
    _, said = told("data", "masks", root, "--check", "--frames", "100")
    assert "exclude mask: 100 of 100" in said and "frame masks: 716 of 716" in said
    out, said = told("data", "pack", root, tmp_path / f"{NAME}.h5")
    assert "packed: 716 of 716" in said and f"{tmp_path / NAME}.h5: " in out
    out, said = told(
        "forecast", root, "--weights", "flow", "--format", "nc", "--out", tmp_path / f"{NAME} out"
    )
    assert f"reading {root}: " in said and "forecasting with flow from " in said
    assert f"writing {tmp_path / NAME} out: " in said and f"{tmp_path / NAME} out: " in out


def test_training_scoring_and_looking_inside(told: Told, synthetic: Path, tmp_path: Path):
    folder, data = tmp_path / NAME, f"data.root={synthetic}"
    out, said = told("train", SMOKE, data, *QUICK, "--run", folder)
    assert re.search(
        re.escape(NAME) + r": 3 of 4 steps, loss \S+, lr 0\.002; valid B-MSE \d+, B-MAE \d+, "
        r"CSI \S+ 0\.5 mm/h \S+ \(step 2, the best\), \S+ s each, \S.* left",
        said,
    )
    assert f"{NAME}: validation: 4 of " in said and f"{folder}: finished 4 steps" in out
    out, said = told("evaluate", folder, "--data", synthetic)
    assert re.search(re.escape(f"scoring {NAME} on test: ") + r"(\d+) of \1 samples", said)
    assert f" {NAME} " in out
    online = ("--online", "--data", synthetic, "data.stride=50")
    assert re.search(r"scoring online on test: \d+ of", told("evaluate", "persistence", *online)[1])
    _, said = told("audit", "inhibition", folder, "--neurons", "90")
    assert "inhibiting and updating: 90 of 90 values" in said


def test_comparing_and_tuning(told: Told, synthetic: Path, tmp_path: Path):
    content = yaml_files.loads(SMOKE.read_text())
    content["data"] |= {"root": str(synthetic), "random_crop": [32, 32], "stride": 60}
    content["train"] = {"steps": 2, "batch_size": 2, "validate_every": 1}
    config, out = tmp_path / f"{NAME}.yaml", tmp_path / NAME
    search = "tune={space: {optim.lr: [0.001]}}"
    config.write_text(yaml_files.dumps(content))
    shown, said = told("tune", config, search, "--out", tmp_path / f"{NAME} tuned")
    assert f"{NAME}: 1 settings to try" in said and f"{NAME} optim.lr=0.001: 2 of 2 steps" in said
    assert " *" in shown and "* selected: " in shown and f"{NAME}: 1 settings tried" in shown
    content["compare"] = {"seeds": [0], "baselines": ["persistence"], "variants": {NAME: {}}}
    config.write_text(yaml_files.dumps(content))
    shown, said = told("compare", config, "--out", out)
    assert f"{NAME} seed 0: 2 of 2 steps, loss " in said and f"scoring {NAME} seed 0 on " in said
    assert "runs and baselines: 2 of 2 finished" in said
    assert f"table, report and pictures of {NAME}: " in said
    assert f" {NAME} " in shown and f"nowcast board '{out}'" in shown
    page = (out / "report.html").read_text()
    assert "x[red] [b] 50% {b} $x_1$ &lt;i&gt; #1 ? * ü" in page and "<i>" not in page
    assert r"| x\[red\] \[b\] 50% {b} \$x_1\$ \<i\> #1 ? * ü |" in (out / "table.md").read_text()


def test_a_table_in_a_pipe_is_not_folded(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = " ".join(["many words"] * 40)
    print_table([NAME, long], [["[/]", long], [long, NAME]], text=(0, 1))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    head, rule, one, other = (line.split() for line in lines)
    assert head == [*NAME.split(), *long.split()] and set(*rule) == {"─"}
    assert one == ["[/]", *long.split()] and other == [*long.split(), *NAME.split()]


def test_a_name_longer_than_a_terminal_is_folded_and_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    long = "/".join(str(number) for number in range(100))
    print_table(["", "B-MSE"], [[long, "score"]])
    text = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= 80
    assert re.sub(r"\s|score|B-MSE|─", "", text) == long


def test_closed_streams_are_written_nothing_to(synthetic: Path, tmp_path: Path):
    for name, closed in (("stderr", "2>&-"), ("stdout", ">&-")):
        out = tmp_path / f"{name}.h5"
        command = f"{sys.executable} -m nowcast data pack {synthetic} {out} {closed}"
        assert subprocess.run(["bash", "-c", command], check=False).returncode == 0
        assert out.is_file()


def test_a_mistake_in_the_command_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch):
    long = "/".join(["[red]folder[/]"] * 20)
    status, _, err = run("data", "synth", "out", "--days", long)
    assert status == 2 and "Invalid value for '--days'" in err
    status, _, err = run(f"data-{long}")
    assert status == 2
    assert f"Error: No such command 'data-{long}'." in err.splitlines()
