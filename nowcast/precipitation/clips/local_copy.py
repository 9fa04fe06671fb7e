"""A copy of an archive on the disk of the machine that reads it (`data.local_copy`).

It is made once a machine, however many processes want it; it is checked, whole or not there, and
used again for as long as the archive has the same files of the same sizes and times.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from socket import gethostname

from filelock import FileLock, Timeout
from rich.filesize import decimal

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.execution.ahead import Behind
from nowcast.core.storage.files import writing
from nowcast.core.storage.origin import digest
from nowcast.core.terminal.progress import line, say
from nowcast.precipitation.archive.description import DESCRIPTION
from nowcast.precipitation.archive.frames import FRAME_FOLDER, MASK_FOLDER
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.sources.stack.zarr_archive import open_archive

BLOCK_BYTES = 4096  # of a file system, which a small file takes whole
OF_A_TREE = (FRAME_FOLDER, MASK_FOLDER, DESCRIPTION)  # day lists are read where they are

Files = dict[str, tuple[int, int]]  # name -> size and time of change


def read_near(archive: ArchiveReader, setting: str) -> ArchiveReader:
    """The copy of an archive on this machine, for its frames and masks alone; made if it is not
    there.

    Args:
        archive: as the config names it.
        setting: `data.local_copy`, a folder in which ``$NAME`` is a variable of this machine.

    Raises:
        ConfigError: it is no absolute folder, or has no room.
        DataError: the archive cannot be read or changed meanwhile, or the disk is at fault.
        OutputError: the folder cannot be written to.
    """
    folder = Path(os.path.expandvars(setting)).expanduser()
    if "$" in str(folder) or not folder.is_absolute():
        raise ConfigError(
            f"data.local_copy: expected an absolute folder on {gethostname()}, found {folder}; "
            "give one that is there on each machine, or set the variable"
        )
    return open_archive(_copied(archive.root, folder))


def _copied(root: Path, folder: Path) -> Path:
    """Where the copy is."""
    files = _files(root)
    own = folder / digest([str(root.absolute()), files])
    copy = own / root.name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{own.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process, which copies {root} to {folder}")
            lock.acquire()
    try:
        if not copy.exists() or _sizes(_files(copy)) != _sizes(files):  # somebody tidied up in it
            _make(root, files, own)
    finally:
        lock.release()
    return copy


def _make(root: Path, files: Files, own: Path) -> None:
    needed = sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size, _ in files.values())
    free = shutil.disk_usage(own.parent).free
    if free < needed:
        raise ConfigError(
            f"data.local_copy: expected {decimal(needed)} free in {own.parent} of {gethostname()} "
            f"for a copy of {root}, found {decimal(free)}; make room, choose another disk, or "
            "leave the setting out and read the archive where it is"
        )
    with writing(own):
        shutil.rmtree(own, ignore_errors=True)  # a copy that has lost files
        part = Path(tempfile.mkdtemp(dir=own.parent, prefix=f"{own.name}."))
    behind = Behind()
    try:
        with line(f"copying {root} to {own.parent}", len(files), unit="files") as copying:
            for name, state in files.items():
                target = part / root.name / name
                behind.do(partial(_copy, root / name, target, state))
                copying.advance()
            behind.finish()
            os.sync()  # once: an archive may be half a million files
        with writing(own):
            part.replace(own)
    finally:
        behind.close()
        shutil.rmtree(part, ignore_errors=True)


def _copy(source: Path, target: Path, state: tuple[int, int]) -> None:
    """Copy a file and read the copy again."""
    read = hashlib.sha256()
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as given, target.open("wb") as taken:
            while block := given.read(2**20):
                read.update(block)
                taken.write(block)
        with target.open("rb") as file:
            written = hashlib.file_digest(file, "sha256")
    if written.digest() != read.digest():
        raise DataError(
            f"{target}: expected what was copied from {source}, found other bytes; check this "
            "disk, or choose another for data.local_copy"
        )
    if _state(source) != state:
        raise DataError(
            f"{source}: expected it as it was when its copy began, found it changed; run the "
            "command again once nobody writes to the archive"
        )


def _files(root: Path) -> Files:
    """All that frames and masks are read from, by their names from `root` (of a pack ``.``)."""
    if root.is_file():
        return {".": _state(root)}
    if not (root / FRAME_FOLDER).is_dir():  # a Zarr store
        return dict(_within(root, root))
    found: Files = {}
    for name in OF_A_TREE:
        path = root / name
        found |= {name: _state(path)} if path.is_file() else dict(_within(path, root))
    return found


def _within(folder: Path, root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(root)), _state(path)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _sizes(files: Files) -> dict[str, int]:
    return {name: size for name, (size, _) in files.items()}
