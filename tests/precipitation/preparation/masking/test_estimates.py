"""Estimated masks against clutter of known truth; what is written, and what is left alone."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.preparation.masking.estimates import (
    PART,
    absent,
    check_masks,
    picture,
    radar_place,
    write_masks,
)
from nowcast.precipitation.preparation.masking.static_mask import estimate_usable
from nowcast.precipitation.synthetic.archive import write_synthetic


@pytest.fixture(scope="module")
def cluttered(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("archives") / "cluttered"
    write_synthetic(root, days=3, seed=0, height=96, width=96, step_minutes=20, clutter=True)
    return Archive(root)


@pytest.fixture
def maskless(cluttered: Archive, tmp_path: Path) -> Archive:
    """The same frames as an archive gives them that has no masks."""
    root = tmp_path / "maskless"
    shutil.copytree(
        cluttered.root,
        root,
        ignore=shutil.ignore_patterns(frames.MASK_FOLDER, "mask_dat.npz"),
    )
    return Archive(root)


def test_precision_and_recall_against_known_clutter(cluttered: Archive):
    estimated = estimate_usable(cluttered, 400).usable
    (static, passing), removed = check_masks(cluttered, estimated)
    assert static[0] == "exclude mask" and passing[0].startswith("frame masks")
    assert float(static[1]) > 0.9 and float(static[2]) > 0.9  # precision, recall
    assert float(passing[1]) > 0.85 and float(passing[2]) > 0.85
    assert all(removed.struck.values())


def test_written_masks_are_what_was_compared(cluttered: Archive, maskless: Archive):
    estimated = estimate_usable(maskless, 400).usable
    steps: list[tuple[int, int]] = []
    removed = write_masks(maskless, estimated, progress=lambda *step: steps.append(step))
    count = len(maskless.moments)
    assert steps[-1] == (count, count)
    np.testing.assert_array_equal(Archive(maskless.root).usable, estimated)
    written = np.stack([maskless.mask(moment) for moment in maskless.moments])
    assert not written[:, ~estimated].any()
    assert (~written[:, estimated]).sum() == sum(removed.pixels.values()) > 0
    echo = np.stack([maskless.frame(moment) for moment in maskless.moments]) > 0
    assert not (~written & estimated & ~echo).any()  # a pixel without echo is never removed
    truth = np.stack([cluttered.mask(moment) for moment in cluttered.moments])
    struck, found = ~truth & cluttered.usable & echo, ~written & cluttered.usable & echo
    assert (struck & found).sum() / found.sum() > 0.8
    assert (struck & found).sum() / struck.sum() > 0.8
    assert not (maskless.root / PART).exists()


def test_masks_do_not_depend_on_the_number_of_threads(maskless: Archive):
    usable = np.ones(maskless.shape, dtype=bool)
    written = []
    for workers in (1, 3):
        write_masks(maskless, usable, workers=workers)
        written.append([maskless.mask(moment).tobytes() for moment in maskless.moments])
        shutil.rmtree(maskless.root / frames.MASK_FOLDER)
        (maskless.lists / "mask_dat.npz").unlink()
    assert written[0] == written[1]


def test_an_exclude_mask_that_is_there_stays(cluttered: Archive, maskless: Archive):
    exclude = maskless.lists / "mask_dat.npz"
    shutil.copy(cluttered.lists / "mask_dat.npz", exclude)
    before = exclude.read_bytes()
    assert absent(maskless) == (True, False)
    write_masks(maskless, maskless.usable)
    assert exclude.read_bytes() == before
    assert maskless.has_masks


def test_masks_that_are_there_are_not_overwritten(cluttered: Archive):
    with pytest.raises(ConfigError, match="not overwritten"):
        absent(cluttered)
    with pytest.raises(ConfigError, match="not overwritten"):
        write_masks(cluttered, cluttered.usable)


def test_a_damaged_frame_leaves_no_masks_behind(maskless: Archive):
    last = frames.frame_path(maskless.root, maskless.moments[-1])
    last.write_bytes(last.read_bytes()[:40])
    with pytest.raises(DataError, match=last.name):
        write_masks(maskless, np.ones(maskless.shape, dtype=bool))
    assert absent(maskless) == (True, True)
    assert not (maskless.root / PART).exists()


def test_what_a_killed_process_left_is_named_and_kept(maskless: Archive):
    (maskless.root / PART).mkdir()
    with pytest.raises(ConfigError, match=r"masks\.part.*remove it and start again"):
        write_masks(maskless, np.ones(maskless.shape, dtype=bool))
    assert (maskless.root / PART).is_dir()


def test_without_masks_there_is_nothing_to_check(maskless: Archive):
    with pytest.raises(ConfigError, match="leave --check out"):
        check_masks(maskless, np.ones(maskless.shape, dtype=bool))


def test_a_single_dry_frame_loses_nothing(tmp_path: Path):
    root = tmp_path / "dry"
    whole = np.ones((8, 8), dtype=bool)
    moment = np.datetime64("2020-06-01T00:00", "m")
    with ArchiveWriter(root, Description("dry", "tests", 6, 8, 8, 58.53, 1.56)) as writer:
        writer.write(moment, np.zeros((8, 8), dtype=np.uint8), whole)
        writer.finish(whole, None)
    shutil.rmtree(root / frames.MASK_FOLDER)
    removed = write_masks(Archive(root), whole)
    assert (removed.frames, removed.echoes, removed.busiest) == (1, 0, None)
    assert removed.wet_share == 0.0
    assert Archive(root).mask(moment).all()


@pytest.mark.parametrize("side", [16, 96, 128, 480])
def test_the_picture_has_both_frames_large_enough_to_see(side: int, tmp_path: Path):
    root = tmp_path / "one"
    whole = np.ones((side, side), dtype=bool)
    frame = np.zeros((side, side), dtype=np.uint8)
    frame[2, 3] = 150  # a speckle
    moment = np.datetime64("2020-06-01T00:06", "m")
    with ArchiveWriter(root, Description("one", "tests", 6, side, side, 58.53, 1.56)) as writer:
        writer.write(moment, frame, whole)
        writer.finish(whole, None)
    to = tmp_path / "new" / "masks.png"
    picture(Archive(root), moment, whole, None, to)
    image = cv2.imread(str(to))
    drawn = {16: 256, 96: 288, 128: 256, 480: 480}[side]
    edge = 2  # white around every frame and its title
    second = drawn + 2 * edge
    assert image.shape[1] == second + drawn + edge
    scale = drawn // side
    # The second frame lacks the speckle, in row 2: where it was is grey.
    grey = (image[:, second:-edge] == 176).all(axis=-1)
    top = int(np.flatnonzero(grey.any(axis=1))[0]) - 2 * scale
    title, legend = image[edge:top], image[top + drawn + edge :]
    assert (title[:, edge : edge + drawn] < 128).any()
    assert (title[:, edge + drawn : second] == 255).all()  # each title within its own frame
    assert (title[:, second:] < 128).any()
    assert 0.05 * drawn < len(title) < 0.2 * drawn  # large enough to read, and no more
    assert (legend < 128).any()
    before = image[top + 2 * scale, edge + 3 * scale]
    after = image[top + 2 * scale, second + 3 * scale]
    assert before.tolist() != after.tolist() == [176, 176, 176]
    assert (image[top : top + drawn, second:] == 176).all(axis=-1).sum() == scale**2


def test_the_radar_lies_in_the_frame():
    assert radar_place("3, 4.5", (8, 8)) == (3.0, 4.5)
    for text in ("9,1", "x,1", "1", "nan,1"):
        with pytest.raises(ConfigError, match="expected ROW,COLUMN"):
            radar_place(text, (8, 8))
