"""The command line: parse, build, call. What a command does is imported when it is called."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from nowcast import __version__
from nowcast.cli.arguments import Config, Overrides, parsed, settings_of
from nowcast.cli.audit import audit
from nowcast.cli.compare import comparisons
from nowcast.cli.data import data
from nowcast.cli.export import exports
from nowcast.cli.forecast import forecasts
from nowcast.cli.glue import glue, glue_data
from nowcast.cli.imagenet import image_data
from nowcast.core.errors import NowcastError
from nowcast.core.storage.files import mendable
from nowcast.core.system.allocator import tune_process
from nowcast.core.terminal.displays import display_on
from nowcast.core.terminal.progress import shown
from nowcast.core.terminal.result_warnings import say_plainly
from nowcast.core.terminal.tables import UNFOLDED, is_terminal, print_scores

if TYPE_CHECKING:
    from torch import nn

    from nowcast.core.settings import RunSettings
    from nowcast.core.training.task import Task


class _Commands(TyperGroup):
    """Says a mistake on the command line in whole lines where stderr is no terminal: a panel, as
    typer draws it, folds them at 80 columns."""

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
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(forecasts)
app.add_typer(comparisons)
app.add_typer(exports)
app.add_typer(glue)
data.add_typer(glue_data)
data.add_typer(image_data)
app.add_typer(data, name="data")
app.add_typer(audit, name="audit")


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and exit status 1 or 2."""
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
    except OSError:  # what is left is for a full disk: the interpreter would try again and say so
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
            "--version", callback=_print_version, is_eager=True, help="Print it and exit."
        ),
    ] = False,
) -> None:
    """Precipitation nowcasting from radar: train, evaluate and compare forecasters."""


@app.command()
def train(
    config: Config,
    run: Annotated[Path, typer.Option(help="Folder of the run; the same one resumes it.")],
    overrides: Overrides = None,
    detect_anomaly: Annotated[
        bool, typer.Option("--detect-anomaly", help="Name what first gives NaN; slow.")
    ] = False,
) -> None:
    """Train one forecaster; the same command goes on where it stopped.

    Example: `nowcast train configs/precipitation/smoke.yaml data.root=data/dwd --run runs/first`

    On several GPUs or machines: `torchrun --nproc-per-node 4 -m -- nowcast train ...`
    """
    from nowcast import registry
    from nowcast.cli import config as configs
    from nowcast.core.storage.runs import Run
    from nowcast.core.system.distributed import joined
    from nowcast.core.training.trainer import train as train_run

    changes = parsed(overrides) | ({"train.detect_anomaly": True} if detect_anomaly else {})
    settings = settings_of(configs.read(config), config, changes)
    with joined() as ranks:
        train_run(registry.build(settings), settings, Run(run), ranks)
        if ranks.is_main:
            result = Run(run).result()
            typer.echo(
                f"{run}: finished {result['steps']} steps; best at step {result['best_step']} "
                f"({' + '.join(result['objective'])} {result['best_objective']:.5g} on valid)"
            )


@app.command()
def evaluate(
    forecasters: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FORECASTER... [KEY=VALUE]...",
            help="Run folders, names of weights that come with nowcast, and baselines: "
            "persistence; flow (optical flow by DIS), dis or farneback; with pysteps, "
            "extrapolation, sprog, anvil or steps. Where the source of rain is unknown they keep "
            "the last frame's own value; `flow:dry` and so on are dry. "
            "On GLUE: majority; on images: majority, linear. "
            "A run is called by the name of its folder, or NAME. "
            "Then changes of the config.",
        ),
    ],
    root: Annotated[Path, typer.Option("--data", help="The archive, or another task's data.")],
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Which days.")] = "test",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the scores of one to this file.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of a leaderboard: several forecasters, all scores."),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Learn from what has become past before each forecast.")
    ] = False,
) -> None:
    """Score forecasters on a split of an archive, in the mean and by lead time.

    With --out, all of them and persistence are scored in full on exactly the same clips, and it is
    worked out which of them can be told apart.

    Example: `nowcast evaluate persistence --data data/dwd --split test data.out_len=12`

    Example: `nowcast evaluate runs/first flow --data data/dwd --out runs/board`

    Example, with names of one's own: `nowcast evaluate small=runs/a large=runs/b --data ...`

    Example, the HKO-7 online setting: `nowcast evaluate runs/first --data data/dwd --online`
    """
    from nowcast import registry
    from nowcast.core.comparison.board import contest
    from nowcast.core.comparison.labels import is_forecaster, labels, split_label
    from nowcast.core.comparison.leaderboard import verdicts
    from nowcast.core.errors import ConfigError
    from nowcast.core.scoring.table import Row, Table
    from nowcast.core.storage.files import check_folder, check_place, write_json
    from nowcast.core.system.distributed import joined
    from nowcast.core.terminal.progress import line
    from nowcast.core.training.evaluate import evaluate as score
    from nowcast.core.training.evaluate import pick_device
    from nowcast.core.training.task import columns_of, compared, description_of, facts_of

    sections = registry.sections()
    split_up = [(text, *split_label(text, sections)) for text in forecasters]
    named = [(name, source) for text, name, source in split_up if name or is_forecaster(text)]
    changes = parsed([text for text, name, _ in split_up if not name and not is_forecaster(text)])
    if not named:
        raise ConfigError(
            "expected a forecaster beside changes of the config, found none; give the folder of a "
            "run or a baseline, e.g. persistence"
        )
    if len(named) != 1 and out is None:
        raise ConfigError(
            f"expected one forecaster, found {len(named)}; --out DIR makes a leaderboard of several"
        )
    if json_file is not None and out is not None:
        raise ConfigError("--json: --out writes leaderboard.json; leave one of them out")
    if online and out is not None:
        raise ConfigError("--online: expected one forecaster by itself, found --out; leave one out")
    sources = labels(named)
    names = list(sources)
    if json_file is not None:
        check_place(json_file)
    if out is not None:
        check_folder(out)
    with joined() as ranks:
        with line(f"opening {root} and {', '.join(names)}"):
            entries = _entries(sources, changes | {"data.root": str(root)}, online)
            settings, task, _ = next(iter(entries.values()))
            task.samples(split)
        device = pick_device(settings.train.device, ranks)
        if out is not None:
            models = {
                name: (compared(task, "--out"), model.to(device))
                for name, (_, task, model) in entries.items()
            }
            board = contest(models, split, ranks, device, out)
            table, facts = board.table, board.facts
        else:
            model = entries[names[0]][2].to(device)
            if online:
                from nowcast.precipitation.online.evaluate import evaluate_online

                scores = evaluate_online(task, model, split, device, settings)
            else:
                scores = score(task, model, split, ranks, device, f"scoring {names[0]} on {split}")
            table = Table(columns_of(task), (Row(names[0], {None: scores}),))
            facts = facts_of(task, split)
            if json_file is not None and ranks.is_main:
                write_json(
                    json_file,
                    {"forecaster": names[0], "online": online, **facts, **scores.document()},
                )
        if not ranks.is_main:
            return
    print_scores(table)
    if out is not None:
        for text in verdicts(board):
            typer.echo(text)
    typer.echo(f"{description_of(task, split)}{', online' * online}")
    for name, (_, _, scored) in entries.items():
        if replaced := getattr(scored, "replaced", 0):
            typer.echo(f"{name}: {replaced} clips were forecast otherwise; the warnings say why")
    for note in _unlike_training(entries):
        typer.echo(f"nowcast: {note}", err=True)
    if "note" in facts:
        typer.echo(facts["note"])
    if out is not None:
        typer.echo(f"leaderboard  {out / 'leaderboard.html'}, .md, .csv, .json; differences.csv")


def _unlike_training(entries: "dict[str, tuple[RunSettings, Task, nn.Module]]") -> list[str]:
    """Where the archive differs from what weights were trained on, a sentence each."""
    from nowcast.core.storage.runs import Run
    from nowcast.precipitation.clips.trained_on import stated_by
    from nowcast.precipitation.forecasting.released.weights import located, shipped
    from nowcast.precipitation.task import PrecipitationTask

    notes: list[str] = []
    for name, (_, task, _) in entries.items():
        seen = stated_by(located(name) if name in shipped() else Run(Path(name)))
        if seen is not None and isinstance(task, PrecipitationTask):
            notes += seen.notes(name, task.archive.description)
    return notes


def _entries(
    sources: dict[str, str], changes: dict[str, Any], learning: bool
) -> "dict[str, tuple[RunSettings, Task, nn.Module]]":
    """Settings, task and model of run folders and baselines by label; a baseline has the first
    run's settings."""
    from nowcast import registry
    from nowcast.core.errors import ConfigError, UnknownForecaster
    from nowcast.core.storage.runs import Run
    from nowcast.core.training.task import Compared, compared
    from nowcast.core.training.trainer import trained_model
    from nowcast.precipitation.forecasting.released.weights import located, meant, shipped

    runs = {
        name: located(source) if source in shipped() else Run(Path(source))
        for name, source in sources.items()
        if source in shipped() or Path(source).is_dir()
    }
    first = next(iter(runs.values())).config() if runs else {"task": "precipitation"}
    entries: dict[str, tuple[RunSettings, Task, nn.Module]] = {}
    task: Task | None = None
    for name, source in sources.items():
        run = runs.get(name)
        settings = settings_of(run.config() if run else first, source, changes, evaluating=True)
        task = registry.build(settings, task)
        try:
            model = (
                trained_model(task, settings, run, learning)
                if run
                else compared(task, f"the baseline {source}").baseline(source)
            )
        except UnknownForecaster as error:
            raise ConfigError(
                f"{error}{meant(source)}. Weights that come with nowcast: {', '.join(shipped())}"
            ) from error
        if isinstance(task, Compared) and name == task.reference != source:
            raise ConfigError(
                f"{source}: {name} is what a leaderboard sets others against; give it another "
                f"name: NAME={source}"
            )
        entries[name] = settings, task, model
    return entries
