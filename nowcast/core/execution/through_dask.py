"""Work through dask: on workers of a scheduler that runs, or that dask-jobqueue starts in a queue.

A worker that dies gives its work back, and dask gives it to another, which goes on.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from uuid import uuid4

from distributed import Client, Event, Future, get_worker, wait

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.execution.child import Child, in_child, packed
from nowcast.core.execution.cluster import ClusterSettings
from nowcast.core.execution.executor import Outcome, Work

GPU = "GPU"  # the resource that workers offer
CONNECT_SECONDS = 30
SAVING_SECONDS = 600  # in which work must have saved once it is told to


class ThroughDask:
    """An `Executor` of dask's workers.

    Args:
        cluster: the scheduler, and what work takes.
        room: how many pieces of work are handed over at once.
    """

    def __init__(self, cluster: ClusterSettings, room: int) -> None:
        self.room = room
        self._cluster = cluster
        self._futures: dict[int, Future[Outcome]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "ThroughDask":
        with ExitStack() as stack:
            address = self._cluster.address or self._started(stack)
            try:
                self._client = stack.enter_context(Client(address, timeout=CONNECT_SECONDS))
            except OSError as error:
                raise ConfigError(
                    f"--cluster: expected dask's scheduler at {address}, found none ({error}); "
                    "start `dask scheduler` there, or mend the address"
                ) from error
            self._stopping = Event(f"nowcast-{uuid4()}", client=self._client)
            self._resources = self._asked_of_workers()
            self._stack = stack.pop_all()
        return self

    def _started(self, stack: ExitStack) -> str:
        """The address of a scheduler whose workers wait in a queue."""
        import dask_jobqueue  # which changes what SIGINT does

        assert self._cluster.jobqueue is not None
        kind = getattr(dask_jobqueue, self._cluster.jobqueue, None)
        if kind is None:
            raise ConfigError(
                "--cluster: jobqueue: expected a class of dask-jobqueue, e.g. SLURMCluster, found "
                f"{self._cluster.jobqueue!r}"
            )
        queue = stack.enter_context(kind(**self._cluster.given))
        queue.scale(self._cluster.workers)
        return str(queue.scheduler_address)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell work to save and stop, wait until it has, and let go of the workers."""
        with self._stack:
            if self._futures:
                self._stopping.set()
                begun = {key for keys in self._client.processing().values() for key in keys}
                futures = self._futures.values()
                self._client.cancel([one for one in futures if one.key not in begun])
                with suppress(TimeoutError):
                    wait([one for one in futures if one.key in begun], timeout=SAVING_SECONDS)
        self._futures.clear()

    def submit(self, key: int, work: Work) -> None:
        """See `Executor`."""
        self._futures[key] = self._client.submit(
            _do,
            packed(work),
            self._cluster.threads,
            self._stopping.name,
            key=f"{work.title}-{uuid4()}",
            pure=False,
            resources=self._resources,
        )

    def poll(self) -> Sequence[tuple[int, Outcome]]:
        """See `Executor`."""
        ended = {key: future for key, future in self._futures.items() if future.done()}
        for key in ended:
            del self._futures[key]
        return [(key, _outcome(future)) for key, future in ended.items()]

    def _asked_of_workers(self) -> dict[str, float]:
        gpus = self._cluster.gpus
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        offered = any(worker["resources"].get(GPU) for worker in workers)
        if gpus and workers and not offered:
            raise ConfigError(
                f"--cluster: gpus: {gpus} were asked for each piece of work, and no worker offers "
                f'any; start workers with `dask worker --resources "{GPU}=1"`, or set gpus: 0'
            )
        if gpus is None:
            gpus = 1 if offered else 0
        return {GPU: float(gpus)} if gpus else {}


def _outcome(future: "Future[Outcome]") -> Outcome:
    if future.status == "finished":
        outcome = future.result()
        assert isinstance(outcome, Outcome)
        return outcome
    cause = future.exception() if future.status == "error" else future.status
    return Outcome(error=RunError(f"dask gave it up ({cause}); the same command goes on"))


def _do(payload: bytes, threads: int | None, stopping: str) -> Outcome:
    """What a worker does, in one of its threads."""
    worker = get_worker()
    told = Event(stopping)
    task = worker.get_current_task()

    def should_stop() -> bool:
        # Where the command itself was killed, the scheduler takes the work back from its workers.
        state = worker.state.tasks.get(task)
        return state is None or state.state == "cancelled" or bool(told.is_set())

    if should_stop():
        return Outcome(error=RunError("stopped before it began; the same command goes on"))
    return in_child(Child(payload, threads or 0), should_stop)
