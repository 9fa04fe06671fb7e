"""What a user says of an engine that runs on a cluster: dask's workers, a batch system's jobs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nowcast.core.settings import Count, Section


class ClusterSettings(Section):
    """An engine that runs on a cluster, and what each piece of work takes of it."""

    engine: Literal["dask", "submitit"]
    """dask: workers of a scheduler, or that dask-jobqueue starts; submitit: a job of Slurm each."""
    address: str | None = None
    """Of dask's scheduler, e.g. tcp://node1:8786."""
    jobqueue: str | None = None
    """Instead of an address: a class of dask-jobqueue, e.g. SLURMCluster or PBSCluster."""
    workers: Count = 1
    """Of the jobqueue: how many are started."""
    where: Literal["slurm", "local"] | None = None
    """Of submitit: local tries it on this machine; null: Slurm where there is one."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """For the class of dask-jobqueue, or submitit's update_parameters, e.g. slurm_partition."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """Of each piece of work; null: one, with dask where its workers offer the resource GPU."""
    threads: Count | None = None
    """Of torch in each; null: all processors that it may use."""

    @property
    def given(self) -> dict[str, Any]:
        """`options` as a config file has them: with lists, which settings keep as tuples."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.options.items()
        }

    @model_validator(mode="after")
    def _fits(self) -> "ClusterSettings":
        if self.engine == "dask" and (self.address is None) == (self.jobqueue is None):
            raise ValueError("dask: expected address or jobqueue, and not both")
        if self.engine == "submitit" and (self.address or self.jobqueue):
            raise ValueError("submitit: address and jobqueue are dask's; leave them out")
        return self
