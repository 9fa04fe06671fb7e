"""What a config may say, for the parts that all tasks share: types, ranges and defaults.

The defaults are the paper's (Wang et al. 2024, section 4.1 and its released code), so a recipe
says only what differs.
"""

from math import prod
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

# Absolute, so that a run's config means the same from every folder.
Place = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen part of a config; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimSettings(Section):
    """Optimiser, schedule and clipping of gradients."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    decay_every: Count | None = 5000
    """Steps between decays of the rate; null keeps it constant."""
    decay_factor: Positive = 0.7
    clip: Literal["value", "norm"] | None = "value"
    clip_at: Positive = 50.0


class MEmeLSettings(Section):
    """Where MEmeL sits and how it inhibits; see `nowcast.core.memel.MEmeL`."""

    sites: tuple[str, ...] | None = None
    """Socket names or patterns; null takes the task's own."""
    delta: float = 1.0
    top_k: Count = 1
    forget_steps: Count = 10
    late_start: Count = 10
    eps: Annotated[float, Field(ge=0)] = 0.01
    convention: Literal["paper", "released"] = "paper"
    in_eval: bool = False
    sync: bool = True
    monitor: bool = True
    """Write what the layers do to tensorboard, at every logged step."""


class TrainSettings(Section):
    """The loop."""

    steps: Count = 20_000
    batch_size: Count = 16
    """Over all ranks together."""
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    validate_every: Count = 1000
    log_every: Count = 50
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read data; 0 reads in the training process."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class RunSettings(Section):
    """One training run of any task."""

    task: str
    train: TrainSettings = TrainSettings()
    optim: OptimSettings = OptimSettings()
    memel: MEmeLSettings | None = None
    start_from: Place | None = None
    """A finished run whose best weights this one starts from (fine-tuning)."""


class RangeSettings(Section):
    """Numbers from `low` to `high`, both included; whole ones where both are whole."""

    low: int | float
    high: int | float
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
Choices = Annotated[tuple[Choice, ...], Field(min_length=1)]
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
    set: dict[str, object] = {}
    """Dotted keys and values, as on the command line."""
    tune: TuneSettings | None = None
    """Settings to search for before the variant is trained."""


class CompareSettings(Section):
    """A comparison: variants by name, each trained with every seed, on the same clips."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    variants: Annotated[dict[str, VariantSettings], Field(min_length=1)]
    baselines: tuple[str, ...] = ()
    split: Literal["valid", "test"] = "test"

    @model_validator(mode="after")
    def _graph(self) -> "CompareSettings":
        earlier: set[str] = set()
        for name, variant in self.variants.items():
            if variant.start_from is not None and variant.start_from not in earlier:
                raise ValueError(
                    f"variants.{name}.start_from: expected a variant listed above it, found "
                    f"{variant.start_from!r}; listed above: {', '.join(sorted(earlier)) or 'none'}"
                )
            earlier.add(name)
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected each once, found {list(self.seeds)}")
        return self
