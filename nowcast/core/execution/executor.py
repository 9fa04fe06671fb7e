"""The seam between work and what does it: submit what is ready, poll what is done, stop the rest.

Worker processes of this machine are one executor (`processes`), a cluster's engines the others
(`cluster`). Work is told where it is done and returns what can be pickled.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from nowcast.core.errors import NowcastError, RunError
from nowcast.core.storage.files import mendable
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted, stop_signals
from nowcast.core.training.task import Task

POLL_SECONDS = 0.2


@dataclass
class Place:
    """Where pieces of work are done, one after the other.

    Args:
        ranks: one of one; its local rank says which of the machine's GPUs is its own.
        task: of the work before, whose data the next one may share.
    """

    ranks: Ranks
    task: Task | None = None


@runtime_checkable
class Work(Protocol):
    """A piece of work that can be pickled."""

    @property
    def title(self) -> str:
        """For progress and messages."""
        ...

    def is_ready(self) -> bool:
        """Whether what it needs is there."""
        ...

    def do(self, place: Place) -> object:
        """Do it; once more after a stop or a kill goes on."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work: a result or an error."""

    result: Any = None
    error: NowcastError | None = None


@runtime_checkable
class Executor(Protocol):
    """Does work until the block ends; what is at work then is told to save and stop."""

    room: int
    """How many pieces of work it takes at once."""

    def __enter__(self) -> "Executor": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def submit(self, key: int, work: Work) -> None:
        """Begin a piece of work, or queue it."""
        ...

    def poll(self) -> Sequence[tuple[int, Outcome]]:
        """What has ended since the last time, by key."""
        ...


def carry_out(
    works: Sequence[Work], executor: Executor, look: Callable[[int], object] = lambda done: None
) -> list[Any]:
    """Do all work, each piece once it is ready. A failure ends no other piece but those that need
    it.

    Args:
        works: what is to be done.
        executor: does it.
        look: called now and then with how many pieces have ended well.

    Returns:
        of each piece its result.

    Raises:
        Interrupted: a signal came; what was at work is saved.
        RunError: pieces failed, or could not begin; told once all others are done.
    """
    waiting = dict(enumerate(works))
    running: set[int] = set()
    results: dict[int, Any] = {}
    failures: dict[int, NowcastError] = {}
    with executor, stop_signals() as stopping:
        while True:
            for key, work in list(waiting.items()):
                if len(running) < executor.room and work.is_ready():
                    executor.submit(key, waiting.pop(key))
                    running.add(key)
            if not running:
                break
            if stopping.is_set():
                raise Interrupted("stopped, all work saved; the same command goes on from there")
            for key, outcome in executor.poll():
                running.discard(key)
                if outcome.error is None:
                    results[key] = outcome.result
                else:
                    failures[key] = outcome.error
            look(len(results))
            time.sleep(POLL_SECONDS)
    if failures or waiting:
        titles = {works[key].title: error for key, error in failures.items()}
        raise failed(titles, [work.title for work in waiting.values()])
    return [results[key] for key in sorted(results)]


def failed(failures: dict[str, NowcastError], left: Sequence[str] = ()) -> RunError:
    """The error of work of which some pieces failed.

    Args:
        failures: title -> what it raised.
        left: titles of what needs the results of those.
    """
    told = "".join(f"\n{title}: {error}" for title, error in failures.items())
    waits = f"\nNot begun, since they start from one of them: {', '.join(left)}" if left else ""
    return RunError(
        f"{len(failures)} failed, and all that does not need it is done; mend what is told, and "
        f"the same command goes on{told}{waits}"
    )


def outcome_of(work: Work, place: Place) -> Outcome:
    """Do work, whatever it raises; an Interrupted, which was asked for, goes on."""
    try:
        return Outcome(work.do(place))
    except Interrupted:
        raise
    except NowcastError as error:
        return Outcome(error=error)
    except OSError as error:
        return Outcome(error=mendable(error) or _fault())
    except Exception:
        return Outcome(error=_fault())


def _fault() -> RunError:
    return RunError(f"a fault of the program:\n{traceback.format_exc()}")
