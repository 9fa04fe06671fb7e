"""Which executor does work: processes of this machine, dask's workers, a batch system's jobs."""

from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.execution.cluster import ClusterSettings
from nowcast.core.execution.executor import Executor
from nowcast.core.execution.processes import Processes

UNLIMITED = 10_000  # pieces of work: what a batch system may queue


def executor_of(cluster: ClusterSettings | None, jobs: int | None, folder: Path) -> Executor | None:
    """What does work; None where that is the caller's own process.

    Args:
        cluster: an engine; None is this machine.
        jobs: how many pieces at once; None: one on this machine, on a cluster what it has room for.
        folder: for what an engine writes, which its machines share.

    Raises:
        ConfigError: the engine is not installed.
    """
    if cluster is None:
        return None if jobs in (None, 1) else Processes(jobs or 1)
    room = jobs or UNLIMITED
    try:
        if cluster.engine == "dask":
            from nowcast.core.execution.through_dask import ThroughDask

            return ThroughDask(cluster, room)
        from nowcast.core.execution.through_submitit import ThroughSubmitit

        return ThroughSubmitit(cluster, room, folder)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--cluster: {cluster.engine} needs the package {error.name}, which is not installed; "
            'install it with `pip install "memel-nowcast[cluster]"`'
        ) from error
