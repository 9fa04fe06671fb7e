"""The benchmarks' command line; each prints a table and can write its rows as JSON."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nowcast.core.system.allocator import tune_process

app = typer.Typer(help="Timings, side by side in one process.", no_args_is_help=True)


class Precision(StrEnum):
    """Of a training step."""

    fp32 = "fp32"
    bf16 = "bf16"


class Clock(StrEnum):
    """What a call's time is read from."""

    wall = "wall"
    processor = "processor"


@app.callback()
def main() -> None:
    """Timings, side by side in one process; absolute times mean nothing, ratios do."""
    tune_process()


@app.command()
def memel(
    batch: Annotated[list[int] | None, typer.Option(help="Clips; 4 and 16.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Of torch; 1 and 2.")] = None,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Both; bf16 is autocast.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of steps per setting.")] = 9,
    size: Annotated[int, typer.Option(help="Height and width; a multiple of 30.")] = 120,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """What six MEmeL layers add to a training step of the paper's ConvGRU.

    Example: `python -m scripts.bench memel --batch 4 --threads 1 --precision fp32`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.memel import measure, table

    rows = []
    for clips in batch or (4, 16):
        for count in threads or (1, 2):
            for dtype in precision or Precision:
                rows.append(measure(clips, count, dtype is Precision.bf16, pairs, size))
                typer.echo(f"measured batch {clips}, {count} threads, {dtype}", err=True)
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def loader(
    root: Annotated[Path, typer.Argument(help="An archive of 480x480 frames.")],
    clips: Annotated[int, typer.Option(min=1, help="Clips a batch.")] = 16,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of batches per reader.")] = 15,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """Clips per second of tree and pack, beside a reader that decodes every PNG of every clip; and
    batches a minute from one worker process, with the memory of both.

    Example: `nowcast data synth data/wide --size 480 --days 3 && python -m scripts.bench loader
    data/wide`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.loader import measure, table

    rows = measure(root, clips, pairs)
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def scores(
    clips: Annotated[int, typer.Option(min=1, help="Clips a batch.")] = 16,
    leads: Annotated[int, typer.Option(min=1, help="Lead times.")] = 10,
    size: Annotated[int, typer.Option(min=1, help="Height and width.")] = 120,
    threads: Annotated[list[int] | None, typer.Option(help="Of torch; 1 and 2.")] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of calls per yardstick.")] = 51,
    clock: Annotated[Clock, typer.Option(help="Processor time, if others use the machine.")] = (
        Clock.wall
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """The scores of a batch, beside two straightforward ways to count them with numba.

    `loops` goes over every pixel and threshold; `arrays` expands the thresholds into an axis.

    Example: `python -m scripts.bench scores --threads 1`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.scores import measure, table

    rows = [
        row
        for count in threads or (1, 2)
        for row in measure(clips, leads, size, count, pairs, clock)
    ]
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def latency(
    threads: Annotated[int, typer.Option(min=1, help="Of torch, and cores for all.")] = 2,
    pairs: Annotated[int, typer.Option(min=5, help="Calls of each forecaster.")] = 7,
    size: Annotated[int, typer.Option(help="Height and width.")] = 480,
    in_len: Annotated[int, typer.Option(help="Frames in.")] = 5,
    out_len: Annotated[int, typer.Option(help="Frames out.")] = 20,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """How long a forecast takes, and its memory: networks and optical flow beside S-PROG.

    Example: `python -m scripts.bench latency --threads 1`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.latency import measure, table

    rows = measure(threads, pairs, size, in_len, out_len)
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def ranks(
    batch: Annotated[list[int] | None, typer.Option(help="Clips in all; 4 and 16.")] = None,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Both; bf16 is autocast.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=5, help="Pairs of steps per setting.")] = 9,
    size: Annotated[int, typer.Option(help="Height and width; a multiple of 30.")] = 120,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """Clips per second of two ranks of one thread, beside one process of two threads.

    Example: `python -m scripts.bench ranks --batch 4 --precision fp32`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.ranks import measure, table

    rows = measure(batch or (4, 16), precision or tuple(Precision), pairs, size)
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def start(
    pairs: Annotated[int, typer.Option(min=5, help="Processes of each kind.")] = 21,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """How long `nowcast --help` and `import nowcast` take, and what large packages they import.

    Example: `python -m scripts.bench start`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.start import measure, table

    rows = measure(pairs)
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def growth(
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 2,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Both; bf16 is autocast.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=5, help="Steps of each setting.")] = 5,
    frames: Annotated[list[int] | None, typer.Option(help="In, and as many out.")] = None,
    side: Annotated[list[int] | None, typer.Option(help="Of the crop; multiples of 30.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Clips.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """How the time of a training step grows with frames, crop and batch, one at a time.

    Example: `python -m scripts.bench growth --precision fp32 --side 60 --side 240`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.growth import BATCHES, FRAMES, SIDES, measure, table

    values = frames or FRAMES, side or SIDES, batch or BATCHES
    rows = [
        row
        for dtype in precision or Precision
        for row in measure(threads, dtype is Precision.bf16, rounds, *values)
    ]
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command()
def training(
    batch: Annotated[list[int] | None, typer.Option(help="Clips; 4 and 16.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Of torch; 1 and 2.")] = None,
    turns: Annotated[int, typer.Option(min=5, help="Steps of each way.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """A training step beside a straightforward one: time, memory, loss, share of the limit.

    Example: `python -m scripts.bench training --batch 4 --threads 1`
    """
    from nowcast.core.storage.files import write_json
    from scripts.bench.training import measure, table

    rows = measure(batch or (4, 16), threads or (1, 2), turns)
    typer.echo(table(rows))
    if json_file is not None:
        write_json(json_file, [row.document() for row in rows])


@app.command("all")
def everything(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """Every benchmark at the sizes of the README; about 20 minutes on two cores.

    Example: `python -m scripts.bench all --json bench.json`
    """
    from nowcast.core.storage.files import write_json
    from nowcast.core.system.machine import when_and_where
    from scripts.bench.everything import measured

    found: dict[str, object] = {"machine": when_and_where()}
    for part in measured():
        typer.echo(f"## {part.title}\n\n{part.table}\n")
        found[part.title] = part.rows
        if json_file is not None:
            write_json(json_file, found)


if __name__ == "__main__":
    app()
