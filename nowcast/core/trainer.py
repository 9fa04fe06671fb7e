"""The one loop: step, clip, schedule, validate, save. Pretraining and fine-tuning alike."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from types import FrameType
from typing import Any

import torch
from torch import nn

from nowcast.core import optim
from nowcast.core.checkpoint import Progress, load_state, load_weights, save_state, save_weights
from nowcast.core.distributed import Ranks, any_rank, wait, wrapped
from nowcast.core.errors import ConfigError, NowcastError, RunError
from nowcast.core.evaluate import evaluate, pick_device
from nowcast.core.log import Bar, RunLog, bars, console
from nowcast.core.monitor import Monitor, unstarted
from nowcast.core.plug import plug_in, plugged
from nowcast.core.runs import Run
from nowcast.core.settings import MEmeLSettings, RunSettings
from nowcast.core.task import Batch, Task

STEPS_BETWEEN_AGREEMENTS = 10

AfterValidation = Callable[[int, float], None]  # takes the step and the objective; least is best


class Interrupted(NowcastError):
    """A run that was told to stop, and has saved where it was."""


def build_model(task: Task, memel: MEmeLSettings | None) -> nn.Module:
    """The task's model with MEmeL plugged in as the config says.

    Raises:
        ConfigError: a site that the model does not have.
    """
    model = task.model()
    if memel is not None:
        settings = memel.model_dump(exclude={"sites", "monitor"})
        try:
            plug_in(model, memel.sites or task.sites, dry_run=task.dry_run, **settings)
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
    shown: bool = True,
    after_validation: AfterValidation | None = None,
) -> None:
    """Train until `settings.train.steps`, from wherever the run's folder says it stands.

    Validates, logs and saves every `validate_every` steps and at the end. SIGINT and SIGTERM save
    and stop; the same call again goes on as if nothing had happened.

    Args:
        task: built from the settings.
        settings: the resolved config.
        run: the folder.
        ranks: of this process; the first one writes.
        title: of the progress bar; the folder's name if empty.
        shown: whether there is a progress bar.
        after_validation: told of each validation, once the run is saved; what it raises ends the
            run, which the same call goes on with.

    Raises:
        Interrupted: a signal came; the run is saved.
        RunError: the loss is not finite any more.
        ConfigError: settings and ranks do not fit; the folder holds another run.
    """
    config: dict[str, Any] = settings.model_dump(mode="json")
    if ranks.is_main:
        run.claim(config)
    wait()
    if run.is_finished:
        return
    if settings.train.batch_size % ranks.size:
        raise ConfigError(
            f"train.batch_size: {settings.train.batch_size} clips cannot be shared evenly by "
            f"{ranks.size} ranks; use a multiple"
        )
    began = time.monotonic()
    device = pick_device(settings.train.device, ranks)
    torch.manual_seed(settings.train.seed)
    model = build_model(task, settings.memel).to(device)
    optimiser = optim.optimiser(model, settings.optim)
    progress = Progress()
    watched = plugged(model) if settings.memel is not None and settings.memel.monitor else {}
    monitor = Monitor(watched)
    if run.last_state.is_file():
        progress, counted = load_state(run.last_state, model, optimiser)
        monitor.load_state_dict(counted)
    elif settings.start_from is not None:
        load_weights(Run(settings.start_from).best_weights, model)
    log = RunLog(run, progress.step, shown=ranks.is_main)
    try:
        with bars(shown=shown and ranks.is_main) as lines:
            line = lines.add(title or run.folder.name, settings.train.steps, progress.step)
            progress = _loop(
                task,
                settings,
                run,
                ranks,
                model,
                optimiser,
                progress,
                log,
                line,
                monitor,
                after_validation,
            )
    finally:
        log.close()
        monitor.close()
    waiting = unstarted(plugged(model)) if ranks.is_main else []
    if waiting:
        console.print(
            f"{run.folder}: MEmeL has never started to inhibit at {', '.join(waiting)}; train "
            "longer, or lower memel.late_start"
        )
    if progress.best_step is None:
        raise RunError(
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
            }
        )
    wait()


def _loop(
    task: Task,
    settings: RunSettings,
    run: Run,
    ranks: Ranks,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    log: RunLog,
    line: Bar,
    monitor: Monitor,
    after_validation: AfterValidation | None,
) -> Progress:
    """The steps from where `progress` stands to the last one."""
    config: dict[str, Any] = settings.model_dump(mode="json")
    limits = settings.train
    device = next(model.parameters()).device
    learner = wrapped(model, device)
    learner.train()
    batches = task.training_batches(progress.step, ranks)
    with stop_signals() as stopping:
        for step in range(progress.step, limits.steps):
            batch = next(batches).to(device)
            logged = (step + 1) % limits.log_every == 0 or step + 1 == limits.steps
            if logged:
                monitor.arm()
            optim.set_rate(optimiser, optim.rate(step, settings.optim))
            with torch.autocast(device.type, torch.bfloat16, enabled=limits.precision == "bf16"):
                loss = task.loss(learner, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optim.clip(model, settings.optim)
            optimiser.step()
            progress = replace(progress, step=step + 1)
            if logged:
                value = _finite(loss, progress, batch, run)
                line.advance(f"loss {value:.4g}", by=0)
                log.step(progress.step, {"loss": value, "lr": optim.rate(step, settings.optim)})
                log.memel(progress.step, monitor.read())
            line.advance()
            if progress.step % limits.validate_every == 0 or progress.step == limits.steps:
                progress, objective = _validate(
                    task, model, run, ranks, device, progress, log, config
                )
                counted = monitor.state_dict()
                if ranks.is_main:
                    save_state(run.last_state, model, optimiser, progress, counted)
                if after_validation is not None:
                    after_validation(progress.step, objective)
            elif _should_stop(stopping, progress.step, ranks, device):
                counted = monitor.state_dict()
                if ranks.is_main:
                    save_state(run.last_state, model, optimiser, progress, counted)
                raise Interrupted(
                    f"{run.folder}: stopped at step {progress.step} of {limits.steps}, all saved; "
                    "the same command goes on from there"
                )
    return progress


def _validate(
    task: Task,
    model: nn.Module,
    run: Run,
    ranks: Ranks,
    device: torch.device,
    progress: Progress,
    log: RunLog,
    config: dict[str, Any],
) -> tuple[Progress, float]:
    """Score the validation split, log it, and keep the weights if they are the best so far.

    Returns:
        how far the run is, and the objective, inf where it is undefined.
    """
    scores = evaluate(task, model, "valid", ranks, device)
    parts = [scores.values[name] for name in task.objective]
    objective = inf if None in parts else sum(part for part in parts if part is not None)
    if ranks.is_main:
        log.validation(progress.step, scores, task.pictures(model, "valid"))
    if objective < (inf if progress.best_objective is None else progress.best_objective):
        progress = replace(progress, best_step=progress.step, best_objective=objective)
        if ranks.is_main:
            save_weights(run.best_weights, model, config)
    return progress, objective


def _finite(loss: torch.Tensor, progress: Progress, batch: Batch, run: Run) -> float:
    value = float(loss.detach())
    if value - value == 0.0:
        return value
    raise RunError(
        f"{run.folder}: the loss is {value} at step {progress.step}, samples "
        f"{', '.join(batch.names())}; the last good state is {run.last_state.name}. Lower "
        "optim.lr or clip harder (optim.clip_at)"
    )


def _should_stop(stopping: threading.Event, step: int, ranks: Ranks, device: torch.device) -> bool:
    """Whether a signal came, agreed between all ranks; asked rarely, since it makes them wait."""
    if ranks.size == 1:
        return stopping.is_set()
    return step % STEPS_BETWEEN_AGREEMENTS == 0 and any_rank(stopping.is_set(), device)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal acts as it always did."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, stop)
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
