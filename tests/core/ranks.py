"""Several gloo ranks on this machine, forked from one process that has imported torch for all."""

import multiprocessing
import os
import socket
import traceback
import warnings
import weakref
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist

from nowcast.core.errors import NowcastError
from nowcast.core.system.distributed import joined

PATIENCE = timedelta(seconds=60)

_context = multiprocessing.get_context("forkserver")


def in_ranks(
    size: int, work: Callable[..., Any], *args: object, timeout: timedelta = PATIENCE
) -> list[Any]:
    """Call ``work(ranks, *args)`` in each of `size` processes.

    Args:
        size: how many.
        work: of a module's top level.
        args: the same for all.
        timeout: of the process group.

    Returns:
        of each rank what it returned, or the NowcastError that it raised, or None if it died.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    answers, processes = [], []
    for rank in range(size):
        answer, far_end = _context.Pipe(duplex=False)
        mine = place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = _context.Process(target=_rank, args=(far_end, mine, timeout, work, args))
        process.start()
        far_end.close()
        answers.append(answer)
        processes.append(process)
    try:
        return [_received(answer) for answer in answers]
    finally:
        for process in processes:
            process.join(1)
            process.kill()  # a rank that was stopped, or that still waits for one
            process.join()
        assert all(process.exitcode in (0, -9) for process in processes)


def _received(answer: Connection) -> Any:
    assert wait([answer], timeout=2 * PATIENCE.total_seconds()), "a rank hangs"
    try:
        found = answer.recv()
    except EOFError:
        return None
    assert not isinstance(found, str) or not found.startswith("Traceback"), found
    return found


def _rank(
    answer: Connection,
    place: dict[str, str],
    timeout: timedelta,
    work: Callable[..., Any],
    args: tuple[object, ...],
) -> None:
    os.environ.update(place)
    torch.set_num_threads(1)
    warnings.simplefilter("error", FutureWarning)
    groups: list[Callable[[], Any]] = []
    try:
        with joined(timeout) as ranks:
            groups.append(weakref.ref(dist.group.WORLD))
            found = work(ranks, *args)
    except NowcastError as error:
        found = error
    except BaseException:
        found = traceback.format_exc()
    # Threads of a group that lives on abort the process at its end, now and then.
    if any(group() is not None for group in groups):
        found = "Traceback: the process group outlives what joined it"
    answer.send(found)
