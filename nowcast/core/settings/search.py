"""What a config may say of a search for settings."""

from math import prod
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from nowcast.core.settings.section import Count, Section, tuples


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
Choices = Annotated[tuple[Choice, ...], BeforeValidator(tuples), Field(min_length=1)]
Searched = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[RangeSettings, Tag("range")],
    Discriminator(lambda found: "choices" if isinstance(found, list | tuple) else "range"),
]
PAPERS_VALUES = (1, 5, 10, 50, 100)  # of both, Wang et al. 2024


class TuneSettings(Section):
    """The search for a variant's settings, on the validation split; the default is the paper's."""

    space: Annotated[dict[str, Searched], Field(min_length=1)] = Field(
        default={"memel.top_k": PAPERS_VALUES, "memel.delta": PAPERS_VALUES}
    )
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
