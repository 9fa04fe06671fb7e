"""What a mistyped word may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

CLOSE = 0.6  # difflib's ratio of what two words share; its own default


def near(word: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates that are spelled much like a word, the nearest first; case does not count."""
    spelled: dict[str, str] = {}
    for candidate in candidates:
        spelled.setdefault(candidate.casefold(), candidate)
    return [spelled[text] for text in get_close_matches(word.casefold(), spelled, count, CLOSE)]


def did_you_mean(word: object, candidates: Iterable[str]) -> str:
    """``; did you mean a, b or c?``, or nothing if no candidate is near."""
    return question(near(word, candidates)) if isinstance(word, str) else ""


def question(words: list[str]) -> str:
    """``; did you mean a, b or c?`` of these words; nothing of none."""
    if not words:
        return ""
    *before, last = words
    return f"; did you mean {', '.join(before)} or {last}?" if before else f"; did you mean {last}?"
