"""`nowcast board`: TensorBoard on a folder of runs, with its charts laid out and a table of runs.

Layout and table are event files in a folder of their own, made anew at each call: those of the runs
stay as they are.
"""

import shutil
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.events import EventLog, event_files, read_events
from nowcast.core.hparams import columns, differing, outcome, row
from nowcast.core.layout import charts, layout
from nowcast.core.runs import Run

FOLDER = "tensorboard"  # below the one that is shown
MARK = "made-by-nowcast-board"  # the file that says a folder may be removed


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


def prepare(folder: Path) -> Path:
    """Write what TensorBoard needs beyond the runs' own event files.

    What an earlier call has left below the folder is replaced.

    Args:
        folder: of a comparison, its ``runs/``, one run or any folder above runs.

    Returns:
        where it was written.

    Raises:
        ConfigError: there are no runs.
    """
    runs = runs_below(folder)
    tags: dict[str, None] = {}  # in the order of their first appearance
    for run in runs.values():
        for event in read_events(event_files(run.folder)[-1]):
            tags |= dict.fromkeys(value.tag for value in event.summary.value)
    values = differing({name: run.config() for name, run in runs.items()})
    outcomes = {name: outcome(run) for name, run in runs.items()}
    for mark in list(folder.rglob(f"{FOLDER}/{MARK}")):
        shutil.rmtree(mark.parent)
    out = folder / FOLDER
    out.mkdir(exist_ok=True)
    (out / MARK).touch()
    head = EventLog(out, 0)
    head.add(0, layout(charts(tags)))
    metrics = dict.fromkeys(tag for numbers in outcomes.values() for tag in numbers)
    head.add(0, columns(values.values(), metrics))
    head.close()
    for name, run in runs.items():
        line = EventLog(out / name, 0)
        for summary in row(name, values[name], run.is_finished):
            line.add(0, summary)
        line.scalars(int(outcomes[name].get("best/step", 0)), outcomes[name])
        line.close()
    return out


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
