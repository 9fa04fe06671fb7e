"""What counts as other code: what can change a result, and no word beyond it."""

import ast
import random
import re
from pathlib import Path

import pytest

import nowcast
from nowcast.core.storage.fingerprint import significant
from nowcast.core.storage.origin import hash_of_sources

PACKAGE = Path(nowcast.__file__).parent

PYTHON = '''
"""What it does."""
X = {"a": 1, "b": 10_000}  # a comment

class A:
    """A class."""
    field: int = 3
    """Its field."""

    def twice(self, value: float, /, *, by: int = 2) -> str:
        """Twice."""
        if value is None: return "# no comment"
        return f"{value * by!r:>{by}} " "joined"
'''
SAME_PYTHON = '''
"""Another
docstring."""
# Comments, parentheses, quotes, trailing commas and broken lines are layout.
X = {
    'a': 1,
    "b": (10000),
}


class A:
    # none here
    field: int = 3

    def twice(
        self, value: float, /, *,
        by: int = 2,
    ) -> str:
        """Twice as much,
        in words."""
        if value is None:
            return "# no comment"
        return (f"{value * by!r:>{by}} joined")
'''
OTHER_PYTHON = [
    ("by: int = 2", "by: int = 3"),
    ("10_000", "1_000"),
    ('"# no comment"', '"# a comment"'),
    ("value is None", "value is not None"),
    ("field: int = 3", "field: float = 3"),
    ("value * by", "by * value"),
    ("value: float, /, *,", "value: float, *,"),
    ("class A:", "class A(object):"),
    ("field: int = 3", "field: int = 3.0"),
    ('"""What it does."""', '"""What it does."""\nfrom __future__ import annotations'),
]

C = r"""
/* What it does. */
#define TWICE(x) (2 * (x)) // a macro
static float f(float a, float b)
{
    const char *text = "/* no comment */ // none";
    return a + +b * 1.5e-3f; /* product */
}
"""
SAME_C = r"""
#define  TWICE(x)  (2 * (x))
static float f(float a,float b){ // in one line
    const char*text="/* no comment */ // none";
    return a/* between */+ +b*1.5e-3f;
}
"""
OTHER_C = [
    ("/* no comment */ // none", "/* a comment */ // none"),
    ("1.5e-3f", "1.5e-3"),
    ("1.5e-3f", "1.5e+3f"),
    ("a + +b", "a++ b"),
    ("float a", "floata"),
    ("TWICE(x) (2", "TWICE (x) (2"),
    ("static float f", "inline float f"),
]


def of(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text)
    return significant(path)


def test_words_and_layout_do_not_count(tmp_path: Path):
    assert of(tmp_path, "a.py", PYTHON) == of(tmp_path, "b.py", SAME_PYTHON)
    assert of(tmp_path, "a.c", C) == of(tmp_path, "b.c", SAME_C)


@pytest.mark.parametrize(("old", "new"), OTHER_PYTHON)
def test_what_python_does_counts(tmp_path: Path, old: str, new: str):
    changed = PYTHON.replace(old, new)
    assert changed != PYTHON
    ast.parse(changed)
    assert of(tmp_path, "a.py", changed) != of(tmp_path, "b.py", PYTHON)


@pytest.mark.parametrize(("old", "new"), OTHER_C)
def test_what_c_does_counts(tmp_path: Path, old: str, new: str):
    assert C.replace(old, new) != C
    assert of(tmp_path, "a.c", C.replace(old, new)) != of(tmp_path, "b.c", C)


def test_every_source_of_ours_may_be_laid_out_anew(tmp_path: Path):
    for path in PACKAGE.rglob("*.py"):
        plain = ast.unparse(ast.parse(path.read_text()))  # has lost comments and layout
        assert of(tmp_path, "plain.py", plain) == significant(path), path
    rng = random.Random(0)
    for path in PACKAGE.rglob("*.c"):
        lines = path.read_text().splitlines()
        # Within a comment of ours or a directive's macro, one more comment would end it.
        safe = [re.sub(r"(;|\{|\})$", r"\1 /* new words */", line) for line in lines]
        assert safe != lines
        indented = "\n".join(" " * rng.randrange(4) + line for line in safe)
        assert of(tmp_path, "plain.c", indented) == significant(path), path


def test_names_of_files_and_new_files_count(tmp_path: Path):
    (tmp_path / "one.py").write_text("X = 1\n")
    before = hash_of_sources(tmp_path)
    (tmp_path / "one.pyi").write_text("X: int\n")
    (tmp_path / "notes.md").write_text("words\n")
    assert hash_of_sources(tmp_path) == before
    (tmp_path / "two.py").write_text("")
    more = hash_of_sources(tmp_path)
    (tmp_path / "two.py").rename(tmp_path / "three.py")
    assert len({before, more, hash_of_sources(tmp_path)}) == 3
