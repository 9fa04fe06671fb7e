"""Data from other packages in the layouts of GLUE and ImageNet."""

from pathlib import Path

from nowcast.core.errors import ConfigError


def check_new(root: Path) -> None:
    """Raise ConfigError unless a folder is new or empty."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigError(f"{root}: expected a new or empty folder, found something there")
