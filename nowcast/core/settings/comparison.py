"""What a config may say of a comparison: its variants, and what each starts from."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nowcast.core.errors import ConfigError, did_you_mean
from nowcast.core.settings.search import TuneSettings
from nowcast.core.settings.section import Section


class VariantSettings(Section):
    """One line of a comparison: what it changes, and which variant's weights it starts from."""

    start_from: str | None = None
    """A variant listed above whose best weights this one starts from, seed by seed."""
    run_of: str | None = None
    """A variant whose runs this one scores instead of training any, e.g. with MEmeL in
    evaluation; `set` adds to what that variant sets."""
    set: dict[str, object] = Field(default={})
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
