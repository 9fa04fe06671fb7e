"""`nowcast board`: TensorBoard on a folder of runs, with its charts laid out and a table of runs.

Layout and table are event files of their own, made anew at each call: those that the runs write
stay as they are.
"""

from pathlib import Path
from typing import Any

from nowcast.core.errors import ConfigError
from nowcast.core.monitoring.events import BESIDE, event_files, read_tags, scalars, write_beside
from nowcast.core.monitoring.hparams import BEST_STEP, columns, differing, outcome, row
from nowcast.core.monitoring.layout import charts, layout
from nowcast.core.runs import Run

FOLDER = "tensorboard"  # of layout and head of the table, below the one that is shown


def runs_below(folder: Path) -> dict[str, Run]:
    """Runs with event files by path below a folder, which may be one itself.

    Raises:
        ConfigError: there is none.
    """
    places = sorted(path.parent for path in folder.rglob("config.yaml"))
    runs = {
        folder.name if place == folder else place.relative_to(folder).as_posix(): Run(place)
        for place in places
        if event_files(place)
    }
    if not runs:
        raise ConfigError(
            f"{folder}: expected runs with event files, found none; give the --out folder of "
            "`nowcast compare` or the --run folder of `nowcast train`, or a folder above"
        )
    return runs


def prepare(folder: Path) -> None:
    """Write what TensorBoard needs beyond the runs' own event files.

    What an earlier call has left below the folder is replaced: layout and head of the table, which
    are of the folder, and each run's line of the table, which lies beside its own event file.

    Args:
        folder: of a comparison, its ``runs/``, one run or any folder above runs.

    Raises:
        ConfigError: there are no runs.
    """
    runs = runs_below(folder)
    files = [event_files(run.folder)[-1] for run in runs.values()]
    tags = dict.fromkeys(tag for file in files for tag in read_tags(file))
    values = differing({name: _told_from(folder, run) for name, run in runs.items()})
    outcomes = {name: outcome(run) for name, run in runs.items()}
    metrics = dict.fromkeys(tag for numbers in outcomes.values() for tag in numbers)
    for earlier in folder.rglob(f"{FOLDER}/{BESIDE}"):
        earlier.unlink()
    head = layout(charts(tags)), columns(values.values(), metrics)
    write_beside(folder / FOLDER, [(0, summary) for summary in head])
    for name, run in runs.items():
        line = [(0, summary) for summary in row(name, values[name], run.is_finished)]
        best = int(outcomes[name].get(BEST_STEP, 0))
        write_beside(run.folder, [*line, (best, scalars(outcomes[name]))])


def _told_from(folder: Path, run: Run) -> dict[str, Any]:
    """A run's config; where it starts from by the path below the folder, if it lies there."""
    config, root = run.config(), folder.resolve()
    start = config.get("start_from")
    if start is not None and Path(start).is_relative_to(root):
        config["start_from"] = str(Path(start).relative_to(root))
    return config


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

    program = TensorBoard()
    program.configure(logdir=str(folder), host=host, port=port, load_fast="false")
    try:
        return str(program.launch())
    except TensorBoardServerException as error:
        raise ConfigError(f"--host {host} --port {port}: {error}; --port 0 takes a free one") from (
            error
        )
