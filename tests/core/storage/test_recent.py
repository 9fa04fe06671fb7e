"""What was read last stays in memory, as far as it fits."""

import pytest

from nowcast.core.storage.recent import Recent


def test_the_oldest_go_first_and_what_was_asked_for_again_is_not_old():
    read: list[str] = []

    def reader(text: str):
        def read_it() -> bytes:
            read.append(text)
            return text.encode()

        return read_it

    recent: Recent[str, bytes] = Recent(4, len)
    for text in ("aa", "bb", "aa", "cc", "aa", "bb"):
        assert recent.get(text, reader(text)) == text.encode()
    assert read == ["aa", "bb", "cc", "bb"] and len(recent) == 2
    assert recent.get("longer than all", reader("longer than all"))
    assert len(recent) == 1  # at least one
    assert recent.get("longer than all", reader("x")) == b"longer than all"


def test_what_cannot_be_read_is_not_kept():
    recent: Recent[int, bytes] = Recent(4, len)

    def fails() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        recent.get(1, fails)
    assert len(recent) == 0 and recent.get(1, lambda: b"a") == b"a"
