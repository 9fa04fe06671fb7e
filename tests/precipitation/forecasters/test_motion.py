"""The motion of rain is that of its pattern, and no data neither move nor hold it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from nowcast.precipitation.forecasters.flow.motion import Method, motion_field, newest_with_data

METHODS: tuple[Method, ...] = ("dis", "farneback")
SIDE = 128


def pattern(side: int = 3 * SIDE) -> NDArray[np.float32]:
    """Rain everywhere, with structure from 4 pixels on."""
    noise = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    rain = sum(s * cv2.GaussianBlur(noise, (0, 0), s) for s in (2, 4, 8))
    rain = np.asarray(rain)
    return np.clip(0.4 + 0.15 * rain / rain.std(), 0, 1).astype(np.float32)


def translated(steps: int, right: int, down: int) -> NDArray[np.float32]:
    whole = pattern()
    rows, columns = (
        [SIDE - down * t for t in range(steps)],
        [SIDE - right * t for t in range(steps)],
    )
    return np.stack([whole[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)])


def everywhere(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.ones(frames.shape, dtype=bool)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -4), (-5, 2)])
def test_a_translation_is_found_with_its_sign(method: Method, right: int, down: int):
    frames = translated(4, right, down)
    motion = motion_field(frames, everywhere(frames), method)
    inner = motion[:, 16:-16, 16:-16]
    assert np.abs(inner - np.array([right, down])[:, None, None]).mean() < 0.15
    flipped = motion_field(frames[..., ::-1].copy(), everywhere(frames), method)
    assert np.abs(flipped[0, 16:-16, 16:-16].mean() + right) < 0.15


@pytest.mark.parametrize("method", METHODS)
def test_the_edge_of_data_does_not_hold_the_rain(method: Method):
    """Rain that passes under the edge of a disc moves there as it does inside."""
    frames = translated(3, 4, 0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (rows - 64) ** 2 + (columns - 64) ** 2 < 50**2
    masks = np.broadcast_to(disc, frames.shape).copy()
    motion = motion_field(np.where(masks, frames, 0).astype(np.float32), masks, method)
    rim = disc & ((rows - 64) ** 2 + (columns - 64) ** 2 > 44**2)
    assert abs(float(np.median(motion[0][rim])) - 4) < 0.5
    held = motion_field(np.where(masks, frames, 0).astype(np.float32), everywhere(frames), method)
    assert np.abs(motion[0][rim] - 4).mean() < np.abs(held[0][rim] - 4).mean()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_masked_does_not_matter(method: Method):
    frames = translated(3, 2, 1)
    masks = everywhere(frames)
    masks[:, 30:60, 40:90] = False
    first = motion_field(np.where(masks, frames, 0).astype(np.float32), masks, method)
    other = motion_field(np.where(masks, frames, 1).astype(np.float32), masks, method)
    assert np.array_equal(first, other)


def test_a_frame_without_data_is_passed_over():
    frames = translated(4, 2, 0)
    masks = everywhere(frames)
    masks[2] = False
    motion = motion_field(frames, masks, "dis", pairs=1)  # 4 pixels in 2 steps
    assert abs(float(np.median(motion[0])) - 2) < 0.1
    assert newest_with_data(masks) == 3
    masks[3] = False
    assert newest_with_data(masks) == 1
    assert newest_with_data(np.zeros_like(masks)) == 3


@pytest.mark.parametrize("method", METHODS)
def test_dry_frames_and_single_ones_do_not_move(method: Method):
    frames = translated(3, 2, 0)
    assert not motion_field(frames[:1], everywhere(frames[:1]), method).any()
    assert not motion_field(frames, np.zeros(frames.shape, dtype=bool), method).any()
    alone = motion_field(frames[1:], everywhere(frames[1:]), method)
    assert alone.any()
    frames[0] = 0
    assert np.array_equal(motion_field(frames, everywhere(frames), method), alone)
    frames[1] = 0
    assert not motion_field(frames, everywhere(frames), method).any()


@pytest.mark.parametrize("method", METHODS)
def test_constant_rain_does_not_move(method: Method):
    frames = np.full((3, 40, 40), 0.5, np.float32)
    assert np.abs(motion_field(frames, everywhere(frames), method)).max() < 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (11, 11), (3, 200)])
def test_frames_smaller_than_a_patch_are_padded(method: Method, shape: tuple[int, int]):
    frames = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    motion = motion_field(frames, everywhere(frames), method)
    assert motion.shape == (2, *shape) and np.isfinite(motion).all()


def test_more_pairs_average_their_flows():
    frames = np.concatenate([translated(2, 4, 0), translated(3, 2, 0)[1:]])
    masks = everywhere(frames)
    one = [motion_field(frames[n : n + 2], masks[n : n + 2], pairs=1) for n in (1, 2)]
    both = motion_field(frames, masks, pairs=2)
    np.testing.assert_allclose(both, (one[0] + one[1]) / 2, atol=1e-6)
