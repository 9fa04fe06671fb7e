"""What a config may say of one training run, for the parts that all tasks share.

The defaults are the paper's (Wang et al. 2024, section 4.1 and its released code), so a recipe
says only what differs.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator

from nowcast.core.settings.section import Count, Place, Positive, Precision, Section


class OptimSettings(Section):
    """Optimiser, schedule and clipping of gradients."""

    name: Literal["adam", "adamw"] = "adam"
    """Optimiser."""
    lr: Positive = 1e-4
    """Learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay of the mean and of the squared gradient."""
    eps: Positive = 1e-8
    """Adam's, added to the root of the squared gradient."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of Adam, added to the gradient; of AdamW, apart from it."""
    weight_decay_on: Literal["all", "matrices"] = "all"
    """matrices spares biases and normalisations, as the recipes of transformers do."""
    schedule: Literal["step", "linear", "cosine"] = "step"
    """How the rate falls once warm: in steps, or along a line or a half cosine to `lr_end`."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of all steps in which the rate rises from `lr_start` to `lr`."""
    lr_start: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate at which the warm-up begins."""
    lr_end: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate at which linear and cosine end."""
    decay_every: Count | None = 5000
    """Of the schedule step: steps between decays of the rate; null keeps it constant."""
    decay_factor: Positive = 0.7
    """Of the schedule step: by what each decay multiplies the rate."""
    clip: Literal["value", "norm"] | None = "value"
    """Cut gradients one by one (value) or by their common norm."""
    clip_at: Positive = 50.0
    """Where they are cut."""


class MEmeLSettings(Section):
    """Where MEmeL sits and how it inhibits; see `nowcast.core.memel.layer.MEmeL`."""

    sites: tuple[str, ...] | None = None
    """Socket names or patterns; null takes the task's own."""
    method: Literal["memel", "share", "penalty", "opposite", "sham"] = "memel"
    """memel: Reversed Deactivation of each sample's `top_k`; share: of a `share` of all values;
    penalty: the scale of that share joins the loss; controls: opposite, the penalty with the other
    sign, and sham, Reversed Deactivation of `top_k` random neurons."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Of a layer's values, for share, penalty and opposite."""
    penalty_weight: Positive = 0.01
    """Of the term in the loss, for penalty and opposite."""
    delta: float = 1.0
    """Strength: 1 is Reversed Deactivation, 0 and -1 are the paper's Naive (a) and (b)."""
    top_k: Count = 1
    """Neurons of each sample that are deactivated."""
    forget_steps: Count = 10
    """Batches after which the running statistics begin to forget."""
    late_start: Count = 10
    """Batches that are watched before any neuron is deactivated."""
    eps: Annotated[float, Field(ge=0)] = 0.01
    """Share of the neurons' mean variance that is added to each one's."""
    convention: Literal["paper", "released"] = "paper"
    """Score a batch by the statistics before it (paper) or with it (the authors' code)."""
    in_eval: bool = False
    """Deactivate in evaluation too, by frozen statistics: the paper's -T rows."""
    sync: bool = True
    """Share statistics among ranks."""
    monitor: bool = True
    """Write what the layers do to tensorboard, at every logged step."""

    @model_validator(mode="after")
    def _something_in_evaluation(self) -> "MEmeLSettings":
        if self.in_eval and self.method in ("penalty", "opposite"):
            raise ValueError(
                f"in_eval: method {self.method} changes no value, so evaluation is without it "
                "anyway; leave in_eval out"
            )
        return self


class TrainSettings(Section):
    """The loop."""

    steps: Count | None = 20_000
    """Batches to train on; null with `epochs`."""
    epochs: Positive | None = None
    """Passes over the training samples; steps is null with it."""
    batch_size: Count = 16
    """Over all ranks together."""
    accumulate: Count = 1
    """Parts that each rank's share of a batch is passed in, one after the other, for less memory.
    MEmeL takes each for a batch."""
    checkpoint: bool = False
    """Compute activations again on the way back instead of keeping them, those of a transformer's
    blocks or of a recurrent network's time steps: less memory, up to a third more time."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the initial weights and of every draw."""
    precision: Literal["auto", Precision] = "fp32"
    """fp32 is IEEE's on a GPU, too; tf32 rounds what its convolutions and products read to 10 bits.
    auto: bf16 where the device computes in it, or else fp32. A run's config holds what that was
    where the run began, and it goes on with that elsewhere."""
    average: Count | None = None
    """Validate, keep and score the mean of the weights over about so many steps; null: the weights
    of the step itself. It lets a small batch learn at a high rate."""
    validate_every: Count | None = 1000
    """null: once an epoch."""
    log_every: Count = 50
    """Steps between entries of the history and of TensorBoard."""
    monosemanticity: Count | None = None
    """Validation samples on which each validation also measures how monosemantic the sites of
    `memel`, or the task's own, are: mean and tail of phi, kurtosis; null: none."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read data; 0 reads in the training process."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is one."""
    graph: Literal["auto", "on", "off"] = "auto"
    """Launch a step on a GPU as one CUDA graph. auto: where it can be recorded; on: or stop."""
    explosion_factor: Positive | None = 100.0
    """A logged loss this many times the highest before it stops the run; null: none does."""
    detect_anomaly: bool = False
    """Name the operation that first gives NaN in a gradient; slow."""
    keep_state: bool = True
    """false: once a run is finished, what only resuming needs is removed, three times the size of
    the model; and of a search's trials the weights too, which nothing uses."""
    accept_code: bool = False
    """Go on with a run that another version of the code has begun or made."""
    accept_device: bool = False
    """Go on with a run that was begun on a CPU, or another model of GPU: its bits will differ."""

    @model_validator(mode="before")
    @classmethod
    def _epochs_replace_steps(cls, found: object) -> object:
        """The default of `steps` is no choice that epochs would contradict."""
        if isinstance(found, dict) and found.get("epochs") is not None and "steps" not in found:
            return found | {"steps": None}
        return found

    @model_validator(mode="after")
    def _one_length(self) -> "TrainSettings":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                "expected steps or epochs, and null for the other, found "
                f"steps: {self.steps}, epochs: {self.epochs}"
            )
        return self


class RunSettings(Section):
    """One training run of any task."""

    incidental: ClassVar[frozenset[str]] = frozenset(
        {
            "start_from",
            "memel.monitor",
            "train.monosemanticity",
            "data.root",
            "train.workers",
            "train.device",
            "train.graph",
            "train.log_every",
            "train.accept_code",
            "train.accept_device",
            "train.keep_state",
            "train.checkpoint",
            "train.detect_anomaly",
            "train.explosion_factor",
        }
    )
    """Dotted keys that say how a run is computed, watched and later evaluated, not what comes out
    of it; and where data and weights lie, whose contents have hashes. A task adds its own."""

    task: str
    train: TrainSettings = TrainSettings()
    optim: OptimSettings = OptimSettings()
    memel: MEmeLSettings | None = None
    """null: no MEmeL; {}: with the defaults below."""
    start_from: Place | None = None
    """A finished run whose best weights this one starts from (fine-tuning)."""

    def as_now(self, stored: Mapping[str, object]) -> dict[str, object]:
        """A stored config of this task in the keys that it would be stored with now."""
        own = {key: value for key, value in stored.items() if key in type(self).model_fields}
        try:
            settings = self.model_validate(own, context={"evaluating": True})
        except ValidationError:  # whose keys are named where they are compared
            return dict(stored)
        return {**stored, **settings.model_dump(mode="json", include=set(own))}
