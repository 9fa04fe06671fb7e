"""Where the boxes and arrows of a run graph go: a forest drawn downwards, as narrow as a phone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

TUNED = "fine-tuned from"
SCRATCH = "from scratch"

# In pixels. Letters are counted, not measured, so boxes are a little wider than their text.
LETTER, SMALL_LETTER = 9.3, 7.0
PADDING, BOX, GAP, INDENT = 12.0, 46.0, 12.0, 26.0
APART = 20.0  # baselines from variants
STEM = 14.0  # from a parent's left edge to the line down from it


@dataclass(frozen=True)
class Box:
    """A variant or a baseline.

    Args:
        name: the upper text.
        text: the lower, smaller one: how it came about.
        x: left edge.
        y: upper edge.
        width: of the box.
        height: of the box.
        arrow: SVG path from the parent to here; empty: no parent among the boxes.
        kind: ``trained``, ``derived`` (by an edge with a label of its own) or ``baseline``.
    """

    name: str
    text: str
    x: float
    y: float
    width: float
    height: float
    arrow: str
    kind: str


@dataclass(frozen=True)
class RunGraph:
    """Boxes, and the size of the drawing around them."""

    boxes: list[Box]
    width: float
    height: float


def run_graph(
    parents: Mapping[str, str | None], edges: Mapping[str, str], baselines: Iterable[str]
) -> RunGraph:
    """Lay out variants below what they come from, and baselines below all of them.

    Args:
        parents: variant -> what it comes from; None: nothing.
        edges: variant -> how it comes from its parent, or how it was made if it has none; without
            an entry it is fine-tuned or trained from scratch.
        baselines: forecasters that were never trained.
    """
    placed: dict[str, Box] = {}
    for row, (name, depth) in enumerate(_depth_first(parents)):
        parent = parents[name]
        label = edges.get(name, SCRATCH if parent is None else TUNED)
        text = label if parent is None else f"{label} {parent}"
        kind = "derived" if name in edges else "trained"
        placed[name] = _box(name, text, depth, row, placed.get(parent or ""), kind)
    boxes = list(placed.values())
    for row, name in enumerate(baselines, len(boxes)):
        box = _box(name, "baseline, not trained", 0, row, None, "baseline")
        boxes.append(replace(box, y=box.y + APART))
    return RunGraph(
        boxes,
        width=max((box.x + box.width for box in boxes), default=0.0) + 2,
        height=max((box.y for box in boxes), default=0.0) + BOX + 2,
    )


def _depth_first(parents: Mapping[str, str | None]) -> Iterator[tuple[str, int]]:
    """Each variant with its depth; one whose parent is not among them is a root."""

    def below(parent: str | None, depth: int) -> Iterator[tuple[str, int]]:
        for name, own in parents.items():
            if (own if own in parents else None) == parent:
                yield name, depth
                yield from below(name, depth + 1)

    return below(None, 0)


def _box(name: str, text: str, depth: int, row: int, parent: Box | None, kind: str) -> Box:
    x, y = 1 + depth * INDENT, 1 + row * (BOX + GAP)
    arrow = ""
    if parent is not None:
        arrow = f"M{parent.x + STEM:g} {parent.y + BOX:g} V{y + BOX / 2:g} H{x - 2:g}"
    width = 2 * PADDING + max(LETTER * len(name), SMALL_LETTER * len(text))
    return Box(name, text, x, y, width, BOX, arrow, kind)
