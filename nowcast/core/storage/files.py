"""Files written whole or not at all: a temporary file beside the path, then one move.

A refused write is an `OutputError` that names the path.
"""

import errno
import json
import math
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nowcast.core.errors import OutputError

# What to do about a refused write.
NEXT_MOVES = {
    errno.ENOSPC: "make room, or choose a path on another disk",
    errno.EDQUOT: "make room, or choose a path on another disk",
    errno.EFBIG: "choose a path on another file system",
    errno.EROFS: "choose a path that is not read-only",
    errno.EACCES: "choose a path that you may use",
    errno.EPERM: "choose a path that you may use",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "choose another name, or remove the folder that has it",
    errno.ENOTDIR: "choose another path, or remove the file that is in the way",
    errno.EEXIST: "choose another path, or remove what is in the way",
    errno.ENOTEMPTY: "choose another path, or remove what is in the way",
    errno.EIO: "check the disk, or choose another",
}
OTHER_MOVE = "choose another path"
HDF5_ERRNO = re.compile(r"errno = (\d+)")  # in the messages of h5py
LEAST_FREE = 2**16  # bytes; with less the disk is full, whatever a library says
LONGEST_STEM = 80  # characters of a name that are kept in its temporary file's


@contextmanager
def writing(path: Path, *failures: type[Exception]) -> Iterator[None]:
    """Turn a failed write into an error that names the path.

    Args:
        path: a file or folder.
        *failures: what the writing library raises for a full disk, besides OSError.

    Raises:
        OutputError: the system refused it.
    """
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        yield
    except OutputError:
        raise
    except kinds as error:
        raise refused(path, error) from error


def refused(path: Path, error: Exception) -> OutputError:
    """The error that says which path could not be written, why, and what to do."""
    number, why = reason(error, path)
    if number in (errno.ENOTDIR, errno.EEXIST):
        blocking = next((p for p in (path, *path.parents) if p.is_file()), None)
        if blocking is not None and blocking != path:
            why = f"{blocking} is a file, not a folder"
    move = NEXT_MOVES.get(number or 0, OTHER_MOVE)
    return OutputError(f"{path}: cannot be written ({why}); {move}", why, number)


def reason(error: Exception, path: Path) -> tuple[int | None, str]:
    """The errno of a failed write, if known, and the reason in a few words.

    Libraries have messages of their own, which do not mention a full disk.
    """
    if isinstance(error, OutputError):
        return error.errno, error.strerror or str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        match = HDF5_ERRNO.search(str(error))
        number = int(match[1]) if match else None
    if number is None and _free_bytes(path) < LEAST_FREE:
        number = errno.ENOSPC
    if number is None:
        return None, " ".join(str(error).split()) or type(error).__name__
    return number, os.strerror(number)


def _free_bytes(path: Path) -> float:
    try:
        folder = next(p for p in path.absolute().parents if p.is_dir())
        return float(shutil.disk_usage(folder).free)
    except (OSError, StopIteration):
        return math.inf


def mendable(error: OSError) -> OutputError | None:
    """The message for an OSError that a user can fix; None for a bug of ours."""
    if isinstance(error, OutputError):
        return error
    if error.filename is not None and error.errno is not None:
        move = NEXT_MOVES.get(error.errno, OTHER_MOVE)
        text = f"{os.fsdecode(error.filename)}: cannot be used ({error.strerror}); {move}"
    elif error.errno in NEXT_MOVES:
        text = f"output cannot be written ({error.strerror}); {NEXT_MOVES[error.errno]}"
    else:
        return None
    return OutputError(text, error.strerror, error.errno)


def check_place(path: Path) -> None:
    """Check that a file can be written, before hours of work; the disk may still fill up.

    Raises:
        OutputError: it is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise refused(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    check_folder(path.absolute().parent)


def check_folder(folder: Path) -> None:
    """Check that a folder can be made and written to; raises as `check_place`."""
    with writing(folder):
        there = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with tempfile.TemporaryFile(dir=there):  # permissions are only certain after trying
            pass


def write_whole(path: Path, write: Callable[[Path], None], *failures: type[Exception]) -> None:
    """Let `write` make a temporary file beside `path`, then move it there.

    Raises:
        OutputError: as `writing`.
    """
    with writing(path, *failures):
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = path.name[:LONGEST_STEM]
        temporary = path.with_name(f".{stem}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON in one move; NaN and infinities are errors, not JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one move."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file in one move."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_whole(path, write)
