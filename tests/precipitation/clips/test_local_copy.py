"""An archive's copy on the machine that reads it: the same clips, made once, whole or not there."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest
import torch

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.clips import local_copy
from nowcast.precipitation.clips.local_copy import read_near
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from nowcast.precipitation.task import PrecipitationTask


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)  # of the whole machine, whose tests may be many


@pytest.fixture
def archive(synthetic: Path, tmp_path: Path) -> Path:
    """A pack of three days, which is copied in a moment."""
    out = tmp_path / "shared" / "rain.h5"
    out.parent.mkdir()
    pack(Archive(synthetic), out, crop=(0, 30, 0, 30), workers=1)
    return out


def near(root: Path, folder: Path) -> Path:
    return read_near(open_archive(root), str(folder)).root


def settings(root: Path, copy: str | None) -> PrecipitationSettings:
    data = {"root": str(root), "crop": (0, 30, 0, 30), "local_copy": copy}
    train = {"batch_size": 2, "workers": 0}
    return PrecipitationSettings.model_validate({"data": data, "train": train})


def test_clips_are_those_of_the_archive(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DISK_OF_NODE", str(tmp_path / "node"))
    plain = PrecipitationTask(settings(archive, None))
    copied = PrecipitationTask(settings(archive, "$DISK_OF_NODE/copies"))
    assert copied.data_hash() == plain.data_hash() and copied.samples("test")
    assert not (tmp_path / "node").exists()  # whoever only looks makes no copy
    for batches in ("training", "valid"):
        found = []
        for task in (plain, copied):
            every = (
                task.training_batches(0, Ranks())
                if batches == "training"
                else task.evaluation_batches(batches, Ranks())
            )
            found.append(next(iter(every)))
        assert torch.equal(found[0].levels, found[1].levels)
        assert torch.equal(found[0].mask, found[1].mask)
    assert [path.name for path in (tmp_path / "node").rglob("*.h5")] == ["rain.h5"]
    incidental = PrecipitationSettings.incidental
    assert "data.local_copy" in incidental


@pytest.mark.parametrize("kind", ["pack", "tree"])
def test_it_is_made_once_and_again_where_it_lost_a_file(
    archive: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    root = archive
    if kind == "tree":
        root = tmp_path / "tree"
        shutil.copytree(synthetic, root, ignore=shutil.ignore_patterns("*[1-9]00.*"))
    made: list[Path] = []
    make = local_copy._make

    def counted(*given: object) -> None:
        made.append(root)
        make(*given)

    monkeypatch.setattr(local_copy, "_make", counted)
    with ThreadPoolExecutor(3) as pool:  # each with a lock of its own, as processes have
        copies = set(pool.map(lambda _: near(root, tmp_path / "node"), range(3)))
    assert len(copies) == 1 and len(made) == 1
    (copy,) = copies
    one = next(path for path in (copy, *copy.rglob("*")) if path.is_file())
    content = one.read_bytes()
    one.unlink()
    assert near(root, tmp_path / "node") == copy and len(made) == 2
    assert one.read_bytes() == content
    source = root if kind == "pack" else root / one.relative_to(copy)
    os.utime(source, ns=(0, 0))  # another archive, as far as anybody can tell
    assert near(root, tmp_path / "node") != copy and len(made) == 3
    assert not list((tmp_path / "node").glob("*.*[!k]"))  # locks, and nothing half made


def test_without_room_it_is_refused(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(
        ConfigError, match=r"local_copy: expected .*B free in .* found 1.0 kB; make"
    ):
        near(archive, tmp_path / "node")


@pytest.mark.parametrize("folder", ["copies", "$NO_SUCH_DISK/copies"])
def test_a_folder_that_no_machine_has_is_refused(archive: Path, folder: str):
    with pytest.raises(ConfigError, match="local_copy: expected an absolute folder on"):
        read_near(open_archive(archive), folder)


def test_a_disk_that_gives_other_bytes_back_is_told(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digest_of = hashlib.file_digest

    def spoilt(file: BinaryIO, name: str) -> object:
        Path(file.name).write_bytes(b"other")
        return digest_of(file, name)

    monkeypatch.setattr(hashlib, "file_digest", spoilt)
    with pytest.raises(DataError, match=r"expected what was copied from .*rain\.h5, found other"):
        near(archive, tmp_path / "node")
    assert not list((tmp_path / "node").rglob("*.h5"))


def test_an_archive_that_is_written_to_is_told(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digest_of = hashlib.file_digest

    def meanwhile(file: BinaryIO, name: str) -> object:
        os.utime(archive, ns=(0, 0))
        return digest_of(file, name)

    monkeypatch.setattr(hashlib, "file_digest", meanwhile)
    with pytest.raises(DataError, match="found it changed; run the command again"):
        near(archive, tmp_path / "node")
