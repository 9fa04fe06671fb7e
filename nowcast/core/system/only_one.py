"""One process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import writing

LOCK = ".lock"


@contextmanager
def only_one(folder: Path, option: str) -> Iterator[None]:
    """Hold a folder, which is made, until the block or this process ends, killed or not.

    Raises:
        ConfigError: another process holds it.
        OutputError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                f"{option}: another process writes to {folder}; stop it, or choose another folder"
            ) from error
    try:
        yield
    finally:
        lock.release()
