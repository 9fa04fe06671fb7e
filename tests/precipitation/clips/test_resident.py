"""Frames that stay on a device give the batches that are read otherwise."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.clips import loader
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.clips.resident import Resident, stays
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from tests.precipitation.clips.test_loader import KINDS

CPU = torch.device("cpu")


def task(root: Path, kind: str = "none", steps: int = 10_000, **data: Any) -> PrecipitationTask:
    content = {
        "data": {"root": str(root), "in_len": 4, "out_len": 2, "random_crop": (32, 32), **data},
        "model": KINDS[kind],
        "train": {"batch_size": 2, "steps": steps},
    }
    return PrecipitationTask(PrecipitationSettings.model_validate(content))


def assert_same(one: Any, other: Any) -> None:
    for name in ("levels", "mask", "times", "missing"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert (one.weight is None) == (other.weight is None)
    assert one.weight is None or torch.equal(one.weight, other.weight)


@pytest.mark.parametrize("masks", ["frame", "exclude", "both"])
def test_batches_are_the_same(synthetic: Path, masks: str):
    clips = task(synthetic, masks=masks).training_clips()
    near = Resident(clips, CPU)
    draws = [
        Draw(clip, 3 * turns, 5 * turns + mirrored, turns, mirrored, 1 + turns / 2)
        for clip, turns, mirrored in ((0, 0, False), (7, 1, True), (50, 2, False), (90, 3, True))
    ]
    assert_same(near.batch(draws), clips.batch(draws))
    assert_same(near.batch(draws[:1]), clips.batch(draws[:1]))


def test_it_stays_where_there_is_room_and_it_pays(synthetic: Path):
    clips = task(synthetic).training_clips()
    frames = len(clips.frame_times())
    needed = 2 * frames * clips.height * clips.width
    enough = frames / clips.length
    assert stays(clips, enough, 2 * needed)
    assert not stays(clips, enough, 2 * needed - 1)
    assert not stays(clips, enough - 1, 2 * needed)
    gappy = task(synthetic, max_missing=1).training_clips()
    assert not stays(gappy, enough, 10 * needed)


@pytest.mark.parametrize(
    ("kind", "steps", "free", "data", "stayed"),
    [
        ("none", 10_000, 2**40, {}, True),
        ("none", 10_000, 2**10, {}, False),
        ("none", 1, 2**40, {}, False),
        ("none", 10_000, 2**40, {"on_gpu": "never"}, False),
        ("comoving", 10_000, 2**40, {}, False),
    ],
)
def test_a_run_on_a_gpu_decides(
    synthetic: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    steps: int,
    free: int,
    data: dict[str, str],
    stayed: bool,
):
    made = task(synthetic, kind, steps, **data)
    plain = next(made.training_batches(3, Ranks()))
    monkeypatch.setattr(loader, "uses_cuda", lambda name: True)
    monkeypatch.setattr(loader, "pick_device", lambda name, ranks: CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    read: list[int] = []
    monkeypatch.setattr(loader, "load", lambda *given: read.append(1) or iter([plain]))
    found = next(made.training_batches(3, Ranks()))
    assert bool(read) == (not stayed)
    assert_same(found, plain)
