"""What a comparison left in its folder, read again: for its page, and for a table of several."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nowcast.core.comparison.references import Descent, Reference, references
from nowcast.core.comparison.statistics.bootstrap import Difference
from nowcast.core.comparison.statistics.significance import Contrast, contrasts
from nowcast.core.errors import ConfigError
from nowcast.core.report.player import Film, read_films
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table

SCORES = "scores.json"
FILMS = "films.json"  # forecasts drawn while the models were there


@dataclass(frozen=True)
class Stored:
    """What a comparison left in its folder, read again.

    Args:
        table: scores of each forecaster and seed.
        facts: what was compared, on what and when.
        notes: sentences below the table.
        parents: variant -> the variant it comes from, None: from scratch.
        edges: variant -> how it comes from its parent, where that is not by fine-tuning.
        same_runs: variants that score the runs of their parent.
        references: variant -> the forecaster that its config says it is set against.
        configs: variant -> its resolved config.
        versions: of what wrote the results.
        runs: ``variant/seed 0`` -> folder of that run.
        differences: of the bootstrap over blocks.
        films: forecasts to scrub through time.
        comparisons: of a table of several comparisons, name -> ``page`` (relative link) and
            ``facts`` (what it does not share with the others); of one comparison empty.
        equivalence: `compare.equivalence`, in per cent; None: not set.
    """

    table: Table
    facts: Mapping[str, Any]
    notes: Sequence[str]
    parents: Mapping[str, str | None]
    edges: Mapping[str, str]
    same_runs: Sequence[str]
    references: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    runs: Mapping[str, Path]
    differences: Sequence[Difference]
    films: Sequence[Film]
    comparisons: Mapping[str, Mapping[str, Any]]
    equivalence: float | None = None

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """Every pair of forecasters by every score, tested."""
        return contrasts(self.table, self.differences)

    @property
    def against(self) -> dict[str, Reference]:
        """Forecaster -> what it is set against."""
        descent = Descent(self.parents, self.configs, self.same_runs, self.references)
        return references(descent, [row.name for row in self.table.rows])


def read_results(out: Path) -> Stored:
    """What a comparison left in `out`.

    Raises:
        ConfigError: there are no results of a comparison.
    """
    try:
        content = json.loads((out / SCORES).read_text())
        facts = content["facts"]
        scores: dict[str, dict[int | None, Scores]] = {}
        for entry in content["rows"]:
            name, seed = entry.pop("forecaster"), entry.pop("seed")
            plain = {key: value for key, value in entry.items() if key not in facts}
            scores.setdefault(name, {})[seed] = Scores.from_document(plain)
        return Stored(
            table=Table(
                tuple(_column(column) for column in content["columns"]),
                tuple(Row(name, by_seed) for name, by_seed in scores.items()),
            ),
            facts=facts,
            notes=content["notes"],
            parents=content["parents"],
            edges=content["edges"],
            same_runs=content["same_runs"],
            references=content.get("references", {}),
            configs=content["configs"],
            versions=content["versions"],
            runs={name: out / folder for name, folder in content["runs"].items()},
            differences=[Difference(**found) for found in content["differences"]],
            films=read_films(out / FILMS),
            comparisons=content.get("comparisons", {}),
            equivalence=content.get("equivalence"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{out}: expected scores.json of a comparison and {FILMS}, as `nowcast compare` writes "
            "them at its end; run it again, trained runs are kept. "
            f"{type(error).__name__}: {error}"
        ) from error


def _column(content: Mapping[str, Any]) -> Column:
    """A column; results of before it stated its perfect score and limits have none."""
    limits = tuple(content.get("limits", (None, None)))
    return Column(**{"perfect": None, **content, "limits": limits})
