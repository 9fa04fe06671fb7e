"""`python -m scripts.stand_ins glue DIR` and `python -m scripts.stand_ins images DIR`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from nowcast.core.errors import NowcastError
from scripts.stand_ins import digits, glue


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a stand-in; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.stand_ins", description=__doc__)
    parser.add_argument("kind", choices=("glue", "images"))
    parser.add_argument("root", type=Path, metavar="DIR", help="folder to make")
    parser.add_argument("--sets", default="sst-2,mrpc,sts-b,qnli", help="of glue, which to write")
    given = parser.parse_args(arguments)
    counts: Mapping[str, Mapping[Any, int]]
    try:
        if given.kind == "glue":
            counts = glue.write_sample(given.root, given.sets.split(","))
        else:
            counts = {"digits": digits.write_sample(given.root)}
    except NowcastError as error:
        typer.echo(error, err=True)
        return 2
    for name, parts in counts.items():
        typer.echo(f"{name}: {', '.join(f'{n} {part}' for part, n in parts.items())}")
    typer.echo(f"{given.root}: written; look at it with `nowcast data {given.kind} {given.root}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
