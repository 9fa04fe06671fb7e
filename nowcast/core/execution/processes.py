"""What every worker process does that trains for a command."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nowcast.core.errors import NowcastError
from nowcast.core.storage.files import mendable
from nowcast.core.system.allocator import tune_process
from nowcast.core.system.signals import Interrupted
from nowcast.core.training.shared_memory import share_memory_with


def begin(threads: int, processes: int) -> None:
    """Get ready: so many threads, Ctrl-C is the parent's to answer, and none outlives it.

    Args:
        threads: of torch in this process.
        processes: side by side, this one among them.
    """
    share_memory_with(processes)
    tune_process()
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the loop answers it for as long as it trains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


@contextmanager
def failures_told(answers: Any) -> Iterator[None]:
    """Put what the block raises into a queue to the parent: a NowcastError as it is, anything else
    as text. An Interrupted, which the parent has asked for, goes on."""
    try:
        yield
    except Interrupted:
        raise
    except NowcastError as error:
        answers.put(error)
    except OSError as error:
        answers.put(mendable(error) or traceback.format_exc())
    except Exception:
        answers.put(traceback.format_exc())


def _end_with_parent() -> None:
    """In a worker process: where the command itself is killed, save and stop as it would have told
    this process to, so that the same command finds the run free."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
