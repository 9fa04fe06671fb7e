"""`nowcast board`: TensorBoard on a folder of runs, with its charts laid out and a table of runs.

Layout and table are in event files beside those that the runs write, made anew at each call; the
runs' own stay as they are.
"""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from nowcast.core.comparison.labels import SEED
from nowcast.core.errors import ConfigError
from nowcast.core.monitoring.events import BESIDE, event_files, read_tags, scalars, write_beside
from nowcast.core.monitoring.hparams import BEST_STEP, columns, differing, outcome, row
from nowcast.core.monitoring.layout import charts, layout
from nowcast.core.storage.runs import Run

FORMER = "tensorboard"  # where layout and head lay before, as if they were a run of that name
RUNS = "runs"  # of a comparison's folder


def runs_below(folder: Path) -> dict[str, Run]:
    """Runs with event files below a folder, which may be one itself, as TensorBoard names them.

    That is by the path from the folder, without the ``runs`` of a comparison. Where the folder is a
    run, or a variant with seeds alone in it, its own name stands before.

    Raises:
        ConfigError: there is none.
    """
    places = sorted(path.parent for path in folder.rglob("config.yaml"))
    places = [place for place in places if event_files(place)]
    if not places:
        raise ConfigError(
            f"{folder}: expected runs with event files, found none; give the --out folder of "
            "`nowcast compare` or the --run folder of `nowcast train`, or a folder above"
        )
    above, prefix = _named_from(folder, places)
    return {(prefix / place.relative_to(above)).as_posix(): Run(place) for place in places}


def _named_from(folder: Path, places: Sequence[Path]) -> tuple[Path, PurePath]:
    """The folder from which the paths to runs are their names, and what stands before these."""
    runs, own = folder / RUNS, folder.resolve()
    if folder in places:
        seed = SEED.fullmatch(own.name)
        return folder, PurePath(own.parent.name, own.name) if seed else PurePath(own.name)
    if all(place.parent == folder and SEED.fullmatch(place.name) for place in places):
        return folder, PurePath(own.name)
    # A comparison's searches lie beside its runs.
    return (runs if all(place.is_relative_to(runs) for place in places) else folder), PurePath()


def prepare(folder: Path) -> None:
    """Write what TensorBoard needs beyond the runs' own event files.

    It lies beside the runs' own event files, in place of what an earlier call has left there: each
    run's line of the table, and with the first run the layout and the head of the table, which
    TensorBoard takes from any run. A folder of their own would be listed as a run.

    Args:
        folder: of a comparison, its ``runs/``, one run or any folder above runs.

    Raises:
        ConfigError: there are no runs.
    """
    runs = runs_below(folder)
    files = [event_files(run.folder)[-1] for run in runs.values()]
    tags = dict.fromkeys(tag for file in files for tag in read_tags(file))
    values = {
        name: {"variant": variant_of(runs[name]), **own}
        for name, own in differing({n: _told_from(folder, run) for n, run in runs.items()}).items()
    }
    outcomes = {name: outcome(run) for name, run in runs.items()}
    metrics = dict.fromkeys(tag for numbers in outcomes.values() for tag in numbers)
    for earlier in folder.rglob(f"{FORMER}/{BESIDE}"):
        earlier.unlink()
    head = [layout(charts(tags)), columns(values.values(), metrics)]
    for name, run in runs.items():
        line = [(0, summary) for summary in (*head, *row(name, values[name], run.is_finished))]
        best = int(outcomes[name].get(BEST_STEP, 0))
        write_beside(run.folder, [*line, (best, scalars(outcomes[name]))])
        head = []


def variant_of(run: Run) -> str:
    """The variant that a run is of: the folder above ``seed0``, or else its own."""
    folder = run.folder.resolve()
    return folder.parent.name if SEED.fullmatch(folder.name) else folder.name


def _told_from(folder: Path, run: Run) -> dict[str, Any]:
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

    program = TensorBoard()
    program.configure(logdir=str(_source(folder)), host=host, port=port, load_fast="false")
    try:
        return str(program.launch())
    except TensorBoardServerException as error:
        raise ConfigError(f"--host {host} --port {port}: {error}; --port 0 takes a free one") from (
            error
        )
