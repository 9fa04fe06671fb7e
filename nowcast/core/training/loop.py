"""The one loop: step, clip, schedule, validate, save. Pretraining and fine-tuning alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import NoReturn

import torch
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, TrainingFailed
from nowcast.core.memel.plug import plugged
from nowcast.core.monitoring.log import RunLog
from nowcast.core.monitoring.monitor import Monitor, Reading
from nowcast.core.monitoring.monosemanticity import monosemanticity
from nowcast.core.monitoring.throughput import Throughput
from nowcast.core.scoring.sums import Scores
from nowcast.core.settings import RunSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks, any_rank, losses_told, wrapped
from nowcast.core.system.signals import Interrupted, stop_signals
from nowcast.core.terminal.progress import Line, say
from nowcast.core.training import graph, optim
from nowcast.core.training.average import WeightAverage
from nowcast.core.training.checkpoint import Progress, save_state, save_weights
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.gradient import backward, share
from nowcast.core.training.guards import LossFailure, LossGuard, all_finite
from nowcast.core.training.length import length
from nowcast.core.training.sampling import step_seed
from nowcast.core.training.task import Batch, Pictured, Task, columns_of

CPU = torch.device("cpu")
SHOWN_SCORES = 3  # of a validation, beside the loss

AfterValidation = Callable[[int, float], None]  # takes the step and the objective; least is best


@dataclass
class Loop:
    """A run that is training.

    Args:
        task: gives batches, loss and scores.
        settings: the resolved config.
        run: where it is saved.
        ranks: of this process; the main one writes.
        model: on its device.
        optimiser: of the model's parameters.
        monitor: watches the MEmeL layers.
        log: history and events.
        line: of progress, for people.
        progress: how far it is.
        average: of the model's weights, which is validated and kept; None: the weights themselves.
        after_validation: told of each validation once the run is saved; what it raises ends it.
    """

    task: Task
    settings: RunSettings
    run: Run
    ranks: Ranks
    model: nn.Module
    optimiser: torch.optim.Optimizer
    monitor: Monitor
    log: RunLog
    line: Line
    progress: Progress
    average: WeightAverage | None = None
    after_validation: AfterValidation | None = None
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self._length = length(self.settings.train, self.task)
        self._throughput = Throughput(self.device, self.ranks.size)
        self._guard = LossGuard(self.ranks, self.device, self.settings.train.explosion_factor)
        self._validated = ""  # the newest validation in a few words

    def go(self) -> Progress:
        """All steps from where the run stands to its last.

        Raises:
            Interrupted: a signal came; the run is saved.
            TrainingFailed: a loss or a weight is not a number, or the loss explodes.
        """
        train, steps = self.settings.train, self._length.steps
        samples = share(train, self.ranks)
        learner = wrapped(self.model, self.device)
        learner.train()
        do = self._steps(learner)
        batches = self.task.training_batches(self.progress.step, self.ranks)
        self._saved = self.progress.step
        with losses_told(self._next_move), stop_signals() as stopping:
            for step in range(self.progress.step, steps):
                with self._throughput.waiting():
                    batch = next(batches).to(self.device)
                logged = (step + 1) % train.log_every == 0 or step + 1 == steps
                rate = optim.rate(step, self.settings.optim, steps)
                if logged:
                    self.monitor.arm()
                torch.manual_seed(step_seed(train.seed, step, self.ranks.rank))
                optim.set_rate(self.optimiser, rate)
                with self._anomalies(step):
                    loss = do(batch, logged)
                self._guard.add(loss, step)
                if self.average is not None:
                    self.average.update()
                self._throughput.count(samples)
                self.progress = replace(self.progress, step=step + 1)
                if logged:
                    self._log(rate)
                elif self.line.wants_note:  # steps may be slow and logged seldom
                    self._note(float(loss.detach()), rate)
                self.line.advance()
                if self._length.is_validated(step + 1):
                    with self._throughput.paused():
                        objective = self._validate()
                        self._save()
                    if self.after_validation is not None:
                        self.after_validation(step + 1, objective)
                elif any_rank(stopping.is_set(), CPU):  # the device need not wait for the answer
                    self._save()
                    raise Interrupted(
                        f"{self.run.folder}: stopped at step {self.progress.step} of "
                        f"{steps}, all saved; the same command goes on from there"
                    )
        return self.progress

    def _steps(self, learner: nn.Module) -> Callable[[Batch, bool], Tensor]:
        """What a step does with a batch on the device, from its gradient to the new weights; told
        whether it is logged. Returns the loss."""
        train = self.settings.train
        # No closure: a frame of one in a traceback would keep the learner, and its process group.
        step = partial(self._step, learner)

        def give_up(why: object) -> None:
            if train.graph == "on":
                raise ConfigError(
                    f"train.graph: on was asked for, but a step cannot be recorded: {why}; set "
                    "auto or off"
                )
            self.monitor.discard()
            if self.ranks.is_main:
                say(f"train.graph: steps are launched kernel by kernel, because {why}")

        recorder = graph.recorder(self.device)
        if train.graph == "off" or (recorder is None and train.graph == "auto"):
            return step
        if recorder is None:
            give_up("there is no GPU")
        elif obstacle := graph.obstacle(self.task, train, self.ranks):
            give_up(obstacle)
        else:
            layers = plugged(self.model).values()
            ready = lambda: all(layer.is_proven for layer in layers)  # noqa: E731
            return graph.Replayed(step, recorder, ready, self.monitor.count, give_up)
        return step

    def _step(self, learner: nn.Module, batch: Batch, logged: bool = False) -> Tensor:
        self.optimiser.zero_grad()
        loss = backward(self.task, learner, batch, self.settings.train)
        optim.clip(self.model, self.settings.optim)
        self.optimiser.step()
        return loss

    def _log(self, rate: float) -> None:
        loss = self._checked_loss()
        self.progress = replace(
            self.progress,
            logged=self.progress.logged + 1,
            highest_loss=max(self.progress.highest_loss, loss),
        )
        self._note(loss, rate)
        self.log.step(self.progress.step, {"loss": loss, "lr": rate}, self._throughput.read())
        self.log.memel(self.progress.step, self.monitor.read())

    def _note(self, loss: float, rate: float) -> None:
        self.line.advance(f"loss {loss:.4g}, lr {rate:.3g}{self._validated}", by=0)

    def _validate(self) -> float:
        """Score the validation split, and keep the weights if they are the best so far.

        Returns:
            the objective, least is best.
        """
        self._checked_loss()
        with nullcontext() if self.average is None else self.average.in_place():
            return self._judged()

    def _judged(self) -> float:
        """`_validate` of the weights that the model has now."""
        scores = evaluate(
            self.task,
            self.model,
            "valid",
            self.ranks,
            self.device,
            title=f"{self.line.title}: validation",
            finite=False,
        )
        parts = [scores.values[name] for name in self.task.objective]
        objective = inf if None in parts else sum(part for part in parts if part is not None)
        step, best = self.progress.step, self.progress.best_objective
        if self.ranks.is_main:
            task = self.task
            pictures = task.pictures(self.model, "valid") if isinstance(task, Pictured) else {}
            scale = self.task.loss_scale
            loss = None if scale is None else scale * objective
            sums = {"objective": objective, "loss": loss}
            self.log.validation(step, scores, pictures, sums, self._monosemanticity())
        is_best = objective < (inf if best is None else best)
        self._show(scores, is_best)
        if is_best:
            self.progress = replace(self.progress, best_step=step, best_objective=objective)
            if self.ranks.is_main:
                config = self.settings.model_dump(mode="json")
                save_weights(self.run.best_weights, self.model, config)
        return objective

    def _monosemanticity(self) -> dict[str, Reading]:
        """Of the sites, on the first samples of the validation split."""
        wanted, memel = self.settings.train.monosemanticity, self.settings.memel
        if wanted is None:
            return {}

        def run(model: nn.Module) -> None:
            seen = 0
            for batch in self.task.evaluation_batches("valid", Ranks()):
                self.task.score(model, batch.to(self.device))
                seen += len(batch.names())
                if seen >= wanted:
                    return

        sites = (memel.sites if memel is not None else None) or self.task.sites
        return monosemanticity(self.model, sites, self.task.dry_run, run, self.task.mask)

    def _show(self, scores: Scores, is_best: bool) -> None:
        """Keep a validation's scores beside the loss until the next one."""
        shown = [
            f"{column.header} {value:.{column.digits}f}"
            for column in columns_of(self.task)[:SHOWN_SCORES]
            if (value := scores.values.get(column.score)) is not None
        ]
        loss = self.line.note.removesuffix(self._validated)
        of = f"step {self.progress.step}{', the best' * is_best}"
        self._validated = f"; valid {', '.join(shown) or 'without a score'} ({of})"
        self.line.advance(f"{loss}{self._validated}", by=0)

    def _save(self) -> None:
        """Put the run on disk as it stands: what was logged first, the state that goes on last."""
        if not all_finite(self.model):
            self._fail(LossFailure("a number, but the weights after it are not", self._last, 0))
        counted = self.monitor.state_dict()
        if self.ranks.is_main:
            self.log.flush()
            average = None if self.average is None else self.average.state_dict()
            save_state(
                self.run.last_state, self.model, self.optimiser, self.progress, counted, average
            )
        self._saved = self.progress.step

    def _next_move(self) -> str:
        return f"{self.run.folder}: the same command goes on from step {self._saved}"

    @property
    def _last(self) -> int:
        """The step done last, from 0."""
        return self.progress.step - 1

    def _checked_loss(self) -> float:
        try:
            loss = self._guard.read()
            self._guard.check(loss, self.progress.logged, self.progress.highest_loss)
        except LossFailure as failure:
            self._fail(failure)
        return loss

    @contextmanager
    def _anomalies(self, step: int) -> Iterator[None]:
        """With ``train.detect_anomaly``, what first gave a NaN on the way back."""
        if not self.settings.train.detect_anomaly:
            yield
            return
        try:
            with torch.autograd.detect_anomaly(check_nan=True):
                yield
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            self._fail(LossFailure(f"not usable: {error}", step, self.ranks.rank))

    def _fail(self, failure: LossFailure) -> NoReturn:
        """Save what there is to look into, and say where to look."""
        if self.ranks.is_main:
            self.log.flush()
            # Without the monitor's counts: to add them up, all ranks would have to come here.
            save_state(self.run.failed_state, self.model, self.optimiser, self.progress, {})
        of_rank = Ranks(failure.rank, self.ranks.size)
        samples = ", ".join(next(self.task.training_batches(failure.step, of_rank)).names())
        kept = f"{self.run.last_state.name}, which the same command would go on from"
        raise TrainingFailed(
            f"{self.run.folder}: the loss is {failure.what}, at step {failure.step + 1}, samples "
            f"{samples}. The last good state is "
            f"{kept if self.run.last_state.is_file() else 'the start: none was saved yet'}; "
            f"that of step {self.progress.step} is in {self.run.failed_state.name}. Lower optim.lr "
            "or clip harder (optim.clip_at), in another folder; --detect-anomaly names the "
            "operation that first gives NaN"
        )
