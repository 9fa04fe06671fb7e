"""Clips never leave their split, step or frame, and draws are a function of the step alone."""

from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import frame_path, mask_path
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.packed import Pack
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.clips.clips import Clip, Clips
from nowcast.precipitation.clips.draws import Draw, evaluation_draws, training_draws
from nowcast.precipitation.clips.starts import clip_starts, episodes
from nowcast.precipitation.settings import DataSettings
from tests.conftest import every

SIX = np.timedelta64(6, "m")
DAY = "2015-07-09T"


def moments(*clock: str) -> np.ndarray:
    return np.array([f"{DAY}{time}" for time in clock], dtype="datetime64[m]")


def clock(found: np.ndarray) -> list[str]:
    return [str(moment)[11:] for moment in found]


HOLED = moments("10:00", "10:06", "10:18", "10:24", "10:42", "10:45", "10:51")


@pytest.mark.parametrize(
    ("max_missing", "expected"),
    [
        (0, [["10:00", "10:06"], ["10:18", "10:24"], ["10:42"], ["10:45", "10:51"]]),
        (1, [["10:00", "10:06", "10:18", "10:24"], ["10:42"], ["10:45", "10:51"]]),
        (2, [["10:00", "10:06", "10:18", "10:24", "10:42"], ["10:45", "10:51"]]),
        # 10:45 is off the grid of 6 minutes, whatever may be missing.
        (99, [["10:00", "10:06", "10:18", "10:24", "10:42"], ["10:45", "10:51"]]),
    ],
)
def test_episodes_end_at_gaps_and_off_the_step(max_missing: int, expected: list[list[str]]):
    assert [clock(part) for part in episodes(HOLED, SIX, max_missing)] == expected


def test_no_moments_make_no_episode_and_no_clip():
    assert episodes(HOLED[:0], SIX, 0) == []
    assert len(clip_starts(HOLED[:0], SIX, 1, 1, 0)) == 0
    assert len(clip_starts(HOLED, SIX, 3, 1, 0)) == 0


@pytest.mark.parametrize(
    ("length", "stride", "max_missing", "expected"),
    [
        (2, 1, 0, ["10:00", "10:18", "10:45"]),
        (1, 1, 0, ["10:00", "10:06", "10:18", "10:24", "10:42", "10:45", "10:51"]),
        (1, 2, 0, ["10:00", "10:18", "10:42", "10:45"]),
        # 10:12 is missing: clips start there and run over it; one frame may lie past the end.
        (3, 1, 1, ["10:00", "10:06", "10:12", "10:18", "10:45"]),
        (5, 1, 1, ["10:00", "10:06"]),
        (6, 1, 1, ["10:00"]),
        (7, 1, 1, []),
        (3, 2, 1, ["10:00", "10:12", "10:45"]),
        (4, 2, 2, ["10:00", "10:12", "10:24", "10:36", "10:45"]),
        # With more allowed than a clip has frames, one of them must be there all the same.
        (2, 3, 3, ["10:00", "10:18", "10:36", "10:45"]),
    ],
)
def test_clip_starts_by_hand(length: int, stride: int, max_missing: int, expected: list[str]):
    assert clock(clip_starts(HOLED, SIX, length, stride, max_missing)) == expected


@given(st.sets(st.integers(0, 60)), st.integers(4, 9), st.integers(1, 4), st.integers(0, 2))
def test_clip_starts_are_those_of_the_benchmark(
    present: set[int], length: int, stride: int, max_missing: int
):
    """Go on by the stride after a clip; where none fits, to the next frame that is there."""
    assume(stride + max_missing < length)
    expected, start = [], min(present, default=None)
    while start is not None:
        runs = "".join(" x"[start + n in present] for n in range(length)).split("x")
        if max(map(len, runs)) <= max_missing:
            expected.append(start)
            start += stride
        else:
            start = min((time for time in present if time > start), default=None)
        if start is not None and start > max(present):
            break
    moments = np.datetime64(f"{DAY}00:00", "m") + SIX * np.array(sorted(present), dtype=int)
    found = clip_starts(moments.astype("datetime64[m]"), SIX, length, stride, max_missing)
    assert ((found - np.datetime64(f"{DAY}00:00", "m")) // SIX).tolist() == expected


def test_a_stride_counts_from_the_start_of_each_episode():
    times = np.array([*every(6, f"{DAY}10:00", 7), *every(6, f"{DAY}12:00", 9)], "datetime64[m]")
    assert clock(clip_starts(times, SIX, 3, 4, 0)) == ["10:00", "10:24", "12:00", "12:24"]
    assert clock(clip_starts(times, SIX, 4, 4, 0)) == ["10:00", "12:00", "12:24"]


def settings(**changes: object) -> DataSettings:
    return DataSettings(**({"in_len": 2, "out_len": 2} | changes))


MIDNIGHTS = {
    "train": every(6, "2015-07-08T23:30", 15),
    "valid": every(6, "2015-07-10T00:00", 6),
    "test": every(6, "2015-07-20T12:00", 4),
}
# The second day of training runs up to the first frame of validation.
MIDNIGHTS["train"] += every(6, "2015-07-09T23:24", 6)


def test_clips_run_past_midnight_within_their_split_and_never_out_of_it(
    write_archive: Callable[..., Path],
):
    archive = Archive(write_archive(MIDNIGHTS))
    assert len(archive.moments) == 15 + 6 + 6 + 4
    train = Clips(archive, "train", settings(), stride=1)
    starts = [str(start) for start in train.starts]
    assert starts == [*every(6, "2015-07-08T23:30", 12), *every(6, "2015-07-09T23:24", 3)]
    days = {
        str(time)[:10]
        for clip in range(len(train))
        for time in train[Draw(clip)].times.astype("datetime64[m]")
    }
    assert days == {"2015-07-08", "2015-07-09"}
    valid = Clips(archive, "valid", settings(), stride=1)
    assert [str(start) for start in valid.starts] == every(6, "2015-07-10T00:00", 3)


def test_a_clip_holds_the_frames_of_its_times(write_archive: Callable[..., Path]):
    clips = Clips(
        Archive(write_archive({"train": every(6, f"{DAY}10:00", 9)})), "train", settings(), 2
    )
    assert len(clips) == 3
    clip = clips[Draw(2)]
    assert clip.levels.shape == (4, 1, 8, 8)
    # Frame n is filled with level n.
    assert [frame.max() for frame in clip.levels] == [4, 5, 6, 7]
    assert [frame.min() for frame in clip.levels] == [4, 5, 6, 7]
    assert clip.times.tolist() == [
        np.datetime64(time, "m").astype(int) for time in every(6, f"{DAY}10:24", 4)
    ]
    assert clip.mask.all() and not clip.missing.any()


def test_a_split_without_a_clip_says_what_to_change(write_archive: Callable[..., Path]):
    archive = Archive(write_archive({"train": every(6, f"{DAY}10:00", 3)}))
    with pytest.raises(ConfigError, match="clips of 4 frames in the train days, found 3 frames"):
        Clips(archive, "train", settings(), 1)
    with pytest.raises(ConfigError, match="in the valid days, found 0 frames"):
        Clips(archive, "valid", settings(), 1)


def without(times: list[str], *lost: int) -> list[str]:
    return [time for number, time in enumerate(times) if number not in lost]


def test_a_missing_frame_is_stated_and_the_one_before_it_carried(
    write_archive: Callable[..., Path],
):
    times = without(every(6, f"{DAY}10:00", 6), 2, 4)
    archive = Archive(write_archive({"train": times}))
    clips = Clips(archive, "train", settings(max_missing=1, out_len=4), 1)
    clip = clips[Draw(0)]
    assert clip.missing.tolist() == [False, False, True, False, True, False]
    # Levels count the frames that are there.
    assert [frame.max() for frame in clip.levels] == [0, 1, 1, 2, 2, 3]
    assert [bool(mask.any()) for mask in clip.mask] == [True, True, False, True, False, True]
    assert np.unique(np.diff(clip.times)).tolist() == [6]


def test_a_day_of_another_split_is_missing_and_not_read(write_archive: Callable[..., Path]):
    days = {
        "train": [*every(720, "2015-07-08T00:00", 2), *every(720, "2015-07-10T00:00", 2)],
        "valid": every(720, "2015-07-09T00:00", 2),
    }
    archive = Archive(write_archive(days, step_minutes=720))
    clip = Clips(archive, "train", settings(out_len=4, max_missing=2), 1)[Draw(0)]
    assert clip.missing.tolist() == [False, False, True, True, False, False]
    assert [frame.max() for frame in clip.levels] == [0, 1, 1, 1, 4, 5]


@pytest.mark.parametrize("kind", ["frame", "mask"])
def test_a_damaged_file_is_an_error_or_a_missing_frame(
    write_archive: Callable[..., Path], kind: str
):
    root = write_archive({"train": every(6, f"{DAY}10:00", 5)})
    path = {"frame": frame_path, "mask": mask_path}[kind](root, np.datetime64(f"{DAY}10:12", "m"))
    path.write_bytes(path.read_bytes()[:-5])
    archive = Archive(root)
    strict = Clips(archive, "train", settings(), 1)
    with pytest.raises(DataError, match=rf"{path.name}.*max_missing allows 0 in a row"):
        strict[Draw(0)]
    with pytest.raises(DataError, match=path.name):  # the second time too
        strict[Draw(1)]
    lenient = Clips(archive, "train", settings(max_missing=1), 1)
    clip = lenient[Draw(1)]
    assert clip.missing.tolist() == [False, True, False, False]
    assert [frame.max() for frame in clip.levels] == [1, 1, 3, 4]
    assert not clip.mask[1].any() and clip.mask[0].all()


def test_damage_next_to_a_gap_is_too_much(write_archive: Callable[..., Path]):
    root = write_archive({"train": without(every(6, f"{DAY}10:00", 5), 1)})
    frame_path(root, np.datetime64(f"{DAY}10:12", "m")).write_bytes(b"")
    archive = Archive(root)
    with pytest.raises(DataError, match=r"RAD150709101200\.png.*max_missing allows 1 in a row"):
        Clips(archive, "train", settings(max_missing=1), 1)[Draw(0)]
    clip = Clips(archive, "train", settings(max_missing=2), 1)[Draw(0)]
    assert clip.missing.tolist() == [False, True, True, False]
    assert [frame.max() for frame in clip.levels] == [0, 0, 0, 2]


def test_a_clip_whose_first_frame_is_damaged_starts_dry_and_masked(
    write_archive: Callable[..., Path],
):
    root = write_archive({"train": every(6, f"{DAY}10:00", 5)})
    frame_path(root, np.datetime64(f"{DAY}10:06", "m")).write_bytes(b"")
    clip = Clips(Archive(root), "train", settings(max_missing=1), 1)[Draw(1)]
    assert clip.missing.tolist() == [True, False, False, False]
    assert [frame.max() for frame in clip.levels] == [0, 2, 3, 4]
    assert not clip.mask[0].any()


SIDE = (12, 20)
RNG = np.random.default_rng(4)
FRAMES = RNG.integers(0, 256, (6, *SIDE), dtype=np.uint8)
MASKS = RNG.random((6, *SIDE)) < 0.6
USABLE = RNG.random(SIDE) < 0.7


@pytest.fixture(scope="module")
def textured(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Six frames of noise with masks of noise: every pixel knows its place."""
    root = tmp_path_factory.mktemp("archives") / "textured"
    description = Description("noise", "the tests", 6, *SIDE, 58.53, 1.56)
    with ArchiveWriter(root, description) as writer:
        for time, levels, mask in zip(every(6, f"{DAY}10:00", 6), FRAMES, MASKS, strict=True):
            writer.write(np.datetime64(time, "m"), levels, mask)
        writer.finish(USABLE, {"train": {"20150709": 1.0}})
    return Archive(root)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ("frame", MASKS[1:5]),
        ("exclude", np.stack([USABLE] * 4)),
        ("both", MASKS[1:5] & USABLE),
    ],
)
@pytest.mark.parametrize("crop", [None, (1, 9, 4, 20)])
def test_the_mask_is_that_of_the_settings(
    textured: Archive, masks: str, expected: np.ndarray, crop: tuple[int, ...] | None
):
    clip = Clips(textured, "train", settings(masks=masks, crop=crop), 1)[Draw(1)]
    top, bottom, left, right = crop or (0, 12, 0, 20)
    assert np.array_equal(clip.mask[:, 0], expected[:, top:bottom, left:right])
    assert np.array_equal(clip.levels[:, 0], FRAMES[1:5, top:bottom, left:right])


def test_the_exclude_mask_needs_no_masks_of_frames(write_archive: Callable[..., Path]):
    root = write_archive({"train": every(6, f"{DAY}10:00", 4)})
    for path in (root / "radarPNG_mask").rglob("*.mask"):
        path.unlink()
    clip = Clips(Archive(root), "train", settings(masks="exclude"), 1)[Draw(0)]
    assert not clip.missing.any()
    assert not clip.mask[:, :, 0].any() and clip.mask[:, :, 1:].all()
    with pytest.raises(DataError, match=r"RAD150709100000\.mask"):
        Clips(Archive(root), "train", settings(masks="frame"), 1)[Draw(0)]


def test_a_random_crop_is_cut_where_the_draw_says_inside_the_crop(textured: Archive):
    data = settings(crop=(1, 11, 3, 18), random_crop=(4, 6))
    clips = Clips(textured, "train", data, 1, random_crop=(4, 6))
    assert (clips.height, clips.width, clips.frame_size) == (10, 15, (4, 6))
    clip = clips[Draw(2, row=6, column=9)]
    assert np.array_equal(clip.levels[:, 0], FRAMES[2:6, 7:11, 12:18])
    assert np.array_equal(clip.mask[:, 0], MASKS[2:6, 7:11, 12:18])
    whole = Clips(textured, "train", data, 1)
    assert whole[Draw(2)].levels.shape == (4, 1, 10, 15)


@pytest.mark.parametrize(
    ("crop", "random_crop", "said"),
    [
        ((0, 13, 0, 20), None, r"data\.crop \[0, 13, 0, 20\] leaves .* 12x20"),
        ((0, 12, 5, 21), None, r"data\.crop \[0, 12, 5, 21\] leaves .* 12x20"),
        ("paper", None, r"data\.crop \[164, 284, 175, 295\] leaves"),
        (None, (13, 4), r"data\.random_crop \[13, 4\] does not fit the 12x20"),
        ((2, 10, 3, 10), (8, 8), r"data\.random_crop \[8, 8\] does not fit the 8x7"),
    ],
)
def test_a_crop_that_leaves_the_frame_is_named(
    textured: Archive, crop: object, random_crop: tuple[int, int] | None, said: str
):
    data = settings(crop=crop, random_crop=random_crop)
    with pytest.raises(ConfigError, match=said):
        Clips(textured, "train", data, 1, random_crop)


def test_a_crop_up_to_the_edge_fits(textured: Archive):
    clips = Clips(
        textured, "train", settings(crop=(0, 12, 0, 20), random_crop=(12, 20)), 1, (12, 20)
    )
    assert next(training_draws(population(clips), 1, 0, 0, 0, 1))[0].row == 0


def test_frames_beyond_the_memory_are_read_again(textured: Archive):
    clips = Clips(textured, "train", settings(), 1)
    clips._reader._kept._most = 2 * FRAMES[0].nbytes
    for _ in range(2):
        for start in (2, 0):
            levels = clips[Draw(start)].levels
            assert np.array_equal(levels[:, 0], FRAMES[start : start + 4])
    assert len(clips._reader._kept) == 2


def test_memory_spares_reading(write_archive: Callable[..., Path]):
    root = write_archive({"train": every(6, f"{DAY}10:00", 4)})
    clips = Clips(Archive(root), "train", settings(), 1)
    before = clips[Draw(0)].levels
    for path in (root / "radarPNG").rglob("*.png"):
        path.unlink()
    assert np.array_equal(clips[Draw(0)].levels, before)


def population(clips: Clips) -> tuple[int, int, int]:
    height, width = clips.frame_size
    return len(clips), clips.height - height + 1, clips.width - width + 1


def draws_of(clips: Clips, first: int, count: int, rank: int = 0, ranks: int = 1, seed: int = 7):
    return list(islice(training_draws(population(clips), 6, seed, first, rank, ranks), count))


@pytest.fixture(scope="module")
def windows(textured: Archive) -> Clips:
    data = settings(random_crop=(10, 17))
    return Clips(textured, "train", data, 1, random_crop=(10, 17))


def test_a_resumed_run_draws_what_the_first_would_have(windows: Clips):
    through = draws_of(windows, 0, 8)
    assert draws_of(windows, 5, 3) == through[5:]
    assert len({tuple(step) for step in through}) == 8
    assert draws_of(windows, 0, 8, seed=8) != through


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_partition_the_draws_of_one(windows: Clips, ranks: int):
    alone = draws_of(windows, 3, 4)
    shares = [draws_of(windows, 3, 4, rank, ranks) for rank in range(ranks)]
    for step, whole in enumerate(alone):
        assert [len(share[step]) for share in shares] == [6 // ranks] * ranks
        together = [
            draw for position in zip(*(s[step] for s in shares), strict=True) for draw in position
        ]
        assert together == whole


def test_draws_reach_every_clip_and_every_window_and_no_other(windows: Clips):
    drawn = [draw for step in draws_of(windows, 0, 100) for draw in step]
    assert {draw.clip for draw in drawn} == {0, 1, 2}
    assert {draw.row for draw in drawn} == {0, 1, 2}
    assert {draw.column for draw in drawn} == {0, 1, 2, 3}
    assert all(windows[draw].levels.shape == (4, 1, 10, 17) for draw in drawn[:20])


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_evaluation_sees_every_clip_once(
    write_archive: Callable[..., Path], ranks: int, batch_size: int
):
    archive = Archive(write_archive({"valid": every(6, f"{DAY}10:00", 14)}))
    clips = Clips(archive, "valid", settings(), 1)
    assert len(clips) == 11
    seen = []
    for rank in range(ranks):
        batches = list(evaluation_draws(len(clips), batch_size, rank, ranks))
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert 0 < len(batches[-1]) <= batch_size
        seen += [draw for batch in batches for draw in batch]
    assert sorted(draw.clip for draw in seen) == list(range(11))
    assert {(draw.row, draw.column) for draw in seen} == {(0, 0)}


def test_more_ranks_than_clips_leave_some_without(write_archive: Callable[..., Path]):
    archive = Archive(write_archive({"valid": every(6, f"{DAY}10:00", 5)}))
    clips = Clips(archive, "valid", settings(), 1)
    assert [list(evaluation_draws(len(clips), 4, rank, 3)) for rank in range(3)] == [
        [[Draw(0)]],
        [[Draw(1)]],
        [],
    ]


def test_clips_are_stacked_in_order(textured: Archive):
    clips = Clips(textured, "train", settings(), 1)
    batch = clips.batch([Draw(2), Draw(0)])
    assert np.array_equal(batch.levels[0, :, 0], FRAMES[2:6])
    assert np.array_equal(batch.levels[1, :, 0], FRAMES[0:4])
    assert np.array_equal(batch.mask[1, :, 0], MASKS[0:4])
    assert batch.in_len == 2 and batch.inputs.shape[1] == 2
    assert batch.names() == ["2015-07-09T10:18", "2015-07-09T10:06"]
    assert batch.missing.dtype == batch.mask.dtype


@pytest.fixture
def showers(write_archive: Callable[..., Path]) -> Archive:
    """Forty frames; so many of the 64 pixels are at 84, the lowest level that is 0.5 mm/h."""
    times = every(6, f"{DAY}10:00", 40)
    root = write_archive({"train": times})
    for number, time in enumerate(times):
        levels = np.full((8, 8), 83, dtype=np.uint8)  # just below
        levels.flat[: wet_pixels(number)] = 84
        path = frame_path(root, np.datetime64(time, "m"))
        path.write_bytes(cv2.imencode(".png", levels)[1].tobytes())
    return Archive(root)


def wet_pixels(frame: int) -> int:
    return {11: 40, 12: 48, 13: 44, 25: 32, 29: 16}.get(frame, 0)


def test_the_wet_share_is_that_of_the_last_input_frame(showers: Archive):
    clips = Clips(showers, "train", settings(), 1)
    shares = clips.wet_shares().tolist()
    assert shares == [wet_pixels(clip + 1) / 64 for clip in range(37)]
    # The first row, 8 pixels of rain where there is any, is excluded.
    excluded = Clips(showers, "train", settings(masks="both"), 1)
    assert excluded.wet_shares()[11] == (48 - 8) / 56


def test_min_wet_leaves_out_the_drier_clips(showers: Archive):
    for least, expected in ((0.5, [10, 11, 12, 24]), (0.6, [10, 11, 12]), (0.75, [11])):
        clips = Clips(showers, "train", settings(), 1, min_wet=least)
        assert clock(clips.starts) == clock(showers.moments[expected])
    assert len(Clips(showers, "train", settings(min_wet=0.5), 1)) == 37
    with pytest.raises(ConfigError, match=r"data\.min_wet: 0\.8; the wettest has 0\.750"):
        Clips(showers, "train", settings(), 1, min_wet=0.8)


def test_a_clip_without_its_last_input_frame_is_not_wet(showers: Archive):
    frame_path(showers.root, showers.moments[12]).write_bytes(b"")
    clips = Clips(showers, "train", settings(max_missing=1), 1)
    assert clips.wet_shares()[[10, 11, 12]].tolist() == [40 / 64, 0.0, 44 / 64]


def test_the_wettest_clips_do_not_overlap(showers: Archive):
    clips = Clips(showers, "train", settings(), 1)
    assert clips.wettest(1) == [11]
    # 10 and 12 are wetter than 24 but overlap 11; 28 begins where 24 has just ended.
    assert clips.wettest(3) == [11, 24, 28]
    many = sorted(clips.wettest(50))
    assert all(second - first >= 4 for first, second in pairwise(many))
    assert 1 < len(many) < 11


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize(("in_len", "out_len"), [(10, 10), (5, 20)])
def test_clips_of_real_radar_are_those_of_its_lists(
    radar_dev: Path, split: str, in_len: int, out_len: int
):
    name = f"{split}_in{in_len}_out{out_len}_stride5.txt"
    listed = [line.split()[0] for line in (radar_dev / "clips" / name).read_text().splitlines()]
    assert len(listed) >= 4
    clips = Clips(Archive(radar_dev), split, DataSettings(in_len=in_len, out_len=out_len), 5)
    found = [start.item().strftime("%Y%m%d%H%M") for start in clips.starts]
    assert found == listed


def test_clips_of_synthetic_rain_are_whole(synthetic: Path):
    archive = Archive(synthetic)
    for split in archive.days:
        clips = Clips(archive, split, DataSettings(in_len=5, out_len=5), 20)
        clip: Clip = clips[Draw(len(clips) - 1)]
        assert clip.levels.shape == (10, 1, 64, 64) and not clip.missing.any()
        end = clip.times.astype("datetime64[m]")[-1]
        assert end <= archive.moments_of(split)[-1]
        assert np.array_equal(clip.levels[-1, 0], archive.frame(end))


def test_how_wet_clips_are_is_read_once(showers: Archive, monkeypatch: pytest.MonkeyPatch):
    clips = Clips(showers, "train", settings(), 1, min_wet=0.2)
    monkeypatch.setattr(clips, "_read", lambda *_: pytest.fail("read again"))
    assert clips.wet_shares().min() >= 0.2 and len(clips.wet_shares()) == len(clips)


def test_a_block_is_an_episode_cut_every_six_hours(write_archive: Callable[..., Path]):
    # The gap after 01:54 is no whole block long, and starts an episode of its own all the same.
    times = every(6, f"{DAY}00:00", 20) + every(6, f"{DAY}03:00", 110)
    root = write_archive({"train": times})
    clips = Clips(Archive(root), "train", DataSettings(in_len=2, out_len=2), 7)
    blocks = dict(zip(clock(clips.starts), clock(clips.blocks), strict=True))
    assert set(blocks.values()) == {"00:00", "03:00", "09:00"}
    for start, block in blocks.items():
        expected = "00:00" if start < "03:00" else "03:00" if start < "09:00" else "09:00"
        assert block == expected, start


def test_a_fingerprint_tells_clips_apart(write_archive: Callable[..., Path], tmp_path: Path):
    root = write_archive({"train": every(6, f"{DAY}00:00", 40)})
    archive, packed = Archive(root), tmp_path / "it.h5"
    pack(archive, packed)

    def of(opened: ArchiveReader = archive, stride: int = 5, **changes: object) -> str:
        data = DataSettings.model_validate({"in_len": 2, "out_len": 2} | changes)
        return Clips(opened, "train", data, stride).fingerprint()

    assert of() == of() == of(Pack(packed))
    others = {
        of(stride=4),
        of(in_len=1, out_len=3),
        of(crop=[0, 4, 0, 4]),
        of(masks="exclude"),
        of(max_missing=1),
    }
    assert of() not in others and len(others) == 5
