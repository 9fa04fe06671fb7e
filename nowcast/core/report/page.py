"""The page of a comparison: one HTML file that needs no network, to open anywhere and to send."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from nowcast.core.report.charts import LINE_WIDTH, Chart, Curve, Line, drawn, legend, lines
from nowcast.core.report.forest import STYLES, Forest, drawn_forests
from nowcast.core.report.player import Film
from nowcast.core.report.variants import HEADER, variant_table
from nowcast.core.scoring.table import ARROWS, BEST, DASH, STAR, Column, Table, markdown_table
from nowcast.core.storage.files import write_text
from nowcast.core.storage.yaml_files import dumps


@dataclass(frozen=True)
class Section:
    """A table of texts with a title, sentences above it and a note below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str
    sentences: Sequence[str] = ()

    def markdown(self) -> str:
        """As Markdown."""
        points = "".join(f"- {sentence}\n" for sentence in self.sentences)
        above = f"{points}\n" if points else ""
        return f"## {self.title}\n\n{above}{markdown_table(self.header, self.rows)}\n{self.note}\n"


@dataclass(frozen=True)
class Verdicts:
    """What a comparison says of each variant against its reference.

    Args:
        table: one row a variant and score.
        forests: the same drawn, a plot a score.
        words: the same in sentences, folded.
    """

    table: Section
    forests: Sequence[Forest]
    words: Sequence[Section]


@dataclass(frozen=True)
class Report:
    """Everything the page shows.

    Args:
        title: of the page.
        facts: what was compared, on what and when, e.g. ``Archive``, ``Split``, ``Machine``.
        table: the comparison; its scores' curves become the charts.
        parents: variant -> the variant it comes from, None: from scratch. What was never trained is
            left out.
        histories: ``variant/seed 0`` -> the rows of that run's ``history.jsonl``, either
            ``{"step": 50, "loss": 1.2}`` or ``{"step": 200, "valid": {"error": 0.41}}``.
        pictures: caption -> a PNG or GIF file's content.
        command: that opens the runs in TensorBoard; empty: there are none.
        verdicts: they come first; None: nothing has a reference.
        sections: further tables.
        films: forecasts to scrub through time.
        edges: variant -> how it comes from its parent, where that is not by fine-tuning.
        configs: variant -> its resolved config; the first is shown whole.
        versions: of what wrote the results.
        origins: ``variant/seed 0`` -> the content of that run's ``origin.json``.
        notes: sentences below the scores.
        pages: of a table of several comparisons, name -> link to its own page.
    """

    title: str
    facts: Mapping[str, str]
    table: Table
    parents: Mapping[str, str | None]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    pictures: Mapping[str, bytes]
    command: str
    verdicts: Verdicts | None = None
    sections: Sequence[Section] = ()
    films: Sequence[Film] = ()
    edges: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    pages: Mapping[str, str] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Write the page; a reader of `path` sees the old page or the new one, never a part."""
    write_text(path, _page(report))


def _page(report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = _styles(report)
    base = next(iter(report.configs), "")
    untrained = [row.name for row in report.table.rows if row.name not in report.parents]
    variants, shared = variant_table(
        report.parents,
        report.edges,
        untrained if report.parents else (),  # a leaderboard has no variants
        report.configs,
        report.origins,
    )
    score_charts = [chart for column in report.table.columns if (chart := _scores(report, column))]
    training = training_charts(report.table.columns, report.histories)
    return environment.get_template("report.html.jinja").render(
        report=report,
        header=[_headed(text) or "Forecaster" for text in report.table.header()],
        rows=_marked(report.table.cells()),
        **_verdicts(report.verdicts),
        sections=_prepared(report.sections),
        spread=_spread(report.table),
        best=BEST,
        dash=DASH,
        axis=next((chart.axis for chart in score_charts), ""),
        score_charts=drawn(score_charts, styles, "score"),
        score_legend=legend(score_charts, styles),
        training_charts=drawn(training, styles, "training"),
        training_legend=legend(training, styles),
        line_width=LINE_WIDTH,
        pictures={caption: _data_uri(picture) for caption, picture in report.pictures.items()},
        variants_header=HEADER,
        variants=variants,
        base=base,
        base_config=dumps(report.configs.get(base)),
        origin=dict(report.versions) | shared,
    )


def _verdicts(verdicts: Verdicts | None) -> dict[str, Any]:
    """For the template: the table, the plots with their legend, and the sentences."""
    if verdicts is None:
        return {"verdicts": [], "forests": [], "forest_legend": {}, "words": []}
    kinds = {kind for forest in verdicts.forests for kind in forest.kinds}
    return {
        "verdicts": _prepared([verdicts.table]),
        "forests": drawn_forests(verdicts.forests, "forest"),
        "forest_legend": {
            f"95 % interval over {kind}": line for kind, line in STYLES.items() if kind in kinds
        },
        "words": _prepared(verdicts.words),
    }


def _prepared(sections: Sequence[Section]) -> list[tuple[Section, list[str], list[list[Markup]]]]:
    """Sections with the header and cells as the page shows them."""
    return [
        (section, [_headed(text) for text in section.header], _marked(section.rows))
        for section in sections
    ]


def _headed(text: str) -> str:
    """A header whose arrow stays with the word before it."""
    for arrow in ARROWS.values():
        text = text.replace(f" {arrow}", f"\u00a0{arrow.replace(' ', chr(0xA0))}")
    return text


def _marked(rows: Sequence[Sequence[str]]) -> list[list[Markup]]:
    """Cells of a table; those that `Table.cells` marks as best are bold."""

    def cell(text: str) -> Markup:
        plain = text.removesuffix(STAR)
        # A line may end before the sign, not between it and its number.
        unbroken = plain.replace("± ", "±\u00a0").replace("p = ", "p\u00a0=\u00a0")
        return escape(unbroken) if plain == text else Markup("<b>{}</b>").format(unbroken)

    return [[cell(text) for text in cells] for cells in rows]


def _spread(table: Table) -> str:
    """What ± means in this table, in a sentence."""
    seeds = {len(row.scores) for row in table.rows if None not in row.scores}
    if not seeds:
        return ""
    if max(seeds) == 1:
        return "One seed each, so the spread over seeds is not known."
    count = f"{max(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    return f"Mean ± sample standard deviation over {count} seeds."


def _styles(report: Report) -> dict[str, Line]:
    return lines(chain((row.name for row in report.table.rows), map(_variant, report.histories)))


def _variant(run: str) -> str:
    return run.rsplit("/seed", 1)[0]


def _scores(report: Report, column: Column) -> Chart | None:
    """The curves of one score along the axis; None where no forecaster has any."""
    curves: dict[str, list[Curve]] = {}
    axis = ""
    for row in report.table.rows:
        for scores in row.scores.values():
            if column.score in scores.curves:
                axis = scores.axis_title
                curve = dict(zip(scores.axis, scores.curves[column.score], strict=True))
                curves.setdefault(row.name, []).append(curve)
    return Chart(column.title, axis, curves, limits=column.limits) if curves else None


def training_charts(
    columns: Sequence[Column], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Chart]:
    """The training loss, and the first two scores of the table as validated on the way."""
    losses: dict[str, list[Curve]] = {}
    for run, history in histories.items():
        if loss := {float(row["step"]): row["loss"] for row in history if "loss" in row}:
            losses.setdefault(_variant(run), []).append(loss)
    charts = [Chart("training loss", "step", losses, is_loss=True)] if losses else []
    for column in columns[:2]:
        curves: dict[str, list[Curve]] = {}
        for run, history in histories.items():
            validated = [row for row in history if column.score in row.get("valid", {})]
            if curve := {float(row["step"]): row["valid"][column.score] for row in validated}:
                curves.setdefault(_variant(run), []).append(curve)
        if curves:
            title = f"validation {column.title}"
            charts.append(Chart(title, "step", curves, limits=column.limits))
    return charts


def _data_uri(picture: bytes) -> str:
    kind = "gif" if picture.startswith(b"GIF8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
