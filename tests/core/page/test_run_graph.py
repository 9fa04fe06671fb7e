"""A run graph shows each variant once, below what it comes from, and nothing overlaps."""

import re
from itertools import combinations

from nowcast.core.page.run_graph import BOX, GAP, INDENT, run_graph

PARENTS = {"P": None, "M": None, "T": "P", "T-M": "M", "T-M-Tune": "T-M", "Scored": "T"}


def test_children_stand_below_their_parent_and_baselines_last():
    graph = run_graph(PARENTS, {}, ["persistence"])
    assert [box.name for box in graph.boxes] == [
        *("P", "T", "Scored", "M", "T-M", "T-M-Tune", "persistence")
    ]
    assert [round((box.x - 1) / INDENT) for box in graph.boxes] == [0, 1, 2, 0, 1, 2, 0]
    assert [box.kind for box in graph.boxes] == ["trained"] * 6 + ["baseline"]
    gaps = [
        below.y - above.y - BOX for above, below in zip(graph.boxes, graph.boxes[1:], strict=False)
    ]
    assert gaps[:-1] == [GAP] * 5 and gaps[-1] > GAP


def test_an_arrow_leads_from_the_parent_to_the_child():
    boxes = {box.name: box for box in run_graph(PARENTS, {}, []).boxes}
    assert boxes["P"].arrow == boxes["M"].arrow == ""
    parent, child = boxes["M"], boxes["T-M"]
    path = re.fullmatch(r"M(\S+) (\S+) V(\S+) H(\S+)", child.arrow)
    assert path is not None
    x, y, down, right = map(float, path.groups())
    assert parent.x < x < parent.x + parent.width and y == parent.y + parent.height
    assert (down, right) == (child.y + child.height / 2, child.x - 2)


def test_edges_say_how_a_variant_came_about():
    edges = {"Scored": "scored again, the run of", "M": "searched, 20 trials"}
    boxes = {box.name: box for box in run_graph(PARENTS, edges, []).boxes}
    assert boxes["Scored"].text == "scored again, the run of T"
    assert boxes["M"].text == "searched, 20 trials"
    assert boxes["T"].text == "fine-tuned from P"
    assert boxes["P"].text == "from scratch"
    assert [name for name, box in boxes.items() if box.kind == "derived"] == ["Scored", "M"]


def test_a_variant_whose_parent_is_elsewhere_is_a_root():
    (box,) = run_graph({"T": "an older run"}, {}, []).boxes
    assert (box.x, box.arrow, box.text) == (1, "", "fine-tuned from an older run")


def test_everything_lies_within_the_drawing():
    graph = run_graph({**PARENTS, "A" * 60: "Scored"}, {}, ["last frame"])
    for box in graph.boxes:
        assert box.x >= 1 and box.x + box.width < graph.width
        assert box.y >= 1 and box.y + box.height < graph.height
    for one, other in combinations(graph.boxes, 2):
        assert abs(one.y - other.y) > BOX
    assert run_graph({}, {}, []).boxes == []
