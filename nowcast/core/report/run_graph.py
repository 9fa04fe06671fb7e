"""The run graph: what each variant comes from, as a forest that the browser lays out.

Boxes are as wide as the browser's own letters, so no name in any script spills out of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TUNED = "fine-tuned from"
SCRATCH = "from scratch"


@dataclass(frozen=True)
class Box:
    """A variant or a baseline.

    Args:
        name: the upper text.
        text: the lower, smaller one: how it came about.
        kind: ``trained``, ``derived`` (by an edge with a label of its own) or ``baseline``.
        children: what comes from it.
    """

    name: str
    text: str
    kind: str
    children: Sequence["Box"] = ()


def run_graph(
    parents: Mapping[str, str | None], edges: Mapping[str, str], baselines: Iterable[str]
) -> list[Box]:
    """Variants below what they come from, and baselines after all of them.

    Args:
        parents: variant -> what it comes from; None: nothing. One whose parent is not among them
            is a root.
        edges: variant -> how it comes from its parent, or how it was made if it has none; without
            an entry it is fine-tuned or trained from scratch.
        baselines: forecasters that were never trained.
    """

    def below(root: str | None) -> list[Box]:
        return [
            box(name, parent)
            for name, parent in parents.items()
            if (parent if parent in parents else None) == root
        ]

    def box(name: str, parent: str | None) -> Box:
        label = edges.get(name, SCRATCH if parent is None else TUNED)
        text = label if parent is None else f"{label} {parent}"
        return Box(name, text, "derived" if name in edges else "trained", below(name))

    return below(None) + [Box(name, "baseline, not trained", "baseline") for name in baselines]
