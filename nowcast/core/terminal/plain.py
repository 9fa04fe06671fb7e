"""Text from outside, such as a run's name, where some of its characters would mean something."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend


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
