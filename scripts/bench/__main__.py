"""The benchmarks' command line; each prints a table and can write its rows as JSON."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from nowcast.core.system.allocator import tune_process

app = typer.Typer(add_completion=False)


class Precision(StrEnum):
    """Of a training step."""

    fp32 = "fp32"
    bf16 = "bf16"


class Isa(StrEnum):
    """Which instructions torch may use."""

    native = "native"
    avx512 = "avx512"
    avx2 = "avx2"


@app.command()
def main(
    name: Annotated[
        str,
        typer.Argument(
            help="training, memel, ranks, growth, latency, members, loader, scores, start, or all."
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="loader: an archive of 480x480 frames; made if left out.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Clips of a step.")] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="Of torch.")] = None,
    precision: Annotated[list[Precision] | None, typer.Option(help="bf16 is autocast.")] = None,
    pairs: Annotated[int | None, typer.Option(min=2, help="Calls of each way.")] = None,
    isa: Annotated[
        list[Isa] | None,
        typer.Option(help="Instructions that torch may use; native, and avx2 if it has more."),
    ] = None,
    device: Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="Where steps are.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """Timings, side by side; absolute times mean nothing, ratios do. All take about 40 minutes.

    Example: `python -m scripts.bench memel --batch 4 --threads 1 --precision fp32`
    """
    tune_process()  # before torch is imported
    import torch

    from nowcast.core.errors import NowcastError
    from nowcast.core.storage.files import write_json
    from nowcast.core.system.machine import when_and_where
    from scripts.bench.all import BENCHMARKS, measuring
    from scripts.bench.apart import apart
    from scripts.bench.benchmark import Row
    from scripts.bench.instructions import ISAS, chosen, processor

    options: dict[str, Any] = {"root": root, "batch": batch, "threads": threads}
    # Other processes cannot import an enumeration of `__main__`.
    precisions, isas = (each and [one.value for one in each] for each in (precision, isa))
    options |= {"precision": precisions, "pairs": pairs, "device": device}
    given = {key: value for key, value in options.items() if value is not None}
    names = list(BENCHMARKS) if name == "all" else [name]
    if name not in (*BENCHMARKS, "all"):
        raise typer.BadParameter(f"expected {', '.join(BENCHMARKS)} or all, found {name}")
    unused = {*given, *(["isa"] if isas else [])}
    unused -= set() if name == "all" else set(BENCHMARKS[name].uses)
    if unused:
        raise typer.BadParameter(f"{name} does not use {', '.join(sorted(unused))}")
    found: dict[str, object] = {"machine": when_and_where() | {"cpu": processor()}}
    cores = torch.get_num_threads()
    for each in names:
        benchmark = BENCHMARKS[each]
        rows: list[Row] = []
        try:
            limits = isas if "isa" in benchmark.uses else ["native"]
            for one in chosen(limits, device or "cpu"):
                work = measuring, each, one, given
                with apart(*work, threads=cores, environment=ISAS[one]) as measure:
                    rows += cast("list[Row]", measure())
        except NowcastError as error:
            typer.echo(f"{each}: {error}", err=True)
            raise typer.Exit(1) from error
        title = f"## {each}: {benchmark.about}"
        typer.echo(f"{title}\n\n{benchmark.table(rows)}\n\nOn {processor()}.\n")
        found[each] = rows
        if json_file is not None:
            write_json(json_file, found)


if __name__ == "__main__":
    app()
