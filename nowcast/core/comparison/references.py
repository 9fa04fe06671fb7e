"""Which forecaster a variant is set against: the one that differs least from it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nowcast.core.report.variants import differing

SHOWN_KEYS = 3

RULE = (
    "Each variant is set against the one that differs least from it among those trained in as "
    "many stages: the same without MEmeL if there is one, otherwise the variant above it that "
    "differs in the fewest keys of the config, of equals the first. The first of a stage is set "
    "against what it starts from, or the first baseline. `reference:` of a variant chooses another."
)


@dataclass(frozen=True)
class Reference:
    """A forecaster that a variant is set against, and why that one."""

    name: str
    why: str


@dataclass(frozen=True)
class Descent:
    """What is known of the variants of a comparison.

    Args:
        parents: variant -> the variant it starts from, None: from scratch; in the order of the
            comparison.
        configs: variant -> its resolved config.
        same_runs: variants that score the runs of their parent.
        stated: variant -> the forecaster that its config names as `reference`.
    """

    parents: Mapping[str, str | None]
    configs: Mapping[str, Mapping[str, Any]]
    same_runs: Collection[str] = ()
    stated: Mapping[str, str] | None = None

    def line(self, name: str) -> list[str]:
        """The variant, what it starts from, and so on: one for each stage of training."""
        parent = self.parents.get(name)
        if parent is None:
            return [name]
        # What scores another's runs stands in its place.
        return [name, *self.line(parent)[1 if name in self.same_runs else 0 :]]

    def has_memel(self, name: str) -> bool:
        """Whether it was trained with MEmeL at any stage."""
        return any(self._config(each).get("memel") is not None for each in self.line(name))

    def differing(self, one: str, other: str) -> tuple[list[str], list[str]]:
        """Keys in which two variants of as many stages differ at any stage, those of MEmeL apart.

        Returns:
            keys outside `memel`, and keys of `memel`.
        """
        keys = {
            key
            for mine, theirs in zip(self.line(one), self.line(other), strict=True)
            for key in differing({"one": self._config(mine), "other": self._config(theirs)})
        }
        of_memel = sorted(key for key in keys if key.partition(".")[0] == "memel")
        return sorted(keys.difference(of_memel)), of_memel

    def _config(self, name: str) -> Mapping[str, Any]:
        return self.configs.get(name, {})


def references(descent: Descent, names: Sequence[str]) -> dict[str, Reference]:
    """Forecaster -> what it is set against, by `RULE`; of several baselines, the first.

    A variant that scores another's runs is set against that one.

    Args:
        descent: of the variants.
        names: of all that have scores, in order; those that are not variants are baselines.
    """
    variants = [name for name in descent.parents if name in names]
    baselines = [name for name in names if name not in descent.parents]
    found = {
        name: Reference(baselines[0], "the first baseline of this page") for name in baselines[1:]
    }
    for name in variants:
        reference = _reference(descent, name, variants, names)
        if reference is None and baselines:
            reference = Reference(baselines[0], "the first baseline: no variant goes before it")
        if reference is not None:
            found[name] = reference
    return found


def _reference(
    descent: Descent, name: str, variants: Sequence[str], names: Sequence[str]
) -> Reference | None:
    stated, parent = (descent.stated or {}).get(name), descent.parents[name]
    if stated in names:
        return Reference(str(stated), "as the config says")
    missing = "" if stated is None else f"; {stated}, which the config names, has no row here"
    scored = parent if parent in names else None
    if name in descent.same_runs and scored is not None:
        return Reference(scored, f"they are the same runs{missing}")
    nearest = _nearest(descent, name, variants)
    if nearest is not None:
        return Reference(nearest, _why(descent, name, nearest) + missing)
    if scored is not None:
        return Reference(scored, f"what it starts from: no variant goes before it{missing}")
    return None


def _nearest(descent: Descent, name: str, variants: Sequence[str]) -> str | None:
    """The variant of as many stages that differs least; None where none comes into question."""
    has_memel, own = descent.has_memel(name), variants.index(name)
    ranked: list[tuple[int, int, int, str]] = []
    for place, other in enumerate(variants):
        if other == name or len(descent.line(other)) != len(descent.line(name)):
            continue
        keys, of_memel = descent.differing(name, other)
        plain = has_memel and not descent.has_memel(other)
        if keys:
            candidate = place < own
        elif plain:
            candidate = True  # wherever it is listed
        else:
            candidate = place < own and (has_memel or not descent.has_memel(other))
        if candidate:
            by_memel = 0 if plain and not keys else 1 + len(of_memel)
            ranked.append((len(keys), by_memel, place, other))
    return min(ranked)[-1] if ranked else None


def _why(descent: Descent, name: str, other: str) -> str:
    keys, of_memel = descent.differing(name, other)
    where = ""
    if not differing({each: descent.configs.get(each, {}) for each in (name, other)}):
        where = ", at an earlier stage"
    if not keys:
        return f"they differ in memel alone{where}" if of_memel else "their configs are the same"
    shown = [*keys, *(["memel"] if of_memel else [])]
    more = len(shown) - SHOWN_KEYS
    listed = ", ".join(shown[:SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")
    return f"it differs least, in {listed}{where}"
