"""Training from several archives: sizes, steps and Z-R relations of each, one window for all."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.clips.loader import load
from nowcast.precipitation.clips.mixture import Mixture, tickets
from nowcast.precipitation.settings import DataSettings, PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from nowcast.precipitation.units import Calibration, encode

DAY = np.datetime64("2020-06-01T00:00", "m")
RELATION = Calibration(200.0, 1.6)


def archive(
    root: Path, *, step: int = 5, frames: int = 30, size: tuple[int, int] = (40, 48), **told: Any
) -> Path:
    """Frame t is 1 mm/h in its left half and t / 10 + 1 mm/h in its right one."""
    height, width = size
    relation = told.get("relation", Calibration())
    description = Description(
        "made", "the tests", step, height, width, relation.zr_a, relation.zr_b
    )
    mask = np.ones(size, dtype=bool)
    with ArchiveWriter(root, description) as writer:
        for number in range(frames):
            rate = np.full(size, 1.0)
            rate[:, width // 2 :] += number / 10
            moment = DAY + number * step
            writer.write(moment, encode(relation.pixel_from_rate(rate)), mask)
        writer.finish(mask, {"train": {"20200601": 1.0}, "valid": {}, "test": {}})
    return root


def settings(*sources: dict[str, Any], **data: Any) -> DataSettings:
    content = {"sources": sources, "random_crop": [32, 32], "in_len": 3, "out_len": 3, **data}
    return DataSettings.model_validate(content)


def batches(data: DataSettings, count: int, size: int = 4, **how: Any) -> list[Any]:
    mixture = Mixture(data, how.pop("calibration", Calibration()))
    plan = tickets(size, how.get("seed", 0), how.get("start", 0), how.get("rank", 0), 1)
    return list(islice(load(mixture, plan, 0), count))


def test_speeds_lengths_and_weights_are_drawn_as_asked(tmp_path: Path):
    fast = archive(tmp_path / "fast", step=2, frames=12)
    slow = archive(tmp_path / "slow", step=10, frames=12)
    data = settings(
        {"root": fast, "weight": 3.0, "speeds": [1, 2, 3]},
        {"root": slow},
        lengths=[[3, 3], [3, 1]],
    )
    steps: list[int] = []
    shapes = set()
    for batch in batches(data, 60):
        shapes.add((batch.in_len, batch.truth.shape[1]))
        steps += batch.times.diff(dim=1)[:, 0].tolist()
        # Twelve frames have no six at three times their speed.
        assert batch.truth.shape[1] == 1 or 6 not in steps[-4:]
    assert shapes == {(3, 3), (3, 1)}
    counts = {step: steps.count(step) for step in set(steps)}
    assert set(counts) == {2, 4, 6, 10}
    assert counts[10] / len(steps) == pytest.approx(0.25, abs=0.08)


def test_small_frames_are_padded_with_no_data(tmp_path: Path):
    data = settings({"root": archive(tmp_path / "small", size=(20, 48))})
    for batch in batches(data, 5):
        assert batch.levels.shape[-2:] == (32, 32)
        rows = batch.mask.any(dim=-1).sum(dim=-1)
        assert bool((rows == 20).all())
        assert bool((batch.levels[~batch.mask] == 0).all())


def test_levels_come_in_one_relation(tmp_path: Path):
    data = settings({"root": archive(tmp_path / "other", relation=RELATION)})
    (batch,) = batches(data, 1)
    rates = Calibration().rate_from_pixel(batch.inputs.numpy())
    assert rates.min() == pytest.approx(1.0, rel=0.02)
    (kept,) = batches(data, 1, calibration=RELATION)
    assert RELATION.rate_from_pixel(kept.inputs.numpy()).min() == pytest.approx(1.0, rel=0.02)


def test_changes_do_what_they_say(tmp_path: Path):
    root = archive(tmp_path / "one")

    def drawn(**data: Any) -> list[Any]:
        return batches(settings({"root": root}, **data), 12)

    plain = drawn()
    backwards = drawn(augment={"reverse": 1.0})
    for straight, turned in zip(plain, backwards, strict=True):
        assert torch.equal(straight.levels.flip(1), turned.levels)
    scaled = drawn(augment={"rate_factor": 2.0})
    ratios = []
    for straight, changed in zip(plain, scaled, strict=True):
        before, after = (
            Calibration().rate_from_pixel(batch.inputs[:, 0, 0, 0, 0].numpy())
            for batch in (straight, changed)
        )
        ratios += (after / before).tolist()
    assert 0.48 < min(ratios) < 0.7 and 1.4 < max(ratios) < 2.1
    assert 0.3 < np.mean(np.abs(np.log(ratios)) < 1e-6) < 0.7  # half stay as they are
    turned = drawn(turns=True, flips=True)
    # The rain grows from left to right; turned, from any side to the other.
    heavy = {
        tuple(np.flatnonzero(batch.levels[clip, -1, 0][ends] > batch.levels[clip, -1, 0].min()))
        for batch in turned
        for clip in range(4)
        for ends in [([0, 16, 16, 31], [16, 0, 31, 16])]
    }
    assert len(heavy) > 3


def test_outages_empty_inputs_alone_and_say_nothing(tmp_path: Path):
    root = archive(tmp_path / "one")

    def drawn(share: float, **how: Any) -> list[Any]:
        data = settings({"root": root}, in_len=5, out_len=2, augment={"outage": share})
        return batches(data, 40, **how)

    plain, emptied = drawn(0.0), drawn(1.0)
    changed, whole, partly, early = 0, 0, 0, 0
    for before, after in zip(plain, emptied, strict=True):
        assert torch.equal(before.truth, after.truth)
        assert torch.equal(before.mask, after.mask)
        assert torch.equal(before.inputs[:, -1], after.inputs[:, -1])  # the newest stays
        gone = before.levels != after.levels
        assert not after.levels[gone].any()  # dry, where anything is changed
        for clip in gone:
            frames = clip.flatten(1)
            changed += bool(frames.any())
            whole += bool(frames.all(1).any())
            partly += bool((frames.any(1) & ~frames.all(1)).any())
            early += bool(frames[0].any())
    assert changed > 150 and whole > 20 and partly > 60 and 20 < early < 150
    some = [
        bool((before.levels[clip] != after.levels[clip]).any())
        for before, after in zip(plain, drawn(0.3), strict=True)
        for clip in range(4)
    ]
    assert 0.15 < np.mean(some) < 0.45
    again = drawn(1.0, start=7)[0]
    assert torch.equal(again.levels, emptied[7].levels)
    data = settings({"root": root}, in_len=5, out_len=2, augment={"outage": 1.0})
    half = next(load(Mixture(data, Calibration()), tickets(4, 0, 7, 1, 2), 0))
    assert torch.equal(half.levels, again.levels[1::2])


def test_a_look_changes_inputs_and_truth_alike_and_nothing_else(tmp_path: Path):
    root = archive(tmp_path / "one", size=(20, 48))

    def drawn(look: float) -> list[Any]:
        return batches(settings({"root": root}, augment={"look": look}), 20)

    plain, other = drawn(0.0), drawn(1.0)
    inputs, truth = 0, 0
    for before, after in zip(plain, other, strict=True):
        assert torch.equal(before.times, after.times)
        assert not (after.mask & ~before.mask).any()  # padding stays masked, in its place
        assert not after.levels[~after.mask].any()
        inputs += int((before.inputs != after.inputs).flatten(1).any(1).sum())
        truth += int((before.truth != after.truth).flatten(1).any(1).sum())
    assert inputs > 60 and truth > 60


def test_coarse_frames_are_means_of_rain_rates(tmp_path: Path):
    root = tmp_path / "chequered"
    rate = np.where((np.arange(64)[:, None] + np.arange(64)) % 2, 4.0, 0.0)
    description = Description("made", "the tests", 5, 64, 64, 58.53, 1.56)
    mask = np.ones((64, 64), dtype=bool)
    mask[0, 0] = False
    with ArchiveWriter(root, description) as writer:
        for number in range(8):
            level = encode(Calibration().pixel_from_rate(rate))
            writer.write(DAY + number * 5, level, mask)
        writer.finish(mask, {"train": {"20200601": 1.0}, "valid": {}, "test": {}})
    (batch,) = batches(settings({"root": root}, windows=[{"side": 32, "coarsen": [2]}]), 1)
    rates = Calibration().rate_from_pixel(batch.inputs.numpy())
    assert rates == pytest.approx(np.full(rates.shape, 2.0), rel=0.02)
    assert int((~batch.mask[0, 0]).sum()) == 1
    window = [{"side": 32, "coarsen": [2]}]
    (batch,) = batches(settings({"root": root}, windows=window, augment={"sampled": 1.0}), 1)
    rates = Calibration().rate_from_pixel(batch.inputs.numpy())
    assert set(rates.round(1).flatten()) == {0.0}  # one pixel of each block, no mean
    assert bool(batch.mask.all())


def test_a_batch_is_of_one_window_and_of_archives_that_fill_it(tmp_path: Path):
    large = archive(tmp_path / "large", size=(130, 96), step=10)
    small = archive(tmp_path / "small", size=(32, 32))
    windows = [
        {"side": 96, "weight": 3.0, "fill": 0.6},
        {"side": 32, "clips": 3, "fill": 0.6, "coarsen": [1, 3, 4]},
    ]
    drawn = batches(settings({"root": large}, {"root": small}, windows=windows), 60)
    sides = [batch.levels.shape[-1] for batch in drawn]
    assert {(len(batch.levels), side) for batch, side in zip(drawn, sides, strict=True)} == {
        (4, 96),
        (12, 32),
    }
    assert np.mean(np.array(sides) == 96) == pytest.approx(0.75, abs=0.15)
    for batch, side in zip(drawn, sides, strict=True):
        steps = batch.times.diff(dim=1)[:, 0]
        assert side == 32 or bool((steps == 10).all())  # the small archive would be padded
    assert any(5 in batch.times.diff(dim=1) for batch in drawn)
    again = Mixture(settings({"root": large}, {"root": small}, windows=windows), Calibration())
    assert again.batch_bytes(4) >= max(batch.levels.nbytes + batch.mask.nbytes for batch in drawn)
    with pytest.raises(ConfigError, match="small: expected frames that fill a window"):
        Mixture(settings({"root": small}, windows=[windows[0]]), Calibration())


def test_forecasters_are_told_step_and_pixels_of_most_clips(tmp_path: Path):
    root = archive(tmp_path / "one", size=(64, 64))
    source = {"root": root, "speeds": [2], "pixel_km": 1.5}
    window = [{"side": 32, "coarsen": [2]}]
    (batch,) = batches(settings(source, windows=window), 1)
    assert batch.scale.tolist() == [[10.0, 3.0]] * 4
    drawn = batches(settings(source, windows=window, augment={"untold": 0.5}), 25)
    told = torch.cat([batch.scale for batch in drawn]) > 0
    assert told.float().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.15)
    assert 0.1 < float((told[:, 0] & told[:, 1]).float().mean()) < 0.4  # each by itself
    (batch,) = batches(settings({"root": root}), 1)
    assert batch.scale.tolist() == [[5.0, 0.0]] * 4  # its grid is not stated


def test_only_some_forecasters_learn_from_more_frames_than_they_give(tmp_path: Path):
    data = {"sources": [{"root": str(tmp_path)}], "random_crop": [32, 32], "lengths": [[3, 20]]}
    PrecipitationSettings.model_validate({"data": data, "model": {"kind": "comoving"}})
    with pytest.raises(ValueError, match=r"data.lengths: expected at most out_len, 10, output"):
        PrecipitationSettings.model_validate({"data": data, "model": {"kind": "lagrangian"}})


def test_windows_with_rain_are_sought(tmp_path: Path):
    root = tmp_path / "corner"
    rate = np.zeros((128, 128))
    rate[:32, :32] = 5.0
    description = Description("made", "the tests", 5, 128, 128, 58.53, 1.56)
    mask = np.ones_like(rate, dtype=bool)
    with ArchiveWriter(root, description) as writer:
        for number in range(8):
            level = encode(Calibration().pixel_from_rate(rate))
            writer.write(DAY + number * 5, level, mask)
        writer.finish(mask, {"train": {"20200601": 1.0}, "valid": {}, "test": {}})

    def share(least: float) -> float:
        """Of the clips with rain in their last input frame."""
        found = batches(settings({"root": root}, min_wet=least), 25)
        return float(np.mean([(batch.levels[:, 2] > 0).flatten(1).any(1) for batch in found]))

    assert share(0.01) > 0.9
    assert share(0.0) < 0.6


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_drawn(tmp_path: Path):
    data = settings({"root": archive(tmp_path / "one")}, turns=True, augment={"reverse": 0.5})
    third = batches(data, 3)[2]
    assert torch.equal(batches(data, 1, start=2)[0].levels, third.levels)
    assert not torch.equal(batches(data, 1, start=2, seed=1)[0].levels, third.levels)
    mixture = Mixture(data, Calibration())
    halves = [next(load(mixture, tickets(4, 0, 2, rank, 2), 0)) for rank in range(2)]
    assert torch.equal(halves[0].levels, third.levels[::2])
    assert torch.equal(halves[1].levels, third.levels[1::2])


def test_an_archive_too_short_says_so(tmp_path: Path):
    root = archive(tmp_path / "short", frames=5)
    with pytest.raises(ConfigError, match=r"short: expected clips of 6 frames .* found 5 frames"):
        Mixture(settings({"root": root}), Calibration())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sources": [], "lengths": [[3, 3]]}, "lengths, windows and augment: are of sources"),
        ({"random_crop": [32, 48]}, "random_crop of a square"),
        ({"masks": "exclude"}, "masks: frame"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, data: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        settings(*[{"root": tmp_path}], **data)


def test_the_task_trains_on_the_mixture_and_validates_on_its_root(synthetic: Path, tmp_path: Path):
    other = archive(tmp_path / "other", relation=RELATION)
    made = PrecipitationTask(
        PrecipitationSettings.model_validate(
            {
                "data": {
                    "root": synthetic,
                    "sources": [{"root": other}],
                    "random_crop": [32, 32],
                    "in_len": 3,
                    "out_len": 3,
                    "lengths": [[3, 2]],
                    "stride": 40,
                },
                "model": {
                    "comoving": {"stem": 2, "hidden": [3, 3], "guide": 2, "head": 3},
                },
                "loss": {"relative": True},
                "train": {"batch_size": 2},
            }
        )
    )
    torch.manual_seed(0)
    model = made.model()
    batch = next(made.training_batches(0, Ranks()))
    assert batch.truth.shape == (2, 2, 1, 32, 32)
    loss = made.loss(model, batch)
    assert 0 < loss.item() < 3
    assert made.loss_scale is None  # the loss is no multiple of the scores
    assert made.epoch() == 26
    scored = next(made.evaluation_batches("valid", Ranks()))
    assert scored.truth.shape[1] == 3
    assert made.read_columns(made.score(model, scored))["b_mse"] is not None
    alone = PrecipitationTask(
        made.settings.model_copy(
            update={"data": made.settings.data.model_copy(update={"sources": ()})}
        )
    )
    assert alone.data_hash() != made.data_hash()
