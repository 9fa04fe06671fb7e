"""The command line: parse, build, call. What a command does is imported when it is called."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nowcast.core.errors import NowcastError
from nowcast.core.terminal import print_table
from nowcast.data_cli import data

if TYPE_CHECKING:
    from torch import nn

    from nowcast.core.estimate import Planned
    from nowcast.core.settings import CompareSettings, RunSettings
    from nowcast.core.table import Table
    from nowcast.core.task import Task

app = typer.Typer(
    help="Precipitation nowcasting from radar: train, evaluate and compare forecasters.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
audit = typer.Typer(help="Look inside a trained model: what its neurons do.", no_args_is_help=True)
app.add_typer(audit, name="audit")

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE ...]", help="Dotted config keys, e.g. train.steps=100."),
]
Config = Annotated[Path, typer.Argument(help="A YAML file from configs/.")]


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and exit status 1 or 2."""
    try:
        app()
    except NowcastError as error:
        sys.stderr.write(f"nowcast: {error}\n")
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.stderr.write("nowcast: stopped\n")
        sys.exit(1)


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
    from nowcast import config as configs
    from nowcast import registry
    from nowcast.core.distributed import joined
    from nowcast.core.runs import Run
    from nowcast.core.trainer import train as train_run

    changes = _parsed(overrides) | ({"train.detect_anomaly": True} if detect_anomaly else {})
    settings = _settings(configs.read(config), config, changes)
    with joined() as ranks:
        train_run(registry.build(settings), settings, Run(run), ranks)
        if ranks.is_main:
            result = Run(run).result()
            typer.echo(
                f"{run}: finished {result['steps']} steps; best at step {result['best_step']} "
                f"({' + '.join(result['objective'])} {result['best_objective']:.1f} on valid)"
            )


@app.command()
def evaluate(
    forecasters: Annotated[
        list[str],
        typer.Argument(
            metavar="FORECASTER... [KEY=VALUE]...",
            help="Run folders, and baselines: persistence; flow (optical flow by DIS), dis or "
            "farneback; with pysteps, extrapolation, sprog, anvil or steps. Where the source of "
            "rain is unknown they keep the last frame's own value; `flow:dry` and so on are dry. "
            "Then changes of the config.",
        ),
    ],
    root: Annotated[Path, typer.Option("--data", help="The archive to evaluate on.")],
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

    Example, the HKO-7 online setting: `nowcast evaluate runs/first --data data/dwd --online`
    """
    from nowcast.core.board import contest
    from nowcast.core.distributed import joined
    from nowcast.core.errors import ConfigError
    from nowcast.core.evaluate import evaluate as score
    from nowcast.core.evaluate import pick_device
    from nowcast.core.files import write_json
    from nowcast.core.table import Row, Table

    names = [text for text in forecasters if "=" not in text or Path(text).is_dir()]
    changes = _parsed([text for text in forecasters if text not in names])
    if len(names) != 1 and out is None:
        raise ConfigError(
            f"expected one forecaster, found {len(names)}; --out DIR makes a leaderboard of several"
        )
    if json_file is not None and out is not None:
        raise ConfigError("--json: --out writes leaderboard.json; leave one of them out")
    if online and out is not None:
        raise ConfigError("--online: expected one forecaster by itself, found --out; leave one out")
    with joined() as ranks:
        entries = _entries(names, changes | {"data.root": str(root)}, online)
        settings, task, _ = next(iter(entries.values()))
        device = pick_device(settings.train.device, ranks)
        if out is not None:
            models = {name: (task, model.to(device)) for name, (_, task, model) in entries.items()}
            board = contest(
                models, split, ranks, device, out, lambda text: typer.echo(text, err=True)
            )
            table, facts = board.table, board.facts
        else:
            model = entries[names[0]][2].to(device)
            if online:
                from nowcast.precipitation.online.evaluate import evaluate_online

                scores = evaluate_online(task, model, split, device, settings)
            else:
                scores = score(task, model, split, ranks, device)
            table, facts = Table(task.columns, (Row(names[0], {None: scores}),)), task.facts(split)
            if json_file is not None and ranks.is_main:
                write_json(
                    json_file,
                    {"forecaster": names[0], "online": online, **facts, **scores.document()},
                )
        if not ranks.is_main:
            return
    _print_scores(table)
    typer.echo(
        f"{facts['clips']} clips of {facts['archive']}, {facts['split']} split, "
        f"{facts['in_len']} -> {facts['out_len']} frames, "
        f"{facts['height']}x{facts['width']} pixels, masks: {facts['masks']}{', online' * online}"
    )
    if "note" in facts:
        typer.echo(facts["note"])
    if out is not None:
        typer.echo(f"leaderboard  {out / 'leaderboard.html'}, .md, .csv, .json; differences.csv")


def _entries(
    names: list[str], changes: dict[str, Any], learning: bool
) -> "dict[str, tuple[RunSettings, Task, nn.Module]]":
    """Settings, task and model of run folders and baselines; a baseline has the first run's."""
    from nowcast import registry
    from nowcast.core.runs import Run
    from nowcast.core.trainer import trained_model

    runs = {name: Run(Path(name)) for name in names if Path(name).is_dir()}
    first = next(iter(runs.values())).config() if runs else {"task": "precipitation"}
    entries: dict[str, tuple[RunSettings, Task, nn.Module]] = {}
    task: Task | None = None
    for name in names:
        run = runs.get(name)
        settings = _settings(run.config() if run else first, name, changes, evaluating=True)
        task = registry.build(settings, task)
        model = trained_model(task, settings, run, learning) if run else task.baseline(name)
        entries[name] = settings, task, model
    return entries


@app.command()
def compare(
    config: Config,
    out: Annotated[Path, typer.Option("--out", help="Folder of the comparison.")],
    overrides: Overrides = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs trained side by side, each in its own process.")
    ] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="This variant and what it starts from; may repeat.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Not this variant; may repeat.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder of the runs, if comparisons share them; else runs/ in --out."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show runs, time and disk; train nothing.")
    ] = False,
) -> None:
    """Train, score and tabulate variants over seeds; what is finished is kept.

    Example: `nowcast compare configs/precipitation/demo.yaml data.root=data/dwd --out runs/demo`

    Example: the same with `--plan` first, and `--only T-MEmeL` for a part of it
    """
    from nowcast import config as configs
    from nowcast import registry
    from nowcast.core.compare import compare as compare_variants
    from nowcast.core.distributed import joined
    from nowcast.core.errors import ConfigError
    from nowcast.core.estimate import planned
    from nowcast.core.jobs import RUNS
    from nowcast.core.results import board_command

    content = configs.overridden(configs.read(config), _parsed(overrides))
    comparison = _comparison(content, config)
    if comparison is None:
        raise ConfigError(f"{config}: expected a `compare:` section with variants, found none")
    comparison = comparison.selected(only or (), skip or ())
    resolve = _Resolve(content, config)
    folder = (runs or out / RUNS).resolve()
    if plan:
        _print_plan(planned(comparison, resolve, registry.build, folder), jobs)
        return
    with joined() as ranks:
        table = compare_variants(
            comparison, resolve, registry.build, out.resolve(), ranks, jobs, folder
        )
    if table is None:  # another rank than the main one
        return
    _print_scores(table)
    typer.echo(f"report       {out / 'report.html'}")
    typer.echo(f"tensorboard  {board_command(out)}")


def _print_plan(variants: "list[Planned]", jobs: int) -> None:
    from nowcast.core.guards import size

    print_table(
        ["", "", "runs", "complete", "steps", "time", "disk"],
        [
            [
                "   " * max(line.depth - 1, 0) + "└─ " * (line.depth > 0) + line.variant,
                line.kind,
                str(line.runs),
                str(line.complete),
                str(line.steps or ""),
                _duration(line.seconds),
                size(line.disk),
            ]
            for line in variants
        ],
        text=(0, 1),
    )
    seconds = sum(line.seconds for line in variants)
    typer.echo(
        f"still to do: about {_duration(seconds)} in one process, not less than "
        f"{_duration(seconds / jobs)} with --jobs {jobs}; at most "
        f"{size(sum(line.disk for line in variants))} of disk. Timed here and now on a few steps; "
        "baselines, pictures and event files are not counted."
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


@app.command()
def tune(
    config: Config,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the comparison; the search is in OUT/tune.")
    ],
    overrides: Overrides = None,
    variant: Annotated[
        str | None, typer.Option(help="Search for this variant alone; without it for all.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="URL of a database for the trials, which machines can share; without it they are "
            "kept in a file in OUT."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trials run side by side, each in its own process.")
    ] = 1,
) -> None:
    """Search for the settings of the variants that say `tune:`, by their validation scores.

    A config without `compare:` is searched itself, over its own `tune:` or the paper's grid of
    top_k and delta. What is done is kept; the same command goes on, and several side by side share
    the work.

    Example: `nowcast tune configs/precipitation/smoke.yaml data.root=data/dwd --out runs/tuned
    'tune.space={memel.top_k: [1, 5], memel.delta: [1, 10]}'`
    """
    from nowcast import config as configs
    from nowcast import registry
    from nowcast.core.distributed import joined
    from nowcast.core.errors import ConfigError
    from nowcast.core.search import Search
    from nowcast.core.selection import read_selection, search_folder
    from nowcast.core.settings import TuneSettings
    from nowcast.core.tune import lineage, run_search, tuned

    out = out.resolve()
    content = configs.overridden(configs.read(config), _parsed(overrides))
    comparison = _comparison(content, config)
    if comparison is None:
        searched = [config.stem]
        if variant is not None:
            raise ConfigError(f"--variant: {config} has no `compare:` section; leave it out")
        own = content.pop("tune", None) or {}
        settings = configs.validate(TuneSettings, own, f"{config}, section tune")
        resolve = _Resolve(content, config)
        seed = resolve({}).train.seed if settings.seed is None else settings.seed
        settings = settings.model_copy(update={"seed": seed})
        base, folder = {"train.seed": seed}, search_folder(out, config.stem)
        search = Search(config.stem, settings, base, resolve, registry.build, folder, storage)
        with joined() as ranks:
            run_search(search, ranks, jobs)
    else:
        searched = [name for name, found in comparison.variants.items() if found.tune]
        if not searched or (variant is not None and variant not in searched):
            raise ConfigError(
                f"{config}: expected a variant with `tune:`{f', {variant}' if variant else ''}; "
                f"found {', '.join(searched) or 'none'}"
            )
        if variant is not None:
            family = {name: comparison.variants[name] for name in lineage(comparison, variant)}
            comparison = comparison.model_copy(update={"variants": family})
            searched = [name for name in searched if name in family]
        resolve = _Resolve(content, config)
        with joined() as ranks:
            tuned(comparison, resolve, registry.build, out, ranks, storage, jobs)
    if ranks.is_main:
        for name in searched:
            folder = search_folder(out, name)
            found = read_selection(folder)
            print_table(*found.shown())
            typer.echo(f"{found.note}\n{folder / 'best.json'}, trials.csv")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison.")],
) -> None:
    """Write table and report page of a comparison again, from its stored scores.

    Example: `nowcast report runs/demo`
    """
    from nowcast.core.results import board_command
    from nowcast.core.results import report as write_report

    _print_scores(write_report(folder))
    typer.echo(f"report       {folder / 'report.html'}")
    typer.echo(f"tensorboard  {board_command(folder)}")


@app.command()
def board(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a comparison, of runs, or one run.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 6006,
    host: Annotated[str, typer.Option(help="Name or address to listen at.")] = "localhost",
) -> None:
    """Watch runs in TensorBoard, with charts laid out and a table of runs, until Ctrl-C.

    Curves follow the runs as they train; charts (Custom Scalars) and table (HParams) are of the
    runs that are there at the start.

    Example: `nowcast board runs/demo`
    """
    from contextlib import suppress
    from threading import Event

    from nowcast.core.tensorboard import launch, prepare

    prepare(folder)
    typer.echo(f"TensorBoard on {folder}: {launch(folder, host, port)} (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        Event().wait()


@audit.command("inhibition")
def audit_inhibition(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_CONFIG", help="A trained run, or a YAML file.")
    ],
    overrides: Overrides = None,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Updates at most; without it, as many as needed.")
    ] = None,
    neurons: Annotated[int, typer.Option(min=1, help="Values to pick.")] = 10_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write this file.")] = None,
) -> None:
    """Does one update make the picked neurons less monosemantic (Wang et al. 2024, table 4)?

    Picks the most monosemantic values of training batches without inhibition (Original), with Naive
    (a), Naive (b) and Reversed Deactivation, updates the model once and looks at them again. A run
    is taken with its best weights, a config with fresh ones.

    Example: `nowcast audit inhibition runs/first --neurons 1000`
    """
    from dataclasses import asdict
    from itertools import islice

    from nowcast import config as configs
    from nowcast import registry
    from nowcast.core.audit import TooFewBatches, audited_model, single_update
    from nowcast.core.audit import audit_inhibition as measure
    from nowcast.core.distributed import Ranks
    from nowcast.core.errors import ConfigError
    from nowcast.core.files import write_json
    from nowcast.core.runs import Run

    content = Run(source).config() if source.is_dir() else configs.read(source)
    settings = _settings(content, source, _parsed(overrides))
    task = registry.build(settings)
    model = audited_model(task, settings, Run(source) if source.is_dir() else None)
    batches = islice(task.training_batches(0, Ranks()), steps)
    try:
        rows = measure(model, batches, task.loss, single_update(settings.optim), neurons)
    except TooFewBatches as error:
        raise ConfigError(f"--neurons, --steps: {error}") from error
    if json_file is not None:
        write_json(json_file, [asdict(row) for row in rows])
    print_table(
        ["", "Decrease Ratio", "Total Update Ratio", "decrease - Original's"],
        [[r.method, str(r.decrease), str(r.update), str(r.against_original)] for r in rows],
    )
    typer.echo(
        f"{rows[0].neurons} values of {rows[0].batches} batches at the sites "
        f"{', '.join((settings.memel and settings.memel.sites) or task.sites)}; mean ± half "
        "its 95 % interval over batches"
    )


@audit.command("neurons")
def audit_neurons(
    run: Annotated[Path, typer.Argument(help="A trained run.")],
    features: Annotated[str, typer.Option(help="by_rain_rate, by_day or by_motion.")],
    overrides: Overrides = None,
    site: Annotated[str | None, typer.Option(help="Pattern; without it the task's own.")] = None,
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Which days.")] = "valid",
    unit: Annotated[
        Literal["channel", "position"], typer.Option(help="What a neuron is.")
    ] = "channel",
    top: Annotated[int, typer.Option(min=1, help="Neurons to silence.")] = 5,
    threshold: Annotated[
        float, typer.Option(help="|d| from which a neuron stands out for a group.")
    ] = 2.0,
    out: Annotated[Path | None, typer.Option(help="Folder; without it RUN/audit.")] = None,
) -> None:
    """Which neurons stand out for one group of clips, and what breaks when they are silenced?

    d is how far a neuron's response in a group lies from that in the nearest other group, in
    standard deviations, and 0 for a group between others. It stands out where |d| reaches the
    threshold in one group alone. Groups of fewer than 3 clips are left out and named.

    Writes neurons.csv and neurons.png (Wang et al. 2024, figures 1 and 2).

    Example: `nowcast audit neurons runs/first --features by_rain_rate`
    """
    from nowcast import registry
    from nowcast.core import ablation
    from nowcast.core.distributed import Ranks
    from nowcast.core.errors import ConfigError
    from nowcast.core.runs import Run
    from nowcast.core.trainer import trained_model

    # One clip a batch, so that each has its own loss.
    changes = _parsed(overrides) | {"train.batch_size": 1}
    settings = _settings(Run(run).config(), run, changes, evaluating=True)
    task = registry.build(settings)
    if features not in task.features:
        raise ConfigError(
            f"--features: expected one of {', '.join(task.features)}, found {features!r}"
        )
    model = trained_model(task, settings, Run(run))
    sites = ablation.matching_sites(model, [site] if site else task.sites)
    found = ablation.audit_neurons(
        model,
        sites,
        lambda: task.evaluation_batches(split, Ranks()),
        task.loss,
        lambda sample: task.groups(features, sample)[0],
        unit,
        top,
        threshold,
    )
    folder = out or run / "audit"
    ablation.write_csv(folder / "neurons.csv", found.rows)
    ablation.draw(folder / "neurons.png", found)
    print_table(
        ["neuron", "group", "clips", "d", "loss", "rise"],
        [
            [
                f"{r.site} {r.neuron}",
                r.group,
                str(r.samples),
                f"{r.d:+.2f}{' *' if r.stands_out else ''}",
                f"{r.loss:.4g}",
                f"{r.increase:+.2g} ± {r.high - r.increase:.1g}",
            ]
            for r in found.rows
        ],
    )
    if found.left_out:
        typer.echo(found.left_out_text())
    least = min(row.samples for row in found.rows)
    if least < ablation.FEW_SAMPLES:
        typer.echo(
            f"the smallest group compared has {least} clips: below {ablation.FEW_SAMPLES}, neurons "
            "may stand out by chance; take a longer split"
        )
    if not any(row.stands_out for row in found.rows):
        typer.echo(
            f"no neuron stands out for one group alone (|d| >= {threshold:g}); shown are those in "
            "which one group leads the others most"
        )
    typer.echo(
        "* stands out for this group alone; rise: of the loss when the neuron is silenced, ± half "
        f"its 95 % interval\n{folder / 'neurons.csv'}, neurons.png"
    )


@dataclass(frozen=True)
class _Resolve:
    """Dotted overrides -> the config with them; a class, so that it can travel to a process."""

    content: dict[str, Any]
    source: Path

    def __call__(self, changes: Mapping[str, object]) -> "RunSettings":
        return _settings(self.content, self.source, dict(changes))


def _comparison(content: dict[str, Any], source: Path) -> "CompareSettings | None":
    """Take a config's `compare:` section out of it, if there is one."""
    from nowcast import config as configs
    from nowcast.core.settings import CompareSettings

    if "compare" not in content:
        return None
    if "tune" in content:
        from nowcast.core.errors import ConfigError

        raise ConfigError(f"{source}: with `compare:`, `tune:` belongs to one of its variants")
    return configs.validate(CompareSettings, content.pop("compare"), f"{source}, section compare")


def _settings(
    content: dict[str, Any], source: object, changes: dict[str, Any], evaluating: bool = False
) -> "RunSettings":
    from nowcast import config as configs
    from nowcast import registry

    content = configs.overridden(content, changes)
    for section in ("compare", "tune"):  # what is made of a run is no part of it
        content.pop(section, None)
    return configs.validate(
        registry.settings_class(content.get("task")), content, str(source), evaluating
    )


def _parsed(overrides: list[str] | None) -> dict[str, Any]:
    from nowcast import config as configs

    return configs.parse_overrides(overrides or [])


def _print_scores(table: "Table") -> None:
    print_table(table.header(), [[_stacked(cell) for cell in row] for row in table.cells()])


def _stacked(cell: str) -> str:
    """``1.0 ± 0.1 *`` in two lines, so that a table fits a terminal."""
    mean, plus_minus, spread = cell.partition(" ± ")
    if not plus_minus:
        return cell
    return f"{mean}{' *' * spread.endswith(' *')}\n± {spread.removesuffix(' *')}"
