"""What `--cluster` says, as settings."""

from pathlib import Path

from nowcast.api import config as configs
from nowcast.core.errors import ConfigError
from nowcast.core.execution.cluster import ClusterSettings


def cluster_settings(spec: str | None) -> ClusterSettings | None:
    """An engine from what a command or call says; None is this machine.

    Args:
        spec: ``processes``, ``dask:ADDRESS``, ``submitit``, or the path of a YAML file.

    Raises:
        ConfigError: it is none of these, or the file's keys are wrong.
    """
    if spec is None or spec == "processes":
        return None
    engine, _, address = spec.partition(":")
    if engine == "dask" and address:
        return ClusterSettings(engine="dask", address=address)
    if spec == "submitit":
        return ClusterSettings(engine="submitit")
    path = Path(spec)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ConfigError(
            "--cluster: expected processes, dask:ADDRESS (e.g. dask:tcp://node1:8786), submitit or "
            f"the path of a YAML file, found {spec!r}"
        )
    return configs.validate(ClusterSettings, configs.read(path), spec)
