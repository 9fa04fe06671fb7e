"""Figures and tables for papers can be read by what reads them, and look as the page does."""

import io
import re
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from fontTools.ttLib import TTFont

from nowcast.core.report.charts import Chart
from nowcast.core.report.papers import escaped, write_figures, write_latex
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table

CURVE = {5.0: 1.0, 10.0: 2.0, 15.0: None}
CHART = Chart("Error ↓", "lead time (minutes)", {"a": [CURVE], "b_$1": [CURVE]})


def test_a_figure_is_svg_and_pdf_with_axes_and_legend(tmp_path: Path):
    write_figures(tmp_path, {"error/0.5": CHART}, ["a", "b_$1"])
    svg, pdf = (tmp_path / "figures" / f"error_0_5.{suffix}" for suffix in ("svg", "pdf"))
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert pdf.read_bytes().startswith(b"%PDF-")
    drawn = svg.read_text()
    for text in ("Error ↓", "lead time (minutes)", "b_$1"):
        assert f"<!-- {text} -->" in drawn
    before = svg.read_bytes(), pdf.read_bytes()
    write_figures(tmp_path, {"error/0.5": CHART}, ["a", "b_$1"])
    assert (svg.read_bytes(), pdf.read_bytes()) == before


def test_a_pdf_has_the_letters_that_the_small_font_lacks(tmp_path: Path):
    write_figures(tmp_path, {"error": replace(CHART, axis="время")}, ["a", "b_$1"])
    content = (tmp_path / "figures" / "error.pdf").read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, flags=re.S)
    fonts = []
    for stream in streams:
        with suppress(zlib.error):
            unpacked = zlib.decompress(stream)
            if unpacked.startswith(b"\0\1\0\0"):  # TrueType
                fonts.append(TTFont(io.BytesIO(unpacked)))
    glyphs = {name for font in fonts for name in font.getGlyphOrder()}
    assert {"uni0432", "arrowdown", "dollar", "underscore"} <= glyphs


def test_old_figures_go_and_single_points_are_not_drawn(tmp_path: Path):
    write_figures(tmp_path, {"old": CHART}, ["a", "b_$1"])
    write_figures(
        tmp_path,
        {"new": CHART, "point": Chart("x", "y", {"a": [{1.0: 1.0}]})},
        ["a"] * 2 + ["b_$1"],
    )
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["new.pdf", "new.svg"]


def test_a_latex_table_has_the_columns_of_the_table_and_marks_the_best(tmp_path: Path):
    columns = (
        Column("csi", "CSI ≥ 5 mm/h", "more", 2, perfect=1.0),
        Column("error", "50 % & more", "less", 0, perfect=0.0),
    )
    values = {"a_b": ((0.5, 9.0), (0.7, 9.0)), "c": ((0.2, 3.0), (0.2, 5.0)), "d": ((0.4, 4.0),)}
    rows = tuple(
        Row(name, {s: Scores({"csi": x, "error": y}) for s, (x, y) in enumerate(own)})
        for name, own in values.items()
    )
    near = {"csi": ["a_b", "c"], "error": ["c"]}
    write_latex(tmp_path / "table.tex", Table(columns, rows), near, "What\nmarks mean")
    lines = (tmp_path / "table.tex").read_text().splitlines()
    assert lines[:3] == ["% What", "% marks mean", r"\begin{tabular}{lrr}"]
    cells = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in lines if " & " in line]
    assert cells == [
        ["", r"CSI $\geq$ 5 mm/h $\uparrow$", r"50 \% \& more $\downarrow$"],
        [r"a\_b", r"\textbf{0.60 $\pm$ 0.14}", r"9 $\pm$ 0"],
        ["c", r"0.20 $\pm$ 0.00$^\dagger$", r"\textbf{4 $\pm$ 1}"],
        ["d", "0.40", r"\textbf{4}"],
    ]
    assert lines[-1] == r"\end{tabular}"


def test_text_is_shown_as_it_is():
    assert escaped("a\\b{c}\n#1 ~^ <x>|–") == (
        r"a\textbackslash{}b\{c\} \#1 \textasciitilde{}\textasciicircum{} "
        r"\textless{}x\textgreater{}\textbar{}--"
    )
