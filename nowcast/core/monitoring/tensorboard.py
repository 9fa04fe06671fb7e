"""`nowcast board`: TensorBoard on a folder of runs, with its charts laid out and a table of runs.

Each run has its row of the table in an event file of its own; the first run's also holds the layout
and the table's head, which TensorBoard takes from any run. They are written anew at each call.
"""

import atexit
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from nowcast.core.comparison.labels import SEED
from nowcast.core.errors import ConfigError
from nowcast.core.monitoring.events import event_files, scalars, write_board_file
from nowcast.core.monitoring.hparams import differing, results, table_head, table_row
from nowcast.core.monitoring.layout import charts, layout
from nowcast.core.storage.runs import Run

RUNS = "runs"  # of a comparison's folder


def runs_below(folder: Path) -> dict[str, Run]:
    """Runs with event files below a folder, which may be one itself, as TensorBoard names them.

    That is by the path from the folder, without the ``runs`` of a comparison. Where the folder is a
    run, or a variant with seeds alone in it, its own name stands before.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(path.parent for path in folder.rglob("config.yaml"))
    folders = [run for run in found if event_files(run)]
    if not folders:
        raise ConfigError(
            f"{folder}: expected runs with event files, found none; give the --out folder of "
            "`nowcast compare` or the --run folder of `nowcast train`, or a folder above"
        )
    above, prefix = _named_from(folder, folders)
    return {(prefix / run.relative_to(above)).as_posix(): Run(run) for run in folders}


def _named_from(folder: Path, runs: Sequence[Path]) -> tuple[Path, PurePath]:
    """The folder from which the paths to runs are their names, and what stands before these."""
    below, own = folder / RUNS, folder.resolve()
    if folder in runs:
        seed = SEED.fullmatch(own.name)
        return folder, PurePath(own.parent.name, own.name) if seed else PurePath(own.name)
    if all(run.parent == folder and SEED.fullmatch(run.name) for run in runs):
        return folder, PurePath(own.name)
    # A comparison's searches lie beside its runs.
    return (below if all(run.is_relative_to(below) for run in runs) else folder), PurePath()


def prepare(folder: Path) -> None:
    """Write layout and table.

    Args:
        folder: of a comparison, its ``runs/``, one run or any folder above runs.

    Raises:
        ConfigError: there are no runs.
    """
    runs = runs_below(folder)
    tags = dict.fromkeys(tag for run in runs.values() for tag in scalar_tags(run.folder))
    differences = differing({name: _config(folder, run) for name, run in runs.items()})
    rows = {name: {"variant": variant_of(runs[name]), **own} for name, own in differences.items()}
    metrics = {name: results(run) for name, run in runs.items()}
    columns = dict.fromkeys(tag for numbers in metrics.values() for tag in numbers)
    head = [layout(charts(tags)), table_head(rows.values(), columns)]
    for name, run in runs.items():
        row = table_row(name, rows[name], run.is_finished)
        write_board_file(run.folder, [*head, *row, scalars(metrics[name])])
        head = []


def scalar_tags(folder: Path) -> list[str]:
    """The tags of a run's scalars in the order of their first appearance."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=False).Reload()
    return list(events.Tags()["scalars"])


def variant_of(run: Run) -> str:
    """The variant that a run is of: the folder above ``seed0``, or else its own."""
    folder = run.folder.resolve()
    return folder.parent.name if SEED.fullmatch(folder.name) else folder.name


def _config(folder: Path, run: Run) -> dict[str, Any]:
    """A run's config; where it starts from by the path below the folder, if it lies there."""
    config, root = run.config(), folder.resolve()
    start = config.get("start_from")
    if start is not None and Path(start).is_relative_to(root):
        config["start_from"] = str(Path(start).relative_to(root))
    return config


def _source(folder: Path) -> Path:
    """A folder that TensorBoard reads, below which runs have the names of `runs_below`."""
    above, prefix = _named_from(folder, [run.folder for run in runs_below(folder).values()])
    if not prefix.parts:
        return above
    made = Path(tempfile.mkdtemp(prefix="nowcast-board-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    (made / prefix).parent.mkdir(parents=True, exist_ok=True)
    (made / prefix).symlink_to(above.resolve(), target_is_directory=True)
    return made


def launch(folder: Path, host: str, port: int) -> str:
    """Serve TensorBoard on a folder, from a thread that ends with the process.

    Args:
        folder: with event files below it.
        host: name or address to listen at.
        port: 0 takes one that is free.

    Returns:
        the address to open.

    Raises:
        ConfigError: host or port cannot be had.
    """
    from tensorboard.program import TensorBoard, TensorBoardServerException

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of each resumed run
    program = TensorBoard()
    program.configure(logdir=str(_source(folder)), host=host, port=port, load_fast="false")
    try:
        return str(program.launch())
    except TensorBoardServerException as error:
        raise ConfigError(f"--host {host} --port {port}: {error}; --port 0 takes a free one") from (
            error
        )
