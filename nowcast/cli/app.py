"""The program `nowcast`: its groups of commands, and how errors are printed."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nowcast import __version__
from nowcast.cli.audit import audit
from nowcast.cli.compare import comparisons
from nowcast.cli.config import configs
from nowcast.cli.data import data
from nowcast.cli.evaluate import evaluation
from nowcast.cli.export import exports
from nowcast.cli.forecast import forecasts
from nowcast.cli.glue import glue, glue_data
from nowcast.cli.imagenet import image_data
from nowcast.cli.prepare import preparation
from nowcast.cli.serve import serving
from nowcast.cli.train import training
from nowcast.cli.watch import watches
from nowcast.core.errors import NowcastError
from nowcast.core.storage.files import mendable
from nowcast.core.system.allocator import tune_process
from nowcast.core.terminal.displays import display_on
from nowcast.core.terminal.progress import shown
from nowcast.core.terminal.result_warnings import say_plainly
from nowcast.core.terminal.tables import UNFOLDED, is_terminal


class _Commands(TyperGroup):
    """Prints a wrong command in whole lines where stderr is no terminal; typer's panel would fold
    them at 80 columns."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if not is_terminal(sys.stderr):
            self.rich_markup_mode = None
            extra["terminal_width"] = UNFOLDED
        return super().main(*args, **extra)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        errors, self.rich_markup_mode = self.rich_markup_mode, "markdown"
        super().format_help(ctx, formatter)
        self.rich_markup_mode = errors


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(training)
app.add_typer(evaluation)
app.add_typer(forecasts)
app.add_typer(watches)
app.add_typer(serving)
app.add_typer(comparisons)
app.add_typer(exports)
app.add_typer(glue)
data.add_typer(preparation)
data.add_typer(glue_data)
data.add_typer(image_data)
app.add_typer(data, name="data")
app.add_typer(audit, name="audit")
app.add_typer(configs, name="config")


def main() -> None:
    """Run the command line; a user's error is one message on stderr and exit status 1 or 2."""
    tune_process()  # before torch is imported
    say_plainly()
    try:
        with display_on(rank=os.environ.get("RANK", "0")) as display, shown(display):
            app()
    except NowcastError as error:
        _say_last(error)
        sys.exit(error.exit_status)
    except OSError as error:
        refusal = mendable(error)
        if refusal is None:
            raise
        _say_last(refusal)
        sys.exit(refusal.exit_status)
    except KeyboardInterrupt:
        sys.stderr.write("nowcast: stopped\n")
        sys.exit(1)


def _say_last(error: NowcastError) -> None:
    sys.stderr.write(f"nowcast: {error}\n")
    try:
        sys.stdout.flush()
    except OSError:  # a full disk: the interpreter would flush again at exit and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"nowcast {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Precipitation nowcasting from radar: train, evaluate and compare forecasters.

    Example: `nowcast data sample data/dwd`, then `nowcast forecast data/dwd --out forecast`
    """
