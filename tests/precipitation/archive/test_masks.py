"""The exclude mask: 1 in the file is never used, and any other file is an error that names it."""

import io
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.masks import read_exclude, write_exclude

USABLE = np.random.default_rng(3).random((20, 30)) < 0.7


def test_one_is_never_used(tmp_path: Path):
    np.savez(tmp_path / "mask_dat.npz", exclude_mask=np.array([[0, 1], [1, 0]], dtype=np.uint8))
    assert read_exclude(tmp_path, (2, 2)).tolist() == [[True, False], [False, True]]


def test_what_is_written_is_read_and_stands_as_hko7_has_it(tmp_path: Path):
    write_exclude(tmp_path / "lists", USABLE)
    assert np.array_equal(read_exclude(tmp_path / "lists", (20, 30)), USABLE)
    with np.load(tmp_path / "lists/mask_dat.npz") as file:
        assert np.array_equal(file["exclude_mask"], 1 - USABLE)


def test_another_shape_is_named(tmp_path: Path):
    write_exclude(tmp_path, USABLE)
    with pytest.raises(DataError, match=r"mask_dat\.npz: expected .* 30x20 .*, found 20x30"):
        read_exclude(tmp_path, (30, 20))


def test_no_mask_says_how_to_do_without(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"mask_dat\.npz: .* set data\.masks: frame"):
        read_exclude(tmp_path, (20, 30))


@pytest.mark.parametrize("value", [2.0, 0.5, -1.0, np.nan])
def test_values_other_than_zero_and_one_are_refused(tmp_path: Path, value: float):
    np.savez(tmp_path / "mask_dat.npz", exclude_mask=np.array([[0.0, value]]))
    with pytest.raises(DataError, match="expected 0 and 1 in exclude_mask"):
        read_exclude(tmp_path, (1, 2))


def test_another_key_is_named(tmp_path: Path):
    np.savez(tmp_path / "mask_dat.npz", mask=USABLE)
    with pytest.raises(DataError, match="expected the key exclude_mask"):
        read_exclude(tmp_path, (20, 30))


class Trap:
    """Loading its pickle would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.trace,)


def test_a_pickle_is_refused_and_not_loaded(tmp_path: Path):
    trace = tmp_path / "loaded"
    trap = np.full((20, 30), None, dtype=object)
    trap[0, 0] = Trap(trace)
    np.savez(tmp_path / "mask_dat.npz", exclude_mask=trap)
    with pytest.raises(DataError, match=r"mask_dat\.npz: expected an npz of plain arrays"):
        read_exclude(tmp_path, (20, 30))
    trap.dump(tmp_path / "mask_dat.npz")
    with pytest.raises(DataError, match=r"mask_dat\.npz: expected an npz of plain arrays"):
        read_exclude(tmp_path, (20, 30))
    assert not trace.exists()
    np.load(tmp_path / "mask_dat.npz", allow_pickle=True)
    assert trace.exists()


def packed() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, exclude_mask=(~USABLE).astype(np.uint8))
    return file.getvalue()


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


def plain() -> bytes:
    file = io.BytesIO()
    np.save(file, ~USABLE)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no npz",
        packed()[:-40],
        packed()[: len(packed()) // 2],
        flipped(packed(), len(packed()) // 2),
        flipped(packed(), packed().index(b"PK\1\2") + 10),
        plain(),
    ],
    ids=["empty", "text", "end lost", "half", "a byte flipped", "unknown packing", "npy"],
)
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes):
    (tmp_path / "mask_dat.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"mask_dat\.npz: expected an npz of plain arrays"):
        read_exclude(tmp_path, (20, 30))
