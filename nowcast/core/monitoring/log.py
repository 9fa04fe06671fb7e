"""The log of a run: a history file and event files for TensorBoard."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.core.monitoring.monitor import LOG10_PHI_EDGES, Reading
from nowcast.core.scoring.sums import Scores
from nowcast.core.storage.files import write_text
from nowcast.core.storage.runs import Run


class RunLog:
    """History file and TensorBoard events of a run.

    Args:
        run: whose folder is written to.
        start: the step the run goes on from; what was logged later is dropped, since those steps
            are done again.
        shown: False writes nothing, for ranks other than the first.

    Raises:
        OSError: from here and every method, e.g. because the disk is full.
    """

    def __init__(self, run: Run, start: int, shown: bool = True) -> None:
        self._run = run
        self._shown = shown
        if not shown:
            return
        kept = [entry for entry in run.history() if entry["step"] <= start]
        write_text(run.history_file, "".join(json.dumps(entry) + "\n" for entry in kept))
        from nowcast.core.monitoring.events import EventLog  # imports tensorboard

        self._events = EventLog(run.folder, start)

    def step(
        self, step: int, numbers: Mapping[str, float], throughput: Mapping[str, float] | None = None
    ) -> None:
        """Log a training step, e.g. loss and rate.

        `throughput`, which differs between machines, goes to TensorBoard only: two runs of one
        config have the same history.
        """
        if not self._shown:
            return
        self._write({"step": step, **numbers})
        groups = {"train": numbers, "throughput": throughput or {}}
        self._events.scalars(
            step,
            {f"{group}/{name}": v for group, part in groups.items() for name, v in part.items()},
        )

    def memel(self, step: int, readings: Mapping[str, Reading]) -> None:
        """Log what the MEmeL layers did, to TensorBoard only."""
        if not self._shown:
            return
        self._readings(step, "memel", readings)

    def validation(
        self,
        step: int,
        scores: Scores,
        pictures: Mapping[str, NDArray[np.uint8]],
        sums: Mapping[str, float | None],
        monosemanticity: Mapping[str, Reading] | None = None,
    ) -> None:
        """Log scores, their curves and pictures of a validation, and how monosemantic sites are.

        `sums` of scores, i.e. objective and loss, go to TensorBoard only, where they are finite.
        """
        if not self._shown:
            return
        readings = monosemanticity or {}
        measured = {site: dict(reading.numbers) for site, reading in readings.items()}
        entry = {"step": step, "valid": dict(scores.values)}
        self._write(entry | ({"monosemanticity": measured} if measured else {}))
        self._readings(step, "monosemanticity", readings)
        numbers = {f"valid/{name}": value for name, value in scores.values.items()}
        for name, curve in scores.curves.items():
            for where, point in zip(scores.axis, curve, strict=True):
                numbers[f"valid_by_{scores.axis_name}/{name}/{where:g}"] = point
        numbers |= {f"valid/{name}": value for name, value in sums.items()}
        defined = {tag: v for tag, v in numbers.items() if v is not None and math.isfinite(v)}
        self._events.scalars(step, defined)
        for caption, picture in pictures.items():
            self._events.image(step, f"forecast/{caption}", picture)

    def _readings(self, step: int, group: str, readings: Mapping[str, Reading]) -> None:
        for site, reading in readings.items():
            numbers = {f"{group}/{site}/{name}": v for name, v in reading.numbers.items()}
            self._events.scalars(step, numbers)
            if any(reading.log10_phi):
                tag = f"{group}/{site}/log10_phi"
                self._events.histogram(step, tag, LOG10_PHI_EDGES, reading.log10_phi)

    def flush(self) -> None:
        """Put what was logged on disk; to be called before a checkpoint is saved."""
        if not self._shown:
            return
        with self._run.history_file.open("a") as file:
            os.fsync(file.fileno())
        self._events.flush()

    def close(self) -> None:
        """Close the files."""
        if self._shown:
            self._events.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self._run.history_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
