"""Pieces of work that are done in a moment, or never."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nowcast.core.errors import RunError
from nowcast.core.execution.executor import Place
from nowcast.core.storage.runs import RunTaken
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted, stop_signals
from tests.core.toy import ToyBatch, ToyTask

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Piece:
    """Writes its name into a folder.

    Args:
        folder: shared.
        title: its name.
        does: what else.
        needs: another's name, which must be there first.
    """

    folder: Path
    title: str
    does: str = ""
    needs: str | None = None

    def is_ready(self) -> bool:
        return self.needs is None or (self.folder / self.needs).exists()

    def do(self, place: Place) -> int:
        mine = self.folder / self.title
        if self.does == "fail":
            raise RunError("no such luck")
        if self.does == "die":
            os._exit(9)
        if self.does == "be at fault":
            raise ZeroDivisionError("one by nothing")
        if self.does == "meet":  # another one, or neither ends
            mine.touch()
            await_files(self.folder, 2)
        if self.does == "be taken at first" and not mine.exists():
            mine.touch()
            raise RunTaken("another process is training it")
        saved = self.folder / f"{self.title} saved"
        if self.does == "wait for the end" and not saved.exists():
            with stop_signals() as stopping:
                mine.touch()
                if stopping.wait(PATIENCE_SECONDS):
                    saved.touch()
                    raise Interrupted("saved")
        mine.touch()
        return place.ranks.local


def await_files(folder: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list(folder.iterdir())) < count:
        assert time.monotonic() < deadline, "nobody else came"
        time.sleep(0.02)


class Slow(ToyTask):
    """Takes its time for a step, so that a kill comes on the way."""

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for batch in super().training_batches(start, ranks):
            time.sleep(0.3)
            yield batch
