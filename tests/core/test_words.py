"""The core names no task's keys or words: a third party's task is as much at home in it as ours."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from tests import ROOT

# Not among them, since the core means something else by them: to clip a gradient, the frame of an
# interpreter's stack or of a film, TensorBoard's image, the forecast of any model.
# fmt: off
WORDS = {
    "precipitation", "rain", "rains", "rainy", "rainfall", "wet", "wettest", "radar",
    "radars", "echo", "echoes", "dbz", "reflectivity", "storm", "storms", "hko", "hko7", "mm_h",
    "mm/h", "clips", "lead", "leads", "lead_time", "nowcasts", "online", "persistence",
    "advection", "convgru", "trajgru", "convlstm", "lagrangian", "comoving", "csi", "hss",
    "fss", "b_mse", "b_mae", "glue", "bert", "tokenizer", "imagenet", "swin",
    "jpeg", "pixel", "pixels", "images", "top1", "top5", "vocabulary",
}
# fmt: on


def said(tree: ast.Module) -> Iterator[str]:
    """Identifiers and strings; docstrings are for people, and may give examples."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(text := getattr(node, field, None), str):
                yield text


def words_of(text: str) -> set[str]:
    """The text's words, and pairs of them joined by ``_``, in lower case."""
    parts = re.findall(r"[a-z0-9]+(?:/[a-z]+)?", text.lower())
    return {*parts, *(f"{one}_{other}" for one, other in pairwise(parts))}


def test_code_of_the_core_has_no_word_of_a_task():
    core = ROOT / "nowcast" / "core"
    found = {
        (path.relative_to(core).as_posix(), text[:60], *words_of(text) & WORDS)
        for path in core.rglob("*.py")
        for text in said(ast.parse(path.read_text()))
        if words_of(text) & WORDS
    }
    assert found == set()


def test_a_word_is_found_in_names_and_texts_but_not_in_docstrings():
    source = 'def clips_of(a):\n    """Rain."""\n    return a.lead_time, "by_online", "a clip"'
    texts = list(said(ast.parse(source)))
    assert [sorted(words_of(text) & WORDS) for text in texts if words_of(text) & WORDS] == [
        ["clips"],
        ["lead", "lead_time"],
        ["online"],
    ]
