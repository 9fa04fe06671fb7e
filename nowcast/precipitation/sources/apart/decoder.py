"""Opens sources and reads their fields in a process apart, and looks after that process.

A file that crashes it, keeps it busy or wants all memory is a `DecodingError` that names the file
and what happened; the process is started again for the next one. `DECODER` is the one that serves
the conversions and forecasts of this process in turn.
"""

import atexit
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError, RunError
from nowcast.precipitation.sources.apart.wire import (
    LONGEST_LINE,
    Message,
    WireError,
    field_of,
    header,
    moments,
    request_json,
)
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.sources.table import importer

MEMORY_BYTES = 3 * 2**30  # a frame of 2**26 pixels takes 2 GiB to decode; a bomb wants more
SECONDS = 60.0  # that one file may take; the largest composites take 2
START_SECONDS = 120.0
FILES_A_TURN = 200  # a folder that is opened at once may take `SECONDS` for so many files
TAIL_BYTES = 400  # of what a lost process wrote on stderr, for the message
BOOT = (
    "import json, sys; memory, seconds, sys.path[:] = json.loads(sys.argv[1]); "
    "from nowcast.precipitation.sources.apart.child import serve; serve(memory, seconds)"
)

Answer = tuple[Message, list[NDArray[Any]]]


class DecodingError(DataError):
    """A file that the decoding process did not survive, or could not read within its limits."""


class _LostError(Exception):
    """The process is gone, or had to be ended; the text says why."""


class _EndedError(_LostError):
    """It ended by itself before it was asked; no file is to blame."""


class Decoder:
    """Reads sources in one process apart, which is started when it is first needed.

    Args:
        memory_bytes: that it may take beside its own code, where the system has such limits.
        seconds: that one file may take.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS) -> None:
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._child: _Child | None = None
        self._lock = threading.RLock()
        self._abandoned: list[_Child] = []  # of the process that this one was forked from
        self.started = 0  # processes so far

    def start(self) -> None:
        """Start the process, if none runs: it imports what it needs while its caller goes on."""
        with self._lock:
            child = self._child
            if child is not None and child.owner != os.getpid():
                self._abandoned.append(child)
                self._child = child = None
            if child is None or child.path != sys.path or child.process.poll() is not None:
                self.close()
                self._child = _Child(self._memory_bytes, self._seconds)
                self.started += 1

    def close(self) -> None:
        """End the process, if one runs."""
        with self._lock:
            if self._child is not None and self._child.owner == os.getpid():
                self._child.end()
            self._child = None

    def recognised(self, path: Path) -> str:
        """The importer for a file, by its content; `raw_files.PACK` for a packed archive.

        Raises:
            DataError: it is none of those known, or cannot be read; it says what to do.
        """
        found, _ = self._ask({"do": "recognise", "path": str(path)})
        return str(found.get("importer"))

    def sources(self, name: str, path: Path, request: Request) -> list[Source]:
        """As `table.sources`, whose fields are read in the process apart, too.

        Raises:
            ConfigError, DataError: as `table.sources`.
            DecodingError: a file broke the process; it is named.
        """
        ask = {"do": "open", "importer": name, "path": str(path), "request": request_json(request)}
        chosen = importer(name)
        files = chosen.files(path) if chosen.files is not None and path.is_dir() else [path]
        patience = 1 + len(files) / FILES_A_TURN
        try:
            found, times = self._ask(ask, patience)
        except DecodingError:
            for file in files if len(files) > 1 else ():  # which of them is it?
                with suppress(ConfigError), _but(DecodingError):
                    self._ask({**ask, "path": str(file)})
            raise
        return [
            _Opened(self, ask, patience, number, stated, minutes).source()
            for number, (stated, minutes) in enumerate(zip(found["sources"], times, strict=True))
        ]

    def _ask(self, message: Message, patience: float = 1.0) -> Answer:
        message = {**message, "folder": str(Path.cwd()), "patience": patience}
        with self._lock:
            try:
                self.start()
                try:
                    found, arrays = self._exchange(message, patience)
                except _EndedError:  # it was idle, or out of memory after its last answer
                    self.start()
                    found, arrays = self._exchange(message, patience)
            except (_LostError, WireError) as error:
                self.close()
                raise DecodingError(
                    f"{message['path']}: expected a file that can be read, found one that breaks "
                    f"what reads it ({error}); it is damaged or hostile: remove it, or fetch it "
                    "again"
                ) from error
            except BaseException:
                self.close()  # an answer may be on its way
                raise
        if "error" in found:
            kind = ConfigError if found["error"] == "config" else DataError
            raise kind(str(found.get("text")))
        return found, arrays

    def _exchange(self, message: Message, patience: float) -> Answer:
        assert self._child is not None
        return self._child.exchange(message, self._seconds * patience)


class _Child:
    """A running process."""

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self.path = list(sys.path)
        self.owner = os.getpid()
        self._ready = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed by `end`
        limits = json.dumps([memory_bytes, 2 * seconds, self.path])
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT, limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **one_thread},
            start_new_session=True,  # Ctrl-C is its caller's
        )
        assert isinstance(self.process.stdout, io.BufferedReader)
        self._answers = self.process.stdout

    def exchange(self, message: Message, seconds: float) -> Answer:
        """Ask, and wait for the answer for so long."""
        if not self._ready:
            try:
                self._answer(START_SECONDS)
            except (_LostError, WireError) as error:
                raise RunError(
                    f"expected a process that decodes files, found that it does not start "
                    f"({error}); is there memory for it, and does `python -c 'import nowcast'` run?"
                ) from error
            self._ready = True
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise _EndedError("it had ended") from error
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Answer:
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            line = self._answers.readline(LONGEST_LINE)
            if not line.endswith(b"\n"):
                raise self._lost(line, late, seconds)
            message, shapes = header(line)
            arrays = []
            for dtype, shape in shapes:
                array = np.empty(shape, dtype)
                plain: Any = array.reshape(-1).view(np.uint8)
                if array.size and self._answers.readinto(plain) < array.nbytes:
                    raise self._lost(line, late, seconds)
                arrays.append(array)
            return message, arrays
        finally:
            timer.cancel()

    def _lost(self, line: bytes, late: threading.Event, seconds: float) -> _LostError:
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            return _LostError("its answer broke off")
        if late.is_set() or code == -getattr(signal, "SIGALRM", 0):
            return _LostError(f"not done after {seconds:g} s")
        if code == 0:
            return _LostError("its answer broke off") if line else _EndedError("it had ended")
        if code < 0:
            with suppress(ValueError):
                return _LostError(f"it crashed with {signal.Signals(-code).name}")
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - TAIL_BYTES))
        tail = " ".join(self._said.read(TAIL_BYTES).decode(errors="replace").split())
        return _LostError(f"it ended with status {code}: {tail}")

    def end(self) -> None:
        """Kill it, and leave nothing behind."""
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self._answers, self._said):
            if file is not None:
                with suppress(OSError):  # what was not written any more
                    file.close()


class _Opened:
    """A source in the process apart; opened again where that was started again."""

    def __init__(
        self,
        decoder: Decoder,
        ask: Message,
        patience: float,
        number: int,
        stated: Message,
        minutes: NDArray[Any],
    ) -> None:
        self._decoder, self._ask, self._patience, self._number = decoder, ask, patience, number
        self._stated, self._times = stated, moments(minutes)
        self._key, self._started = stated["key"], decoder.started

    def source(self) -> Source:
        stated = self._stated
        where: Sequence[str] = [str(name) for name in stated["where"]]
        return Source(
            str(stated["name"]),
            self._times,
            self._read,
            where.__getitem__,
            tuple(map(str, stated["notes"])),
            None if stated["step"] is None else int(stated["step"]),
        )

    def _read(self, position: int) -> Field:
        for _ in range(2):
            if self._started == self._decoder.started:
                path = str(self._stated["where"][position])
                asked = {"do": "read", "key": self._key, "position": position, "path": path}
                found, arrays = self._decoder._ask(asked)
                if "field" in found:
                    return field_of(found["field"], arrays)
            self._open_again()
        raise DataError(f"{self._ask['path']}: it cannot be opened again; try once more")

    def _open_again(self) -> None:
        found, times = self._decoder._ask(self._ask, self._patience)
        stated = found["sources"]
        if len(stated) <= self._number or not np.array_equal(
            moments(times[self._number]), self._times
        ):
            raise DataError(f"{self._ask['path']}: it changed while it was read; try again")
        self._key, self._started = stated[self._number]["key"], self._decoder.started


@contextmanager
def _but(kind: type[DataError]) -> Iterator[None]:
    """Suppress errors of data of every kind but one."""
    try:
        yield
    except DataError as error:
        if isinstance(error, kind):
            raise


DECODER = Decoder()
atexit.register(DECODER.close)
