"""A run's folder: its resolved config, checkpoints, history and event files, under fixed names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nowcast.core.errors import ConfigError
from nowcast.core.files import write_json, write_text

# Keys that say how a run is computed, watched and later evaluated, not what comes out of it.
INCIDENTAL = {
    ("online",),
    ("train", "workers"),
    ("train", "device"),
    ("train", "log_every"),
    ("data", "cache_mb"),
    ("memel", "monitor"),
}


@dataclass(frozen=True)
class Run:
    """The folder of one training run.

    Args:
        folder: where it lies; made by `claim`.
    """

    folder: Path

    @property
    def config_file(self) -> Path:
        """The resolved config."""
        return self.folder / "config.yaml"

    @property
    def best_weights(self) -> Path:
        """Weights of the best validation (safetensors)."""
        return self.folder / "best.safetensors"

    @property
    def last_state(self) -> Path:
        """All that is needed to go on."""
        return self.folder / "last.pt"

    @property
    def history_file(self) -> Path:
        """One JSON object a line: losses and validation scores by step."""
        return self.folder / "history.jsonl"

    @property
    def result_file(self) -> Path:
        """What came out; there once the run has finished."""
        return self.folder / "result.json"

    @property
    def is_finished(self) -> bool:
        """True once all steps are done and the result is written."""
        return self.result_file.is_file()

    def config(self) -> dict[str, Any]:
        """The resolved config of the run.

        Raises:
            ConfigError: this is no run folder.
        """
        try:
            content = yaml.safe_load(self.config_file.read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigError(
                f"{self.folder}: expected a run folder with config.yaml, found none; give the "
                "--run folder of `nowcast train`"
            ) from error
        return dict(content)

    def claim(self, config: Mapping[str, Any]) -> None:
        """Make the folder for this config, or accept it if it already holds a run of the same.

        Raises:
            ConfigError: it holds a run of another config (the differing keys are named), or
                something that is no run.
        """
        if self.config_file.is_file():
            differing = _differences(self.config(), config)
            if differing:
                raise ConfigError(
                    f"{self.folder}: holds a run of another config; differing: "
                    f"{'; '.join(differing)}. Choose another folder, or remove this one"
                )
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ConfigError(
                f"{self.folder}: holds something that is no run; choose another folder"
            )
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_text(self.config_file, text)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, which marks the run as finished."""
        write_json(self.result_file, result)

    def result(self) -> dict[str, Any]:
        """What `finish` wrote."""
        return dict(json.loads(self.result_file.read_text()))

    def history(self) -> list[dict[str, Any]]:
        """The history's entries in the order of steps; a line that is still written is left out."""
        if not self.history_file.is_file():
            return []
        whole, _, _ = self.history_file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], *above: str) -> list[str]:
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        path = (*above, key)
        if path in INCIDENTAL:
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, *path)
        elif before != after:
            found.append(f"{'.'.join(path)} {before!r} there, {after!r} now")
    return found
