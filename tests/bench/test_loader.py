"""Claims of the loader's benchmark; how fast it is, no test says."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw
from scripts.bench import loader
from scripts.bench.benchmark import Asked


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 frames of 480x480, each unlike the others."""
    root = tmp_path_factory.mktemp("bench") / "wide"
    rng = np.random.default_rng(0)
    start = np.datetime64("2015-07-09T00:00", "m")
    with ArchiveWriter(root, Description("wide", "the tests", 6, 480, 480, 58.53, 1.56)) as writer:
        for number in range(32):
            levels = np.roll(np.kron(rng.integers(0, 200, (12, 12)), np.ones((40, 40))), number, 0)
            mask = rng.random((480, 480)) < 0.9
            writer.write(start + 6 * number, levels.astype(np.uint8), mask)
        writer.finish(rng.random((480, 480)) < 0.9, {"train": {"20150709": 1.0}})
    return root


@pytest.mark.parametrize("setting", loader.SETTINGS)
def test_the_straightforward_reader_reads_the_same_clips(wide: Path, setting: str):
    archive = Archive(wide)
    clips = Clips(archive, "train", loader.SETTINGS[setting], 1)
    ours = clips.batch([Draw(3), Draw(0)])
    with ThreadPoolExecutor() as pool:
        levels, mask = loader._read(pool, archive, clips, [3, 0])
    assert torch.equal(levels, ours.levels[:, :, 0])
    assert torch.equal(mask, ours.mask[:, :, 0])


@pytest.mark.slow
def test_every_reader_has_a_row(wide: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loader, "FED_BATCHES", 3)
    paper = next(iter(loader.SETTINGS))
    monkeypatch.setattr(loader, "SETTINGS", {paper: loader.SETTINGS[paper]})
    rows = loader.measure(Asked(batch=[2], pairs=2, root=wide))
    assert [(row["setting"], row["reader"]) for row in rows] == [(paper, "tree"), (paper, "pack")]
    assert all(row["batches_a_minute"] > 0 and row["memory_mib"] > 50 for row in rows)
    assert len(loader.BENCHMARK.table(rows).splitlines()) == 2 + len(rows)
