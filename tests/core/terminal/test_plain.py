from pathlib import Path

import pytest
from matplotlib.figure import Figure

from nowcast.core.report.page import Section
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table, in_markdown
from nowcast.core.terminal.plain import add_legend, command


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("x[red]", r"x\[red\]"),
        ("a|b", r"a\|b"),
        ("<b>", r"\<b\>"),
        ("$x_1$", r"\$x_1\$"),
        ("_first_ *try*", r"\_first\_ \*try\*"),
        ("run_of_may 50% {b}", "run_of_may 50% {b}"),
        ("0.1 ± 0.2 *", "0.1 ± 0.2 *"),
        ("two\nlines", "two<br>lines"),
    ],
)
def test_markdown_shows_a_name_as_it_is(name: str, written: str):
    assert in_markdown(name) == written


def test_names_in_tables_are_no_markdown():
    scores = Scores({"error": 1.0}, {}, "place", ())
    table = Table(
        (Column("error", "Error", "less", 1, perfect=0.0),), (Row("a[b](c)|<i>", {None: scores}),)
    )
    assert r"| a\[b\](c)\|\<i\> | 1.0 |" in table.markdown()
    assert r"| \<i\> |" in Section("Title", ["Name"], [["<i>"]], "").markdown()


def test_a_command_can_be_pasted():
    assert command("nowcast", "board", Path("runs/a b[1] $x")) == "nowcast board 'runs/a b[1] $x'"
    assert command("nowcast", "board", "runs/first") == "nowcast board runs/first"


def test_a_legend_shows_names_as_they_are():
    figure = Figure()
    axes = figure.add_subplot()
    names = ["$x_1$", "_hidden", "a[red] 50%"]
    legend = add_legend(figure, {name: axes.plot([0, 1])[0] for name in names}, loc="upper left")
    assert [text.get_text() for text in legend.get_texts()] == names
    assert not any(text.get_parse_math() for text in legend.get_texts())
    figure.canvas.draw()  # and they can be drawn
