"""JSON that someone may have edited: each key once, and under it what belongs there."""

import json
import math
from typing import Any

_WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list of lines",
    dict: "an object with keys",
}


def parsed(text: str) -> object:
    """The content of a JSON text; raises ValueError where it is none or a key stands twice."""
    content: object = json.loads(text, object_pairs_hook=_each_key_once)
    return content


def typed(
    content: object, kinds: dict[str, type], needed: set[str], place: str = ""
) -> dict[str, Any]:
    """What a JSON object holds, with whole numbers as floats where floats belong.

    Args:
        content: as it was parsed.
        kinds: what each key holds: str, int, float, list or dict.
        needed: keys that must be there; a null elsewhere is left out.
        place: to name before the key in a message.

    Raises:
        TypeError: no object, or a value of another kind.
        ValueError: a key is missing or unknown.
    """
    if not isinstance(content, dict):
        raise TypeError(f"{place}expected an object with keys, found {type(content).__name__}")
    if not needed <= set(content) <= set(kinds):
        raise ValueError(
            f"{place}expected the keys {', '.join(sorted(needed))}; "
            f"missing {sorted(needed - set(content))}, unknown {sorted(set(content) - set(kinds))}"
        )
    held = {}
    for key, value in content.items():
        kind = kinds[key]
        if value is None and key not in needed:
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or isinstance(value, bool):  # True is an int to Python
            raise TypeError(f"{place}{key}: expected {_WORDS[kind]}, found {value!r:.40}")
        held[key] = _float(value) if kind is float else value
    return held


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number larger than any float
        return math.inf


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key}: expected this key once, found it twice")
        found[key] = value
    return found
