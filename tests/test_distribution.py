"""The sdist and the wheel: what pip installs works without the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is made from it."""
    out = tmp_path_factory.mktemp("dist")
    # A copy of what git tracks: `build/` and whatever else lies in the checkout stay out.
    checkout = tmp_path_factory.mktemp("checkout") / "nowcast"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_the_distributions_hold_what_they_must(built: Path):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name.startswith("memel_nowcast-") and sdist.name.startswith("memel_nowcast-")
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "nowcast/py.typed",
        "nowcast/core/report/report.html.jinja",
        "nowcast/precipitation/forecasting/released/comoving-memel/config.yaml",
        "nowcast/core/memel/_memel.pyi",
    ):
        assert part in names, part
    assert any(name.endswith("/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "docs/"))]
    with tarfile.open(sdist) as files:
        assert {Path(name).suffix for name in files.getnames()} >= {".c", ".py", ".pyi", ".jinja"}


@pytest.mark.slow
def test_the_wheel_installs_bare_and_then_forecasts(built: Path, synthetic: Path, tmp_path: Path):
    """First MEmeL alone, with torch and little else; then radar, with the weights that ship."""
    (wheel,) = built.glob("*.whl")
    here = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: object) -> str:
        done = subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=here,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call(sys.executable, "-m", "venv", "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    call(*pip, wheel)
    assert "extras: []" in call(python, ROOT / "scripts" / "check_bare.py")
    call(*pip, f"memel-nowcast[radar] @ {wheel.as_uri()}")
    nowcast = tmp_path / "venv" / "bin" / "nowcast"
    call(nowcast, "forecast", synthetic, "--out", "forecast")
    assert list((tmp_path / "forecast").glob("*.nc"))
    installed = call(python, "-m", "pip", "list", "--format=freeze").lower()
    for heavy in ("transformers", "pysteps", "playwright", "numba", "pytest"):
        assert f"{heavy}==" not in installed


def test_the_version_is_one():
    from nowcast import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
