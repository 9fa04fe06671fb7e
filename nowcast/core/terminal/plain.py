"""Text from outside, such as a run's name, where some of its characters would mean something."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# A star or an underscore between two spaces, and an underscore within a word, mean nothing.
_MARKDOWN = re.compile(r"[\\`\[\]<>|$]|(?<=\S)\*|\*(?=\S)|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)")


def in_markdown(text: str) -> str:
    """A text that Markdown, with tables and mathematics, shows as it is."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", text).replace("\n", "<br>")


def command(*words: str | Path) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(map(str, words))


def add_legend(figure: "Figure", artists: "Mapping[str, Artist]", **where: Any) -> "Legend":
    """A legend of names as they are: matplotlib would take what is between two dollars for
    mathematics, and leave out what begins with an underscore."""
    numbers = [str(number) for number in range(len(artists))]
    legend = figure.legend(list(artists.values()), numbers, **where)
    for text, name in zip(legend.get_texts(), artists, strict=True):
        text.set(text=name, parse_math=False)
    return legend
