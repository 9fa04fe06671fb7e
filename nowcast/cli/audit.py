"""`nowcast audit`: look inside a trained model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nowcast.cli.arguments.overrides import Overrides, parsed
from nowcast.core.terminal.tables import print_table

AUDIT = "audit"  # folder within a run's
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where the model computes; auto: on a GPU if there is one."),
]
audit = typer.Typer(
    help="Look inside a trained model: what MEmeL and its neurons do.", no_args_is_help=True
)


@audit.command("inhibition")
def audit_inhibition(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN_OR_CONFIG", help="A trained run, or a config: name or path."),
    ],
    overrides: Overrides = None,
    steps: Annotated[
        int | None, typer.Option(min=2, help="At most so many updates.  [as many as needed]")
    ] = None,
    neurons: Annotated[int, typer.Option(min=1, help="Neuron values to pick.")] = 10_000,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the table to this file.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output folder.  [RUN/audit; none for a config]"),
    ] = None,
    device: Device = "auto",
) -> None:
    """Does one update make the picked neurons less monosemantic (Wang et al. 2024, table 4)?

    Picks the most monosemantic values of training batches without inhibition (Original), with Naive
    (a), Naive (b) and Reversed Deactivation, updates the model once and looks at them again. A run
    is taken with its best weights, a config with fresh ones. Writes inhibition.json and .png.

    Example: `nowcast audit inhibition runs/first --neurons 1000`
    """
    from dataclasses import asdict
    from itertools import islice

    from nowcast import registry
    from nowcast.api.settings import read, settings_of
    from nowcast.core.audit.files import write_inhibition
    from nowcast.core.audit.inhibition import TooFewBatches, audited_model, single_update
    from nowcast.core.audit.inhibition import audit_inhibition as measure
    from nowcast.core.errors import ConfigError
    from nowcast.core.storage.files import write_json
    from nowcast.core.storage.runs import Run
    from nowcast.core.system.devices import arithmetic, pick_device
    from nowcast.core.system.distributed import Ranks

    run = Run(Path(source)) if Path(source).is_dir() else None
    content, name = read(source, {}) if run is None else (run.config(), source)
    settings = settings_of(content, name, {"train.device": device} | parsed(overrides))
    task = registry.build(settings)
    where = pick_device(settings.train.device, Ranks())
    batches = (batch.to(where) for batch in islice(task.training_batches(0, Ranks()), steps))
    try:
        with arithmetic():
            model = audited_model(task, settings, run, where)
            update = single_update(settings.optim)
            rows = measure(model, batches, task.loss, update, neurons, task.mask)
    except TooFewBatches as error:
        raise ConfigError(f"--neurons, --steps: {error}") from error
    if json_file is not None:
        write_json(json_file, [asdict(row) for row in rows])
    sites = list((settings.memel and settings.memel.sites) or task.sites)
    folder = out or (None if run is None else run.folder / AUDIT)
    if folder is not None:
        memel = None if settings.memel is None else settings.memel.model_dump(mode="json")
        facts = {"source": Path(name).resolve().name, "sites": sites, "memel": memel}
        write_inhibition(folder, rows, facts)
    print_table(
        ["", "Decrease Ratio", "Total Update Ratio", "decrease - Original's"],
        [[r.method, str(r.decrease), str(r.update), str(r.against_original)] for r in rows],
    )
    typer.echo(
        f"{rows[0].neurons} values of {rows[0].batches} batches at the sites "
        f"{', '.join(sites)}; mean ± half its 95 % interval over batches"
    )
    if folder is None:
        typer.echo("an audit of a config is not saved; --out DIR writes JSON and a picture")
    else:
        typer.echo(f"{folder / 'inhibition.json'}, inhibition.png")


@audit.command("neurons")
def audit_neurons(
    run: Annotated[Path, typer.Argument(help="A trained run.")],
    features: Annotated[
        str,
        typer.Option(
            help="Groups: by_rain_rate, by_day, by_motion; by_label, by_length, by_source; "
            "by_class, by_brightness, by_source."
        ),
    ],
    overrides: Overrides = None,
    site: Annotated[str | None, typer.Option(help="Pattern of sites.  [the task's own]")] = None,
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Which days.")] = "valid",
    unit: Annotated[
        Literal["channel", "position"], typer.Option(help="What a neuron is.")
    ] = "channel",
    top: Annotated[int, typer.Option(min=1, help="Neurons to silence.")] = 5,
    threshold: Annotated[
        float, typer.Option(help="Least |d| of a neuron that stands out for a group.")
    ] = 2.0,
    out: Annotated[Path | None, typer.Option(help="Output folder.  [RUN/audit]")] = None,
    device: Device = "auto",
) -> None:
    """Which neurons stand out for one group of samples, and what breaks when they are silenced?

    d is how far a neuron's response in a group lies from that in the nearest other group, in
    standard deviations, and 0 for a group between others. It stands out where |d| reaches the
    threshold in one group alone. Groups of fewer than 3 samples are left out and named.

    Writes neurons.json, neurons.csv and neurons.png (Wang et al. 2024, figures 1 and 2); by site
    the share of neurons that stand out, and the False Killing Rate (Wang et al. 2025).

    Example: `nowcast audit neurons runs/first --features by_rain_rate`
    """
    from nowcast import registry
    from nowcast.api.settings import settings_of
    from nowcast.core.audit import ablation
    from nowcast.core.audit.files import write_neurons
    from nowcast.core.audit.responses import matching_sites
    from nowcast.core.errors import ConfigError
    from nowcast.core.storage.runs import Run
    from nowcast.core.system.devices import arithmetic, pick_device
    from nowcast.core.system.distributed import Ranks
    from nowcast.core.training.task import grouped
    from nowcast.core.training.trainer import trained_model

    # One sample a batch, so that each has its own loss.
    changes = {"train.device": device} | parsed(overrides) | {"train.batch_size": 1}
    settings = settings_of(Run(run).config(), run, changes, evaluating=True)
    task = grouped(registry.build(settings), "nowcast audit neurons")
    if features not in task.features:
        raise ConfigError(
            f"--features: expected one of {', '.join(task.features)}, found {features!r}"
        )
    where = pick_device(settings.train.device, Ranks())
    model = trained_model(task, settings, Run(run)).to(where)
    sites = matching_sites(model, [site] if site else task.sites)
    with arithmetic():
        found = ablation.audit_neurons(
            model,
            sites,
            lambda: task.evaluation_batches(split, Ranks()),
            lambda network, sample: task.loss(network, sample.to(where)),
            lambda sample: task.groups(features, sample)[0],
            unit,
            top,
            threshold,
            task.mask,
        )
    folder = out or run / AUDIT
    facts = {"source": run.resolve().name, "sites": sites, "split": split, "features": features}
    write_neurons(folder, found, facts | {"unit": unit, "threshold": threshold})
    print_table(
        ["neuron", "group", "samples", "d", "loss", "rise"],
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
    print_table(
        ["site", "neurons", "stand out", "False Killing Rate, of 1, 2 and 3 % inhibited"],
        [
            [
                name,
                str(site.neurons),
                f"{100 * site.share:.3g} %",
                ", ".join(f"{rate:.2f}" for rate in site.false_killing_rate.values()),
            ]
            for name, site in found.sites.items()
        ],
    )
    if found.left_out:
        typer.echo(found.left_out_text())
    least = min(row.samples for row in found.rows)
    if least < ablation.FEW_SAMPLES:
        typer.echo(
            f"the smallest group compared has {least} samples: below {ablation.FEW_SAMPLES}, "
            "neurons may stand out by chance; take a longer split"
        )
    if not any(row.stands_out for row in found.rows):
        typer.echo(
            f"no neuron stands out for one group alone (|d| >= {threshold:g}); shown are those in "
            "which one group leads the others most"
        )
    typer.echo(
        "* stands out for this group alone; rise: of the loss when the neuron is silenced, ± half "
        f"its 95 % interval\n{folder / 'neurons.json'}, neurons.csv, neurons.png"
    )
