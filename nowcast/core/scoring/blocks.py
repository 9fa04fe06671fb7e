"""Blocks of samples that have no times: hundredths of a split, in the order of its files.

Neighbours in a file may share a source (sentences of one text, pictures of one class), so an
interval is made by drawing stretches of a file again, and not single samples.
"""

from collections.abc import Iterable

BLOCKS = 100


def block_names(size: int) -> list[str]:
    """Of a split of so many samples: as many blocks, but no more than samples."""
    return [f"{number:03}" for number in range(min(BLOCKS, size))]


def block_of(places: Iterable[int], size: int) -> list[str]:
    """The block of each sample, by its place in a split of so many."""
    names = block_names(size)
    return [names[place * len(names) // size] for place in places]
