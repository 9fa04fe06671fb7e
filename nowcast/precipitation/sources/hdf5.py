"""HDF5 as strangers send it: every way in which it can be broken is one message with the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError, NowcastError

SUFFIXES = (".h5", ".hf5", ".hdf5", ".hdf", ".he5", ".nc", ".nc4")
LARGEST = 2**28  # values; the largest radar composites have 2**25, so more is a damaged size

# What h5py raises for files that are cut off, damaged or no HDF5.
DAMAGED = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its content."""
    return bool(h5py.is_hdf5(path))


def files_in(
    source: Path, skip: frozenset[Path] = frozenset()
) -> tuple[list[Path], tuple[str, ...]]:
    """The source itself, or all HDF5 files under it, by name; and a note of what was left out.

    A file is HDF5 by its content, whatever its name. One that is not, but is named as HDF5 files
    are (or as those beside it), is damaged: it is among them, and reading it says so.

    Raises:
        ConfigError: there is no such file or folder, or nothing in it.
    """
    if source.is_file():
        return [source], ()
    if not source.is_dir():
        raise ConfigError(f"{source}: expected a file or a folder to convert, found none")
    every = sorted(path for path in source.rglob("*") if path.is_file())
    inside = {path for path in every if is_hdf5(path)}
    named = {path.suffix.lower() for path in inside if path.suffix} | set(SUFFIXES)
    found = [path for path in every if path in inside or path.suffix.lower() in named]
    if not found:
        shown = ", ".join(path.name for path in every[:3])
        raise ConfigError(
            f"{source}: expected HDF5 files (usually ending in {', '.join(SUFFIXES)}), found none "
            f"among {len(every)} files{f', e.g. {shown}' if shown else ''}; is this the folder, "
            "unpacked, and the right --importer?"
        )
    left_out = len(every) - len(found)
    found = [path for path in found if path not in skip]
    return found, ((f"{left_out} files left out, which are not HDF5",) if left_out else ())


@contextmanager
def opened(path: Path, expected: str) -> Iterator[h5py.File]:
    """The file, for reading; what goes wrong inside the block is a `DataError` with its name.

    Args:
        path: of the file.
        expected: what it should hold, for the message.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except NowcastError:
        raise
    except DAMAGED as error:
        said = str(error).strip("'\"") or type(error).__name__
        raise DataError(
            f"{path}: expected {expected}, but it cannot be read ({said}); it is damaged, cut off "
            "or of another format: fetch it again, remove it, or choose another --importer"
        ) from error


def path_of(item: Any) -> Path:
    """The file that a group or dataset lies in."""
    return Path(item.file.filename)


def child(group: Any, name: str) -> Any:
    """A group or dataset inside another.

    Raises:
        DataError: there is none.
    """
    if not hasattr(group, "keys") or name not in group:
        held = ", ".join(group) if hasattr(group, "keys") else "no group"
        raise DataError(
            f"{path_of(group)}: expected {group.name.rstrip('/')}/{name}, found {held or 'nothing'}"
            f"; {_looks_like(group.file)}"
        )
    return group[name]


def _looks_like(file: Any) -> str:
    """What a message asks or proposes about the format of a file."""
    for importer, names in (
        ("odim", "what where"),
        ("knmi", "overview image1"),
        ("sevir", "vil id"),
    ):
        if all(name in file for name in names.split()):
            return f"it looks like a file for --importer {importer}"
    return "is it the format of --importer?"


def attribute(item: Any, key: str) -> Any:
    """An attribute: an array of one value taken out of its array, bytes and characters as text.

    Raises:
        DataError: there is none.
    """
    if key not in item.attrs:
        raise DataError(
            f"{path_of(item)}: expected the attribute {key} at {item.name}, found none; is it the "
            "format of --importer?"
        )
    value = item.attrs[key]
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray) and value.dtype.kind in "SUO":
        parts = [_decoded(part) for part in value.reshape(-1)]
        single = all(isinstance(part, str) and len(part) <= 1 for part in parts)
        return "".join(parts) if single or len(parts) == 1 else parts
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.reshape(-1)[0]
    return _decoded(value)


def _decoded(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")  # as older software writes a degree sign


def text(item: Any, key: str) -> str:
    """A text attribute; raises `DataError` where it is absent or no text."""
    value = attribute(item, key)
    if not isinstance(value, str):
        raise DataError(
            f"{path_of(item)}: expected text in {item.name}/{key}, found {value!r}; it is damaged"
        )
    return value.strip().rstrip("\0")


def number(item: Any, key: str, finite: bool = True) -> float:
    """A numeric attribute; raises `DataError` where it is absent, no number or not `finite`."""
    value = attribute(item, key)
    try:
        found: float | None = float(value)
    except (TypeError, ValueError):
        found = None
    if found is None or (finite and not np.isfinite(found)):
        raise DataError(
            f"{path_of(item)}: expected a number in {item.name}/{key}, found {value!r}; it is "
            "damaged"
        )
    return found


def numbers(item: Any, key: str) -> NDArray[Any]:
    """An attribute of one or several numbers, in their own type; text that states them as float.

    Raises:
        DataError: it is absent, or holds something else.
    """
    value = np.asarray(attribute(item, key)).reshape(-1)
    if value.dtype.kind not in "iuf":
        try:
            value = np.concatenate([np.array(str(part).split(), np.float64) for part in value])
        except ValueError as error:
            raise DataError(
                f"{path_of(item)}: expected numbers in {item.name}/{key}, found {value.tolist()!r};"
                " mend the attribute"
            ) from error
    return value


def check_array(dataset: Any, ndim: int, axes: str) -> None:
    """That a dataset is an array of plain numbers with so many axes, of a size that can be.

    Raises:
        DataError: it is not.
    """
    path = path_of(dataset)
    if not hasattr(dataset, "shape"):
        raise DataError(f"{path}: expected a dataset at {dataset.name}, found a group")
    if dataset.dtype.kind not in "iuf":
        raise DataError(f"{path}: expected numbers in {dataset.name}, found {dataset.dtype}")
    if dataset.ndim != ndim or 0 in dataset.shape:
        raise DataError(
            f"{path}: expected {dataset.name} with the axes {axes}, found the shape {dataset.shape}"
        )


def image(dataset: Any) -> NDArray[Any]:
    """The raw numbers of one image (height, width).

    Raises:
        DataError: not two axes, not plain numbers, or larger than any radar composite.
    """
    check_array(dataset, 2, "(height, width)")
    if dataset.size > LARGEST:
        raise DataError(
            f"{path_of(dataset)}: expected a radar composite in {dataset.name}, found the shape "
            f"{dataset.shape}; it is damaged"
        )
    return np.asarray(dataset[...])


def check_size(raw: Any, rows: float, columns: float, path: Path) -> None:
    """Raise `DataError` unless an image has the size that its file states."""
    if (rows, columns) != raw.shape:
        raise DataError(
            f"{path}: expected an image of {rows:.0f}x{columns:.0f} as the file says, found "
            f"{'x'.join(map(str, raw.shape))}; it is damaged"
        )


def scaled(raw: NDArray[Any], gain: float, offset: float) -> NDArray[np.float64]:
    """Raw numbers as values, in double precision; what overflows is left to be refused."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(raw.astype(np.float64) * gain + offset)
