"""YAML 1.2: each key once, numbers as the core schema spells them, and what is written is read."""

import pickle
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nowcast.core.storage.yaml_files import YamlError, dumps, loads, unread


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("010", 10),
        ("-08", -8),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5e3", 500.0),
        ("5.", 5.0),
        ("+.inf", float("inf")),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("-_", "-_"),
        ("2015-07-09", "2015-07-09"),
        ("=", "="),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("!!float 1", 1.0),
    ],
)
def test_a_scalar_is_what_the_core_schema_says(text: str, value: object):
    found = loads(f"key: {text}\n")["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: 7\nsteps: 20000\n", "line 2, column 1: the key steps is given twice.*line 1"),
        ("train: {}\noptim: {}\ntrain: {}\n", "line 3, column 1: the key train is given twice"),
        ("train: {seed: 1, seed: 2}", "line 1, column 18: the key seed is given twice"),
        ("'a': 1\na: 2", "line 2, column 1: the key a is given twice"),
        ("all: &all {x: 1}\none: {<<: *all, y: 1, y: 2}", "line 2, column 23: the key y"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", "line 4, column 3: the key << is given twice"),
        ("<<: 3", "line 1, column 5: expected sections to merge, found 3"),
        ("1: 2", "line 1, column 1: expected text for a key, found 1"),
        ("true: 2", "expected text for a key, found True"),
        ("[1]: 2", "expected text for a key"),
        ("a: !!int five", "line 1, column 4: expected a value of .*int, found 'five'"),
        ("a: !!python/name:os.system x", "expected no tag like"),
        ("a: !!set {x}", "expected no tag like"),
        ("%YAML 1.1\n---\nseed: 010", "expected YAML 1.2, found %YAML 1.1"),
        ("a: 1\n---\nb: 2", "line 2, column 1: expected a single document"),
        ("a: &a [*a]", "expected an alias of something else, found itself"),
        ("a: *b", "line 1, column 4: found undefined alias"),
        ("a: [1,\n", "line 2, column 1: .*expected the node content"),
        ("a: " + "9" * 5000, "line 1, column 4: Exceeds the limit"),
        ("[" * 1200, "fewer sections within sections"),
        (b"a: \xe9", "expected UTF-8 text, found 0xe9"),
        ("a: \x07", "expected UTF-8 text, found 0x07"),
    ],
)
def test_what_is_no_yaml_or_says_something_twice_is_refused_with_its_position(
    text: str | bytes, said: str
):
    with pytest.raises(YamlError, match=said):
        loads(text)


def test_merged_keys_give_way_to_a_sections_own_and_to_earlier_ones():
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 9}\nd: *a\n"
    found = loads(text)
    assert found["c"] == {"x": 9, "y": 1, "z": 2}
    assert found["d"] is found["a"]


def test_a_section_knows_its_lines_wherever_it_goes():
    found = loads("a:\n  b: 1\n  c:   [2]\n")
    for section in (found["a"], deepcopy(found)["a"], pickle.loads(pickle.dumps(found))["a"]):
        assert section.keys_at == {"b": (2, 3), "c": (3, 3)}
        assert section.values_at == {"b": (2, 6), "c": (3, 8)}
    found["a"].put("b", 5)
    assert found["a"] == {"b": 5, "c": [2]} and "b" not in found["a"].values_at


def test_a_comment_is_what_is_left_unread():
    assert [unread(text) for text in ("a b", "a #b", "'a #b'", "[1] # x", "", "#x")] == [
        *("", "#b", "", "# x", "", "")
    ]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["yes", "010", "1:30", "1e3", "2015-07-09", "=", "<<", "a: b", "x #y", "~"])
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), SCALARS | st.lists(SCALARS)))
def test_what_is_written_is_read(content: dict):
    def typed(value: object) -> object:
        return [typed(item) for item in value] if isinstance(value, list) else (type(value), value)

    found = loads(dumps(content))
    assert list(found) == list(content)
    assert [typed(value) for value in found.values()] == [
        typed(value) for value in content.values()
    ]


def test_what_version_1_1_would_take_for_something_else_is_quoted():
    text = dumps({"a": ["yes", "010", "1:30", "1_000", "2015-07-09"], "b": 1e-05, "c": "plain"})
    assert text == (
        "a:\n- 'yes'\n- '010'\n- '1:30'\n- '1_000'\n- '2015-07-09'\nb: 1.0e-05\nc: plain\n"
    )
