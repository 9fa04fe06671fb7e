"""A run graph shows each variant once, below what it comes from."""

from collections.abc import Iterator, Sequence

from nowcast.core.report.run_graph import Box, run_graph

PARENTS = {"P": None, "M": None, "T": "P", "T-M": "M", "T-M-Tune": "T-M", "Scored": "T"}


def walk(boxes: Sequence[Box], depth: int = 0) -> Iterator[tuple[int, Box]]:
    for box in boxes:
        yield depth, box
        yield from walk(box.children, depth + 1)


def test_children_stand_below_their_parent_and_baselines_last():
    graph = list(walk(run_graph(PARENTS, {}, ["persistence"])))
    assert [(depth, box.name) for depth, box in graph] == [
        *((0, "P"), (1, "T"), (2, "Scored"), (0, "M"), (1, "T-M"), (2, "T-M-Tune")),
        (0, "persistence"),
    ]
    assert [box.kind for _, box in graph] == ["trained"] * 6 + ["baseline"]
    assert run_graph({}, {}, []) == []


def test_edges_say_how_a_variant_came_about():
    edges = {"Scored": "scored again, the run of", "M": "searched, 20 trials"}
    boxes = {box.name: box for _, box in walk(run_graph(PARENTS, edges, []))}
    assert boxes["Scored"].text == "scored again, the run of T"
    assert boxes["M"].text == "searched, 20 trials"
    assert boxes["T"].text == "fine-tuned from P"
    assert boxes["P"].text == "from scratch"
    assert [name for name, box in boxes.items() if box.kind == "derived"] == ["Scored", "M"]


def test_a_variant_whose_parent_is_elsewhere_is_a_root():
    (box,) = run_graph({"T": "an older run"}, {}, [])
    assert (box.children, box.text) == ([], "fine-tuned from an older run")
