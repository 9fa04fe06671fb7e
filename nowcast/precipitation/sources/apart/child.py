"""The decoding process: opens sources and reads their fields for its caller, within its limits.

It ends by itself when its caller is gone, when nobody asks for long, when it runs out of memory,
and, by an alarm of the system, when a file keeps it busy for longer than it may be.
"""

import contextlib
import json
import os
import select
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive.raw_files import kind_of
from nowcast.precipitation.sources.apart.wire import Message, field_json, request_of, send
from nowcast.precipitation.sources.field import Source
from nowcast.precipitation.sources.table import sources

IDLE_SECONDS = 900.0
MOST_OPEN = 4096  # sources; the oldest are forgotten, and opened again where they are asked for
LARGEST_FILE = 2**20  # bytes that it may write to one, which nothing here does


def serve(memory_bytes: int, seconds: float) -> None:
    """Answer what is asked on stdin until it ends.

    Args:
        memory_bytes: that it may take beside what it holds once everything is imported.
        seconds: that one question may take; the caller, who ends it sooner, may be gone.
    """
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    sys.stdout = sys.stderr
    warnings.simplefilter("ignore")
    _limit(memory_bytes)
    send(answers, {"ready": os.getpid()})
    opened: dict[int, Source] = {}
    while True:
        if os.name != "nt" and not select.select([asked], [], [], IDLE_SECONDS)[0]:
            return
        line = asked.readline()
        if not line:
            return
        message = json.loads(line)
        with _alarm(seconds * message["patience"]):
            if not _answer(message, opened, answers):
                return


def _answer(message: Message, opened: dict[int, Source], answers: BinaryIO) -> bool:
    """Whether it may go on: not after memory has run out."""
    try:
        os.chdir(message["folder"])
        found, arrays = _found(message, opened)
    except NowcastError as error:
        kind = "config" if isinstance(error, ConfigError) else "data"
        send(answers, {"error": kind, "text": str(error)})
        return not isinstance(error.__cause__, MemoryError)
    except Exception as error:  # of libraries and importers that are not ours
        said = f"{type(error).__name__}: {error}"
        text = f"{message['path']}: it cannot be read ({said}); it is damaged: fetch it again"
        send(answers, {"error": "data", "text": text})
        return not isinstance(error, MemoryError)
    send(answers, found, arrays)
    return True


def _found(
    message: Message, opened: dict[int, Source]
) -> tuple[Message, list["np.ndarray[Any, Any]"]]:
    match message["do"]:
        case "recognise":
            label, how, name = kind_of(Path(message["path"]))
            if name is None:
                raise DataError(f"{message['path']}: expected radar, found {label}; {how}")
            return {"importer": name}, []
        case "open":
            request = request_of(message["request"])
            held = sources(message["importer"], Path(message["path"]), request)
            stated, times = [], []
            for source in held:
                key = max(opened, default=0) + 1
                opened[key] = source
                stated.append(
                    {
                        "key": key,
                        "name": source.name,
                        "where": [source.where(position) for position in range(len(source))],
                        "notes": source.notes,
                        "step": source.stated_step,
                    }
                )
                times.append(source.times.astype("datetime64[m]").astype(np.int64))
            for key in sorted(opened)[: max(0, len(opened) - MOST_OPEN)]:
                del opened[key]
            return {"sources": stated}, times
        case "read":
            if message["key"] not in opened:
                return {"forgotten": True}, []
            field = opened[message["key"]].read(message["position"])
            values = np.asarray(field.values)
            if values.dtype.kind not in "iuf":
                raise DataError(f"{message['path']}: expected numbers, found {values.dtype}")
            return {"field": field_json(field)}, [values.astype(np.result_type(values, np.float32))]
    raise AssertionError(message["do"])


def _limit(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has none
        return
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory_bytes,) * 2)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _alarm(seconds: float) -> Any:
    """The system ends this process after so many seconds, in whatever code it is."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
