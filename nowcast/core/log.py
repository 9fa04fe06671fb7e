"""What a run says while it goes on: a progress bar, a history file and tensorboard."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nowcast.core.monitor import LOG10_PHI_EDGES, Reading
from nowcast.core.runs import Run
from nowcast.core.sums import Scores

console = Console(stderr=True)


class Bar:
    """One line of progress."""

    def __init__(self, progress: Progress, line: TaskID) -> None:
        self._progress = progress
        self._line = line

    def advance(self, note: str | None = None, by: int = 1) -> None:
        """Count, and say something short beside the bar."""
        fields = {} if note is None else {"note": note}
        self._progress.update(self._line, advance=by, **fields)  # type: ignore[arg-type]

    def set(self, done: int, total: int) -> None:
        """Say how much is done of how much."""
        self._progress.update(self._line, completed=done, total=total)


class Bars:
    """Lines of progress under each other."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, title: str, total: int, done: int = 0) -> Bar:
        """One more line."""
        return Bar(
            self._progress, self._progress.add_task(title, total=total, completed=done, note="")
        )


@contextmanager
def bars(shown: bool = True) -> Iterator[Bars]:
    """Progress on stderr for as long as the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not shown) as progress:
        yield Bars(progress)


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for work that reports (done, total)."""
    with bars() as lines:
        yield lines.add(title, total=1).set


class RunLog:
    """History file and tensorboard events of a run, from a step on.

    Args:
        run: whose folder is written to.
        start: the step it goes on from; what was logged after it is dropped, since those steps
            are done again.
        shown: False writes nothing (ranks other than the first).
    """

    def __init__(self, run: Run, start: int, shown: bool = True) -> None:
        self._run = run
        self._shown = shown
        if not shown:
            return
        # Imported here: tensorboard takes longer to import than all the rest.
        from torch.utils.tensorboard import SummaryWriter

        kept = [entry for entry in run.history() if entry["step"] <= start]
        run.history_file.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._events = SummaryWriter(str(run.folder), purge_step=start + 1 if start else None)

    def step(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of a training step, e.g. loss and rate."""
        self._write({"step": step, **numbers})
        if self._shown:
            for name, value in numbers.items():
                self._events.add_scalar(f"train/{name}", value, step)

    def memel(self, step: int, readings: Mapping[str, Reading]) -> None:
        """What the MEmeL layers did, to tensorboard alone."""
        if not self._shown:
            return
        for site, reading in readings.items():
            for name, value in reading.numbers.items():
                self._events.add_scalar(f"memel/{site}/{name}", value, step)
            counts = np.array(reading.log10_phi)
            if not counts.sum():
                continue
            edges = np.array(LOG10_PHI_EDGES)
            middles = (edges[1:] + edges[:-1]) / 2
            self._events.add_histogram_raw(
                f"memel/{site}/log10_phi",
                min=float(edges[0]),
                max=float(edges[-1]),
                num=int(counts.sum()),
                sum=float(counts @ middles),
                sum_squares=float(counts @ middles**2),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=step,
            )

    def validation(
        self, step: int, scores: Scores, pictures: Mapping[str, NDArray[np.uint8]]
    ) -> None:
        """Scores, their curves and pictures at a validated step."""
        self._write({"step": step, "valid": dict(scores.values)})
        if not self._shown:
            return
        for name, value in scores.values.items():
            if value is not None:
                self._events.add_scalar(f"valid/{name}", value, step)
        for name, curve in scores.curves.items():
            for where, point in zip(scores.axis, curve, strict=True):
                if point is not None:
                    tag = f"by_{scores.axis_name}/{name}/{where:g}"
                    self._events.add_scalar(tag, point, step)
        for caption, picture in pictures.items():
            self._events.add_image(f"forecast/{caption}", picture, step, dataformats="HWC")
        self._events.flush()

    def flush(self) -> None:
        """Put on disk what was logged, before a checkpoint is saved that goes on from there."""
        if self._shown:
            self._events.flush()

    def close(self) -> None:
        """Write out what is held back."""
        if self._shown:
            self._events.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._shown:
            with self._run.history_file.open("a") as file:
                file.write(json.dumps(entry) + "\n")
