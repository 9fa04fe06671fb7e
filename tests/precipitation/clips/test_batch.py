"""A batch of clips says which frames are input and when they are, or it is not built."""

import numpy as np
import pytest
import torch

from nowcast.precipitation.clips.batch import RadarBatch

START = int(np.datetime64("2018-05-19T13:50", "m").astype(np.int64))
MINUTES = START + torch.tensor([[0, 5, 10, 15, 20, 25], [60, 65, 70, 75, 80, 85]])


def batch(in_len: int = 4, times: torch.Tensor = MINUTES) -> RadarBatch:
    rng = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (2, 6, 1, 3, 4), generator=rng, dtype=torch.uint8)
    mask = torch.rand(levels.shape, generator=rng) < 0.5
    missing = torch.tensor([[False] * 6, [False, True, False, False, True, False]])
    return RadarBatch(levels, mask, times, missing, in_len)


def test_input_ends_where_truth_begins():
    for in_len in (1, 4, 5):
        whole = batch(in_len)
        assert torch.equal(whole.inputs, whole.levels[:, :in_len] / 255)
        assert torch.equal(whole.truth, whole.levels[:, in_len:] / 255)
        assert torch.equal(whole.input_mask, whole.mask[:, :in_len])
        assert torch.equal(whole.truth_mask, whole.mask[:, in_len:])
        assert whole.inputs.dtype == whole.truth.dtype == torch.float32
        assert whole.inputs.shape[1] + whole.truth.shape[1] == 6


def test_levels_become_pixels_in_0_to_1():
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    mask = torch.ones_like(levels, dtype=torch.bool)
    single = RadarBatch(levels, mask, torch.tensor([[0, 6, 12]]), mask[:, :, 0, 0, 0], 1)
    assert single.inputs.flatten().tolist() == [0.0]
    assert single.truth.flatten().tolist() == [pytest.approx(0.2), 1.0]


@pytest.mark.parametrize("in_len", [0, -1, 6, 7])
def test_a_clip_needs_input_and_truth(in_len: int):
    with pytest.raises(ValueError, match=f"in_len must be 1 to 5 .* 6 frames; found {in_len}"):
        batch(in_len)


@pytest.mark.parametrize(
    "second", [[0, 5, 10, 15, 20, 30], [0, 0, 0, 0, 0, 0], [25, 20, 15, 10, 5, 0]]
)
def test_the_times_of_each_clip_ascend_evenly(second: list[int]):
    times = torch.stack([MINUTES[0], START + torch.tensor(second)])
    with pytest.raises(ValueError, match="ascend by one step"):
        batch(times=times)


def test_a_name_is_the_init_time():
    assert batch(in_len=4).names() == ["2018-05-19T14:05", "2018-05-19T15:05"]
    assert batch(in_len=1).names() == ["2018-05-19T13:50", "2018-05-19T14:50"]


def test_a_moved_batch_is_the_same():
    whole = batch()
    moved = whole.to(torch.device("cpu"))
    assert moved.in_len == whole.in_len
    for name in ("levels", "mask", "times", "missing"):
        assert torch.equal(getattr(moved, name), getattr(whole, name))
    assert moved.to(torch.device("meta")).levels.device.type == "meta"
