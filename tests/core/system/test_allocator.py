"""Freed memory stays with the process: touching it again is no page fault."""

import gc
import platform
import subprocess
import sys

import pytest

from nowcast.core.system.allocator import keep_freed_memory, uncollected

SCRIPT = """
import resource, sys
from nowcast.core.system.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    for place in range(0, len(block), 4096):
        block[place] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(4)][-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this is not glibc")
def test_the_fourth_block_comes_from_what_the_third_left():
    def last(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert last("keep") < 1000 < 16_000 < last("leave")


def test_a_user_s_own_setting_stands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert keep_freed_memory() is False


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False


def test_nothing_is_collected_while_torch_is_imported(monkeypatch: pytest.MonkeyPatch):
    before = gc.get_freeze_count()
    monkeypatch.setitem(sys.modules, "torch", sys)  # anything: the process is under way
    with uncollected():
        assert gc.isenabled()
    monkeypatch.delitem(sys.modules, "torch")
    try:
        with pytest.raises(ImportError), uncollected():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
