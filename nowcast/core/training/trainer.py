"""A training run from its folder's state to its end: what surrounds the loop."""

import time
from contextlib import nullcontext

import torch
from torch import nn

from nowcast.core.errors import ConfigError, TrainingFailed
from nowcast.core.memel.plug import plug_in, plugged
from nowcast.core.monitoring.log import RunLog
from nowcast.core.monitoring.monitor import Monitor, unstarted
from nowcast.core.settings import MEmeLSettings, RunSettings
from nowcast.core.storage.files import write_json
from nowcast.core.storage.near_runs import meant_run
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import arithmetic, device_name, pick_device
from nowcast.core.system.distributed import Ranks, file_from_main, from_main, wait
from nowcast.core.terminal.progress import line, say
from nowcast.core.training import optim
from nowcast.core.training.activations import recompute_blocks
from nowcast.core.training.average import WeightAverage
from nowcast.core.training.checkpoint import Progress, load_state, load_weights
from nowcast.core.training.gradient import share
from nowcast.core.training.guards import bytes_needed, check_disk, failed_writes_explained
from nowcast.core.training.length import length
from nowcast.core.training.loop import AfterValidation, Loop
from nowcast.core.training.precision import settled, warn_if_emulated
from nowcast.core.training.task import StatesItsData, Task


def build_model(task: Task, memel: MEmeLSettings | None) -> nn.Module:
    """The task's model with MEmeL plugged in as the config says.

    Raises:
        ConfigError: a site that the model does not have.
    """
    model = task.model()
    if memel is not None:
        settings = memel.model_dump(exclude={"sites", "monitor"})
        try:
            sites = memel.sites or task.sites
            plug_in(model, sites, dry_run=task.dry_run, mask=task.mask, **settings)
        except ValueError as error:
            raise ConfigError(f"memel.sites: {error}") from error
    return model


def trained_model(task: Task, settings: RunSettings, run: Run, learning: bool = False) -> nn.Module:
    """The model of a run with its best weights; MEmeL is in it only where it acts in evaluation,
    or, with the statistics that the run left, where the model is to go on learning."""
    inhibits = settings.memel is not None and (learning or settings.memel.in_eval)
    model = build_model(task, settings.memel if inhibits else None)
    load_weights(run.best_weights, model)
    return model


def train(
    task: Task,
    settings: RunSettings,
    run: Run,
    ranks: Ranks,
    title: str = "",
    after_validation: AfterValidation | None = None,
) -> None:
    """Train until all steps are done, from wherever the run's folder says it stands.

    Validates, logs and saves every `validate_every` steps and at the end. SIGINT and SIGTERM save
    and stop; the same call again goes on as if nothing had happened.

    Args:
        task: built from the settings.
        settings: the resolved config.
        run: the folder.
        ranks: of this process; the first one writes.
        title: of its progress; the folder's name if empty.
        after_validation: told of each validation, once the run is saved; what it raises ends the
            run, which the same call goes on with.

    Raises:
        Interrupted: a signal came; the run is saved.
        TrainingFailed: a loss is not a number or explodes.
        RunError: the disk is full, or another process trains the run.
        ConfigError: settings, ranks and model do not fit; the folder holds another run.
    """

    settings = settled(settings, [run])

    def claimed() -> bytes | None:
        config = settings.model_dump(mode="json")
        if settings.start_from is not None and not run.is_finished:
            _check_start(Run(settings.start_from), run)
        code = settings.train.accept_code
        run.claim(config, task.data_hash(), code, settings.incidental, settings.as_now)
        if not run.is_finished:
            name = device_name(pick_device(settings.train.device, ranks))
            run.claim_device(name, settings.train.accept_device)
        if isinstance(task, StatesItsData) and not run.trained_on_file.exists():
            write_json(run.trained_on_file, task.trained_on())
        return b"finished" if run.is_finished else None

    title = title or run.folder.name
    with line(f"{title}: looking through the data"):
        if from_main(claimed):
            return
    device = pick_device(settings.train.device, ranks)
    if ranks.is_main:
        warn_if_emulated(settings, device)
    share(settings.train, ranks)
    # Seeds are set at every step; a caller's own random numbers go on as if nothing had happened.
    seeded = torch.random.fork_rng([device] if device.type == "cuda" else [])
    exactly = arithmetic(settings.train.precision)
    with seeded, exactly, run.alone() if ranks.is_main else nullcontext():
        _train(task, settings, run, ranks, device, title, after_validation)
    wait()


def _check_start(start: Run, run: Run) -> None:
    """Refuse, before its folder is made, a run that would begin with weights that are not there."""
    if not start.best_weights.is_file() and not run.last_state.is_file():
        raise ConfigError(
            f"start_from: expected a run with {start.best_weights.name}, found none in "
            f"{start.folder}{meant_run(start.folder)}"
        )


def _train(
    task: Task,
    settings: RunSettings,
    run: Run,
    ranks: Ranks,
    device: torch.device,
    title: str,
    after_validation: AfterValidation | None,
) -> None:
    began = time.monotonic()
    torch.manual_seed(settings.train.seed)
    model = build_model(task, settings.memel).to(device)
    if settings.train.checkpoint:
        recompute_blocks(model)
    optimiser = optim.optimiser(model, settings.optim)
    progress = Progress()
    watched = plugged(model) if settings.memel is not None and settings.memel.monitor else {}
    monitor = Monitor(watched)
    averaged = settings.train.average
    parent = settings.start_from
    if state := file_from_main(run.last_state):
        average = None if averaged is None else WeightAverage(model, averaged)
        progress, counted = load_state(run.last_state, model, optimiser, state, average)
        monitor.load_state_dict(counted)
    else:
        if parent is not None:
            # DDP gives the first rank's weights to the others.
            from_main(lambda: load_weights(Run(parent).best_weights, model))
        average = None if averaged is None else WeightAverage(model, averaged)
    optim.for_device(optimiser, device)
    if ranks.is_main:
        check_disk(run.folder, bytes_needed(model), "checkpoints")
    steps = length(settings.train, task).steps
    with (
        failed_writes_explained(run.folder, run.last_state),
        line(title, steps, progress.step, "steps") as training,
    ):
        log = RunLog(run, progress.step, shown=ranks.is_main)
        try:
            progress = Loop(
                task=task,
                settings=settings,
                run=run,
                ranks=ranks,
                model=model,
                optimiser=optimiser,
                monitor=monitor,
                log=log,
                line=training,
                progress=progress,
                average=average,
                after_validation=after_validation,
            ).go()
        finally:
            log.close()
            monitor.close()
    waiting = unstarted(plugged(model)) if ranks.is_main else []
    if waiting:
        say(
            f"{run.folder}: MEmeL has never started to inhibit at {', '.join(waiting)}; train "
            "longer, or lower memel.late_start"
        )
    if progress.best_step is None:
        raise TrainingFailed(
            f"{run.folder}: no validation gave {' + '.join(task.objective)}: the forecasts are not "
            "numbers. Lower optim.lr or clip harder (optim.clip_at), in another folder"
        )
    if ranks.is_main:
        run.finish(
            {
                "steps": progress.step,
                "best_step": progress.best_step,
                "best_objective": progress.best_objective,
                "objective": list(task.objective),
                "seconds": round(time.monotonic() - began, 1),
            },
            settings.train.keep_state,
        )
