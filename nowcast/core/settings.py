"""What a config may say, for the parts that all tasks share: types, ranges and defaults.

The defaults are the paper's (Wang et al. 2024, section 4.1 and its released code), so a recipe
says only what differs.
"""

from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from nowcast.core.errors import ConfigError, did_you_mean

# Absolute, so that a run's config means the same from every folder.
Place = Annotated[
    Path, Field(strict=False), AfterValidator(lambda path: path.expanduser().resolve())
]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["fp32", "tf32", "bf16"]


class Section(BaseModel):
    """A frozen part of a config; unknown keys are errors, and so is a value of another kind: true,
    7.5 and "7" are no whole numbers, NaN and infinity no numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # for `nowcast config keys` and the JSON Schema
    )

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_tuples(cls, found: object) -> object:
        """YAML and JSON have lists where settings have tuples."""
        return _tuples(found)


def _tuples(found: object) -> object:
    return tuple(_tuples(item) for item in found) if isinstance(found, list) else found


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


class RangeSettings(Section):
    """Numbers from `low` to `high`, both included; whole ones where both are whole."""

    low: int | float
    """The lowest."""
    high: int | float
    """The highest."""
    log: bool = False
    """Draw the logarithm evenly."""

    @property
    def examples(self) -> tuple[int | float, ...]:
        """Both ends and, of fractions, one between, which a key of whole numbers does not take."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return self.low, self.high
        return self.low, self.high, self.low + (self.high - self.low) / 3.1

    @model_validator(mode="after")
    def _order(self) -> "RangeSettings":
        if not self.low < self.high:
            raise ValueError(f"expected low < high, found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: expected low > 0, found {self.low}")
        return self


Choice = bool | int | float | str | None
Choices = Annotated[tuple[Choice, ...], BeforeValidator(_tuples), Field(min_length=1)]
Searched = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[RangeSettings, Tag("range")],
    Discriminator(lambda found: "choices" if isinstance(found, list | tuple) else "range"),
]
PAPERS_VALUES = (1, 5, 10, 50, 100)  # of both, Wang et al. 2024


class TuneSettings(Section):
    """The search for a variant's settings, on the validation split; the default is the paper's."""

    space: Annotated[dict[str, Searched], Field(min_length=1)] = {
        "memel.top_k": PAPERS_VALUES,
        "memel.delta": PAPERS_VALUES,
    }
    """Dotted keys with a list of choices, or for samplers also ``{low: , high: , log: }``."""
    sampler: Literal["grid", "tpe", "random"] = "grid"
    """Every setting once; or drawn, evenly or where good ones lie (tree of Parzen estimators)."""
    trials: Count | None = None
    """How many settings a sampler draws, no two alike; a grid tries all of its own."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of the trials' training and of the sampler; null takes the comparison's first."""
    prune: bool = True
    """Give up a trial whose validation is worse than the median of those before it."""

    @property
    def size(self) -> int | None:
        """How many settings the space holds; None with ranges."""
        sizes = [None if isinstance(s, RangeSettings) else len(s) for s in self.space.values()]
        return None if None in sizes else prod(size for size in sizes if size is not None)

    @model_validator(mode="after")
    def _searchable(self) -> "TuneSettings":
        for key, searched in self.space.items():
            if key in ("train.seed", "start_from"):
                raise ValueError(f"space.{key}: is not for a search to choose; leave it out")
            if not isinstance(searched, RangeSettings) and len(set(searched)) != len(searched):
                raise ValueError(f"space.{key}: expected each once, found {list(searched)}")
            if isinstance(searched, RangeSettings) and self.sampler == "grid":
                raise ValueError(f"space.{key}: a grid needs choices; list them, or use tpe")
        if self.sampler == "grid" and self.trials is not None:
            raise ValueError(f"trials: a grid tries all {self.size} settings; leave it out")
        if self.sampler != "grid" and self.trials is None:
            raise ValueError(f"trials: expected how many settings {self.sampler} is to draw")
        if self.size is not None and self.trials is not None and self.trials > self.size:
            raise ValueError(f"trials: expected at most the {self.size} settings of the space")
        return self


class VariantSettings(Section):
    """One line of a comparison: what it changes, and which variant's weights it starts from."""

    start_from: str | None = None
    """A variant listed above whose best weights this one starts from, seed by seed."""
    run_of: str | None = None
    """A variant whose runs this one scores instead of training any, e.g. with MEmeL in
    evaluation; `set` adds to what that variant sets."""
    set: dict[str, object] = {}
    """Dotted keys and values, as on the command line."""
    scored: bool = True
    """False: trained for others to start from, with no row of its own."""
    reference: str | None = None
    """A variant or baseline that the report sets this one against; null: the variant that differs
    least, best in `memel` alone."""
    tune: TuneSettings | None = None
    """Settings to search for before the variant is trained."""

    @model_validator(mode="after")
    def _each_set_once(self) -> "VariantSettings":
        keys = list(self.set)
        for place, key in enumerate(keys):
            parts = [earlier for earlier in keys[:place] if earlier.startswith(f"{key}.")]
            if parts:
                raise ValueError(f"set: {key} would replace {', '.join(parts)}; put it first")
        return self


class CompareSettings(Section):
    """A comparison: variants by name, each trained with every seed, on the same samples."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """A run each, of every variant."""
    variants: Annotated[dict[str, VariantSettings], Field(min_length=1)]
    """By name, in the order of the table."""
    baselines: tuple[str, ...] = ()
    """Forecasters that are scored without training."""
    split: Literal["valid", "test"] = "test"
    """On which all are scored."""
    equivalence: Annotated[float, Field(gt=0, lt=100)] | None = None
    """An effect within ± this many per cent of the reference's score does not matter: the report
    says `no effect` where two one-sided tests at 5 % (the 90 % interval) place it there, over seeds
    and over blocks; null: it never says so."""

    @model_validator(mode="after")
    def _graph(self) -> "CompareSettings":
        earlier: dict[str, VariantSettings] = {}
        for name, variant in self.variants.items():
            for key in ("start_from", "run_of"):
                other = getattr(variant, key)
                if other is not None and other not in earlier:
                    raise ValueError(
                        f"variants.{name}.{key}: expected a variant listed above it, found "
                        f"{other!r}; listed above: {', '.join(sorted(earlier)) or 'none'}"
                        f"{did_you_mean(other, earlier)}"
                    )
            if variant.run_of is not None:
                self._check_run_of(name, variant, earlier[variant.run_of])
            earlier[name] = variant
        self._check_references()
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected each once, found {list(self.seeds)}")
        if not any(variant.scored for variant in self.variants.values()):
            raise ValueError("variants: expected one that is scored, found scored: false in all")
        clash = sorted(self.variants.keys() & set(self.baselines))
        if clash:
            raise ValueError(f"baselines: expected other names than the variants', found {clash}")
        return self

    def _check_references(self) -> None:
        scored = [name for name, variant in self.variants.items() if variant.scored]
        for name, variant in self.variants.items():
            others = [*self.baselines, *(other for other in scored if other != name)]
            if variant.reference is not None and variant.reference not in others:
                raise ValueError(
                    f"variants.{name}.reference: expected another variant with a row or a "
                    f"baseline, one of {', '.join(others) or 'none'}, found {variant.reference!r}"
                )

    @property
    def searched(self) -> list[str]:
        """The variants whose settings are searched for."""
        return [name for name, variant in self.variants.items() if variant.tune is not None]

    def before_searches(self) -> "CompareSettings":
        """The comparison of the variants that no search is needed for."""
        kept: dict[str, VariantSettings] = {}
        for name, variant in self.variants.items():
            if variant.tune is None and {variant.start_from, variant.run_of} <= {None, *kept}:
                kept[name] = variant
        return self.model_copy(update={"variants": kept})

    @staticmethod
    def _check_run_of(name: str, variant: VariantSettings, other: VariantSettings) -> None:
        if variant.start_from is not None or variant.tune is not None or not variant.scored:
            raise ValueError(
                f"variants.{name}: run_of trains nothing: leave out start_from, tune and "
                "scored: false"
            )
        if other.run_of is not None:
            raise ValueError(
                f"variants.{name}.run_of: expected a variant that is trained, found "
                f"{variant.run_of!r}, which is run_of {other.run_of!r}; name that one"
            )

    def selected(self, only: Collection[str], skip: Collection[str]) -> "CompareSettings":
        """The comparison of some of the variants; what they start from stays, without a row.

        Args:
            only: the variants wanted; all if empty.
            skip: those left out of them.

        Raises:
            ConfigError: a name that is no variant, or nothing is left.
        """
        unknown = sorted({*only, *skip} - self.variants.keys())
        if unknown:
            raise ConfigError(
                f"--only, --skip: expected variants of {', '.join(self.variants)}, found "
                f"{', '.join(unknown)}{did_you_mean(unknown[0], self.variants)}"
            )
        rows = {name for name in self.variants if (not only or name in only) and name not in skip}
        needed = set(rows)
        for name, variant in reversed(self.variants.items()):
            if name in needed:
                needed |= {variant.start_from, variant.run_of} - {None}  # type: ignore[arg-type]
        kept = {
            name: variant.model_copy(update={"scored": variant.scored and name in rows})
            for name, variant in self.variants.items()
            if name in needed
        }
        if not any(variant.scored for variant in kept.values()):
            raise ConfigError("--only, --skip: expected a variant with a row, none is left")
        return self.model_copy(update={"variants": kept})
