"""Clips per second of three ways to read an archive: straightforward, tree with cache, pack."""

import multiprocessing
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from nowcast.precipitation.archive.frames import frame_path, mask_path
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.packed import Pack
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.clips.loader import load
from nowcast.precipitation.settings import PAPER_CROP, DataSettings
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from nowcast.precipitation.synthetic.archive import write_synthetic
from scripts.bench.apart import memory_kib
from scripts.bench.benchmark import (
    Asked,
    Benchmark,
    Cells,
    Row,
    in_turns,
    interval,
    no_note,
    ratio,
)

SETTINGS = {
    "paper, 120x120, 10 -> 10": DataSettings(
        in_len=10, out_len=10, crop="paper", masks="exclude", cache_mb=64
    ),
    "benchmark, 480x480, 5 -> 20": DataSettings(in_len=5, out_len=20, masks="frame", cache_mb=64),
}
FED_BATCHES = 100


def measure(asked: Asked) -> list[Row]:
    """Time both readers against the straightforward one, on random clips of the training days."""
    clips = asked.only("batch")
    rows = []
    with _archive(asked.root) as archive, tempfile.TemporaryDirectory() as folder:
        pool = ThreadPoolExecutor()
        for name, settings in SETTINGS.items():
            file = Path(folder) / f"{settings.crop}.h5"
            crop = PAPER_CROP if settings.crop == "paper" else None
            pack(archive, file, crop=crop, masks=settings.masks)
            for reader, opened in (("tree", archive), ("pack", Pack(file))):
                source = Clips(opened, "train", settings, 1)
                rng = np.random.default_rng(0)
                drawn = iter(rng.integers(0, len(source), (2 * asked.pairs + 2, clips)).tolist())

                def straightforward(source: Clips = source, drawn: Any = drawn) -> object:
                    return _read(pool, archive, source, next(drawn))

                def ours(source: Clips = source, drawn: Any = drawn) -> object:
                    return source.batch([Draw(clip) for clip in next(drawn)])

                (slow, fast), _ = in_turns((straightforward, ours), asked.pairs)
                # In a process of its own, whose memory nothing else has touched.
                fresh = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=fresh) as one:
                    fed = one.submit(_feed, opened.root, settings, clips).result()
                row = {"setting": name, "reader": reader, "clips": clips, "straightforward": slow}
                rows.append(row | {"seconds": fast, "faster": ratio(slow, fast)} | fed)
        pool.shutdown()
    return rows


@contextmanager
def _archive(root: Path | None) -> Iterator[Archive]:
    """The user's, or three days of synthetic rain."""
    with tempfile.TemporaryDirectory() as folder:
        if root is None:
            root = Path(folder) / "rain"
            write_synthetic(root, days=3, seed=0, height=480, width=480)
        yield Archive(root)


def _feed(root: Path, settings: DataSettings, clips: int) -> Row:
    """Batches a minute from one `DataLoader` worker to a consumer that does nothing else, and the
    largest that both processes were, MiB; what they share counts twice."""
    source = Clips(open_archive(root), "train", settings, 1)
    drawn = np.random.default_rng(0).integers(0, len(source), (FED_BATCHES, clips))
    plan = [[Draw(clip) for clip in batch] for batch in drawn.tolist()]
    began = time.perf_counter()
    for _ in load(source, iter(plan), workers=1):
        pass
    seconds = time.perf_counter() - began
    import resource  # not on Windows, nor is /proc

    # Its own peak as Linux has it: getrusage counts what this process was before it was spawned.
    # The worker's is on record once it has ended, which the end of the loop waits for.
    kib = memory_kib("VmHWM") + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"batches_a_minute": 60 * FED_BATCHES / seconds, "memory_mib": kib / 1024}


def _read(pool: ThreadPoolExecutor, archive: Archive, clips: Clips, numbers: Sequence[int]) -> Any:
    """Decode every PNG of every clip, cut it, stack it; masks where frames have their own."""
    settings = clips.settings
    top, bottom, left, right = settings.crop_bounds or (0, *archive.shape[:1], 0, archive.shape[1])

    def decode(moment: np.datetime64) -> np.ndarray:
        image = cv2.imread(str(frame_path(archive.root, moment)), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        return np.asarray(image)[top:bottom, left:right]

    def unmask(moment: np.datetime64) -> np.ndarray:
        data = zlib.decompress(mask_path(archive.root, moment).read_bytes())
        whole = np.frombuffer(data, dtype=bool).reshape(archive.shape)
        return whole[top:bottom, left:right]

    def stacked(read: Callable[[np.datetime64], np.ndarray]) -> torch.Tensor:
        batch = [np.stack(list(pool.map(read, times))) for times in moments]
        return torch.from_numpy(np.stack(batch))

    moments = [clips.starts[number] + archive.step * np.arange(clips.length) for number in numbers]
    if settings.masks == "exclude":
        usable = torch.from_numpy(archive.usable[top:bottom, left:right].copy())
        return stacked(decode), usable.expand(len(numbers), clips.length, -1, -1).clone()
    return stacked(decode), stacked(unmask)


def cells(row: Row) -> Cells:
    """Of a line."""
    slow, fast = (row["clips"] / np.median(row[way]) for way in ("straightforward", "seconds"))
    return {
        "setting": row["setting"],
        "reader": row["reader"],
        "straightforward": f"{slow:.0f} clips/s",
        "it": f"{fast:.0f} clips/s",
        "times as fast (95 % interval)": interval(row["faster"], 1),
        "batches a minute": f"{row['batches_a_minute']:.0f}",
        "memory": f"{row['memory_mib']:.0f} MiB",
    }


BENCHMARK = Benchmark(
    "clips per second of tree and pack, beside a reader that decodes every PNG of every clip",
    measure,
    cells,
    no_note,
    ("root", "batch", "pairs"),
    Asked(batch=(16,), pairs=15),
)
