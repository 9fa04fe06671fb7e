"""Blocks are stretches of a split, as equal as whole numbers are."""

from collections import Counter

import pytest

from nowcast.core.scoring.blocks import BLOCKS, block_names, block_of


@pytest.mark.parametrize("size", [1, 99, 100, 277, 40_430])
def test_every_sample_is_in_one_block_and_blocks_are_stretches(size: int):
    found = block_of(range(size), size)
    assert found == sorted(found) and list(dict.fromkeys(found)) == block_names(size)
    counts = Counter(found).values()
    assert len(counts) == min(BLOCKS, size) and max(counts) - min(counts) <= 1
