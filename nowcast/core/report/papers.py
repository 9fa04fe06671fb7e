"""Files for papers: charts as SVG and PDF with a legend, and a table in LaTeX."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nowcast.core.report.charts import LINE_WIDTH, Chart, Line, figure_of, legend, lines
from nowcast.core.report.font import small_family
from nowcast.core.report.forest import Forest, figure_of_forests
from nowcast.core.scoring.table import STAR, Table
from nowcast.core.storage.files import write_text, write_whole
from nowcast.core.terminal.plain import add_legend

FIGURES = "figures"
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same bytes every time
LEGEND_COLUMNS = 3
LEGEND_INCHES = 0.35  # room for one line
ESCAPED = {character: f"\\{character}" for character in "{}$&#%_"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\to$",
    "–": "--",
}


def write_figures(
    folder: Path,
    charts: Mapping[str, Chart],
    names: Sequence[str],
    forests: Sequence[Forest] = (),
) -> None:
    """Write each chart as ``figures/NAME.svg`` and ``.pdf``, if it has a line, and forest plots
    with an interval as ``figures/effects``; old figures go.

    Args:
        folder: in which ``figures/`` is made.
        charts: name -> chart.
        names: of the forecasters in the table, whose lines are those of the page's charts.
        forests: forest plots, in one figure.
    """
    folder = folder / FIGURES
    for old in chain.from_iterable(folder.glob(f"*.{suffix}") for suffix in FORMATS):
        old.unlink()
    drawn = (name for chart in charts.values() for name in chart.curves)
    styles = lines(chain(names, drawn))  # a variant that is only started from has no row
    kinds = {f"95 % over {kind}": line for forest in forests for kind, line in forest.kinds.items()}
    # Fonts that journals take, and the same identifiers every time.
    with matplotlib.rc_context(
        {"pdf.fonttype": 42, "svg.hashsalt": "nowcast", "font.family": small_family()}
    ):
        for name, chart in charts.items():
            if chart.has_lines:
                figure = figure_of(chart, styles)
                _write(folder, name, figure, legend([chart], styles), "outside lower center")
        if kinds:
            figure = figure_of_forests(forests, LEGEND_INCHES)
            _write(folder, "effects", figure, kinds, "lower center")


def _write(folder: Path, name: str, figure: Figure, styles: Mapping[str, Line], where: str) -> None:
    """Under a legend of the styles, in every format."""
    stem = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    artists = {
        label: Line2D([], [], color=line.colour, linestyle=line.style, linewidth=LINE_WIDTH)
        for label, line in styles.items()
    }
    add_legend(figure, artists, loc=where, ncols=LEGEND_COLUMNS, fontsize=8)
    for suffix, metadata in FORMATS.items():
        write = partial(figure.savefig, format=suffix, metadata=metadata)
        write_whole(folder / f"{stem}.{suffix}", write)
        figure.set_layout_engine(None)  # it stays as the first format laid it out


def write_latex(path: Path, table: Table, near: Mapping[str, Collection[str]], note: str) -> None:
    """Write a table as a LaTeX ``tabular`` that needs no package.

    Args:
        path: of the file.
        table: the scores.
        near: score -> the forecasters that are not told apart from the best.
        note: a comment above the table, what bold and dagger mean.
    """
    rows = [
        [
            escaped(name),
            *(
                _marked(cell, is_near=name in near[column.score])
                for column, cell in zip(table.columns, cells, strict=True)
            ),
        ]
        for name, *cells in table.cells()
    ]
    lines_of_table = [
        *(f"% {line}" for line in note.splitlines()),
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\hline",
        _line(list(map(escaped, table.header()))),
        r"\hline",
        *map(_line, rows),
        r"\hline",
        r"\end{tabular}",
        "",
    ]
    write_text(path, "\n".join(lines_of_table))


def _marked(cell: str, is_near: bool) -> str:
    text = escaped(cell.removesuffix(STAR))
    if cell.endswith(STAR):
        return rf"\textbf{{{text}}}"
    return rf"{text}$^\dagger$" if is_near else text


def escaped(text: str) -> str:
    """A text that LaTeX shows as it is, in one line."""
    return "".join(ESCAPED.get(character, character) for character in " ".join(text.split()))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
