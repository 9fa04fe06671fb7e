"""`nowcast data masks` as a user meets it."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nowcast.cli.data import data
from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.synthetic.archive import write_synthetic


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    write_synthetic(root, days=3, height=48, width=48, step_minutes=30, clutter=True)
    return root


def masks(*arguments: object) -> str:
    result = CliRunner().invoke(data, ["masks", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_masks_and_a_picture_are_written_where_there_are_none(root: Path):
    archive = Archive(root)
    shutil.rmtree(root / frames.MASK_FOLDER)
    exclude = archive.lists / "mask_dat.npz"
    exclude.unlink()
    output = masks(root)
    assert output.count(": written") == 2
    assert "outlying" in output and "spike" in output
    assert exclude.is_file() and (root / "masks.png").is_file()
    assert all(frames.mask_path(root, moment).is_file() for moment in archive.moments)
    with pytest.raises(ConfigError, match="not overwritten"):
        masks(root)


def test_check_compares_and_writes_nothing_but_the_picture_asked_for(root: Path, tmp_path: Path):
    Archive(root)  # writes its index
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    to = tmp_path / "seen.png"
    output = masks(root, "--check", "--picture", to)
    assert "precision" in output and "recall" in output
    assert to.is_file()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_radar_off_the_frame_is_an_error(root: Path):
    with pytest.raises(ConfigError, match="inside the 48x48 frame"):
        masks(root, "--check", "--radar", "48,0")
