"""Clips per second of three ways to read an archive: straightforward, tree with cache, pack."""

import multiprocessing
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from nowcast.precipitation.archive.frames import frame_path, mask_path
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.packed import Pack, open_archive
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.clips.clips import Clips, load
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.settings import PAPER_CROP, DataSettings
from scripts.bench.paired import Pairs, alternate

SETTINGS = {
    "paper, 120x120, 10 -> 10": DataSettings(
        in_len=10, out_len=10, crop="paper", masks="exclude", cache_mb=64
    ),
    "benchmark, 480x480, 5 -> 20": DataSettings(in_len=5, out_len=20, masks="frame", cache_mb=64),
}
FED_BATCHES = 100


@dataclass(frozen=True)
class Speed:
    """What was timed: batches of `clips` clips, straightforward and by one reader of nowcast.

    Args:
        batches_a_minute: that one worker process hands to a consumer which does nothing else.
        memory_mib: the largest that both processes were; what they share counts twice.
    """

    setting: str
    reader: str
    clips: int
    pairs: Pairs
    batches_a_minute: float
    memory_mib: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        faster, low, high = self.faster()
        return asdict(self) | {"faster": faster, "faster_low": low, "faster_high": high}

    def faster(self) -> tuple[float, float, float]:
        """How many times as fast as the straightforward reader, and its 95 % interval."""
        ratio, low, high = self.pairs.ratio()
        return 1 / ratio, 1 / high, 1 / low


def measure(root: Path, clips: int, pairs: int) -> list[Speed]:
    """Time both readers against the straightforward one, on random clips of the training days."""
    archive = Archive(root)
    rows = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        for name, settings in SETTINGS.items():
            file = Path(folder) / f"{settings.crop}.h5"
            crop = PAPER_CROP if settings.crop == "paper" else None
            pack(archive, file, crop=crop, masks=settings.masks)
            for reader, opened in (("tree", archive), ("pack", Pack(file))):
                source = Clips(opened, "train", settings, 1)
                rng = np.random.default_rng(0)
                drawn = iter(rng.integers(0, len(source), (2 * pairs + 2, clips)).tolist())

                def straightforward(source: Clips = source, drawn: Any = drawn) -> object:
                    return _read(pool, archive, source, next(drawn))

                def ours(source: Clips = source, drawn: Any = drawn) -> object:
                    return source.batch([Draw(clip) for clip in next(drawn)])

                timed = alternate(straightforward, ours, pairs)
                # In a process of its own, whose memory nothing else has touched.
                fresh = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=fresh) as one:
                    fed = one.submit(_feed, opened.root, settings, clips).result()
                rows.append(Speed(name, reader, clips, timed, *fed))
    return rows


def _feed(root: Path, settings: DataSettings, clips: int) -> tuple[float, float]:
    """Batches a minute from one `DataLoader` worker, and MiB of this process and the worker."""
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
    (own,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    kib = int(own) + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return 60 * FED_BATCHES / seconds, kib / 1024


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


def table(rows: Sequence[Speed]) -> str:
    """One line a reader, as Markdown."""
    lines = [
        "| setting | reader | straightforward | it | times as fast (95 % interval) | "
        "batches a minute | memory |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        slow, fast = (row.clips / np.median(times) for times in (row.pairs.one, row.pairs.other))
        faster, low, high = row.faster()
        lines.append(
            f"| {row.setting} | {row.reader} | {slow:.0f} clips/s | {fast:.0f} clips/s | "
            f"{faster:.1f} ({low:.1f} to {high:.1f}) | {row.batches_a_minute:.0f} | "
            f"{row.memory_mib:.0f} MiB |"
        )
    return "\n".join(lines)
