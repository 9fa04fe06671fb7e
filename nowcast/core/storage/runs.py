"""A run's folder: its resolved config, checkpoints, history and event files, under fixed names."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.files import write_json, write_text
from nowcast.core.storage.near_runs import meant_run
from nowcast.core.storage.origin import Origin, check_format, origin
from nowcast.core.storage.yaml_files import YamlError, dumps, loads

BY_BYTES = "bytes"  # the code's hash of runs that do not say what it is of


class RunTaken(RunError):
    """A run that another process is training (exit status 1)."""


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
    def origin_file(self) -> Path:
        """Hashes and versions of what it was made by and from."""
        return self.folder / "origin.json"

    @property
    def best_weights(self) -> Path:
        """Weights of the best validation (safetensors)."""
        return self.folder / "best.safetensors"

    @property
    def last_state(self) -> Path:
        """All that is needed to go on."""
        return self.folder / "last.pt"

    @property
    def failed_state(self) -> Path:
        """The state in which a run failed, to look into; never gone on from."""
        return self.folder / "failed.pt"

    @property
    def history_file(self) -> Path:
        """One JSON object a line: losses and validation scores by step."""
        return self.folder / "history.jsonl"

    @property
    def result_file(self) -> Path:
        """What came out; there once the run has finished."""
        return self.folder / "result.json"

    @property
    def trained_on_file(self) -> Path:
        """What data the run saw, as its task says it."""
        return self.folder / "trained_on.json"

    @property
    def is_finished(self) -> bool:
        """True once all steps are done and the result is written."""
        return self.result_file.is_file()

    def config(self) -> dict[str, Any]:
        """The resolved config of the run.

        Raises:
            ConfigError: this is no run folder, or one of a newer nowcast.
        """
        check_format(self.folder, self.origin())
        try:
            content = loads(self.config_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigError(
                f"{self.folder}: expected a run folder with config.yaml, found none; give the "
                f"--run folder of `nowcast train`{meant_run(self.folder)}"
            ) from error
        except YamlError as error:
            raise ConfigError(f"{self.config_file}: damaged, not valid YAML: {error}") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{self.config_file}: damaged, expected keys, found {content!r:.40}")
        return content

    def origin(self) -> dict[str, Any]:
        """What the run was made by and from, see `Origin`; empty where nothing says so."""
        try:
            return dict(json.loads(self.origin_file.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError as error:
            raise ConfigError(
                f"{self.origin_file}: expected what the run was made from as JSON, found something "
                f"else ({error}); choose another folder"
            ) from error

    def claim(
        self,
        config: Mapping[str, Any],
        data: str,
        accept_code: bool = False,
        incidental: Collection[str] = (),
        as_now: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> None:
        """Make the folder for this config and data, or accept it if it holds a run of the same.

        Args:
            config: the resolved config.
            data: hash of the samples.
            accept_code: also accept a run that other code has made; what it is now joined by is
                written down.
            incidental: dotted keys that may differ, `RunSettings.incidental`.
            as_now: a stored config -> the same in the keys of `config`.

        Raises:
            ConfigError: it holds a run of another config (the differing keys are named), of other
                data or by other code, or something that is no run.
        """
        start = config.get("start_from")
        parent = None if start is None else Run(Path(start)).origin().get("key")
        own = origin(_without(config, incidental), data, parent)
        if self.config_file.is_file():
            differing = [
                f"{key} {before!r} there, {after!r} now"
                for key, (before, after) in differing_keys(
                    as_now(self.config()), config, incidental
                ).items()
            ]
            if differing:
                raise ConfigError(
                    f"{self.folder}: holds a run of another config; differing: "
                    f"{'; '.join(differing)}. Choose another folder, or remove this one"
                )
            self._check_origin(own, accept_code)
            return
        if self.folder.exists() and (not self.folder.is_dir() or self._holds_something_else()):
            raise ConfigError(f"{self.folder}: holds files that are no run; choose another folder")
        write_json(self.origin_file, own.document())
        write_text(self.config_file, dumps(dict(config)))  # last: it makes this a run

    def claim_device(self, device: str, accept: bool = False) -> None:
        """Write down what a claimed run is trained on, or check that it still is.

        Args:
            device: `devices.device_name`.
            accept: also accept another one; all are written down.

        Raises:
            ConfigError: it was begun on another device, whose rounding it began with.
        """
        found = self.origin()
        devices = found.get("devices", [])
        if device in devices:
            return
        if devices and not accept:
            raise ConfigError(
                f"{self.folder}: was begun on {' and '.join(devices)} and this is {device}, which "
                "rounds otherwise; go on with it there (see train.device), choose another folder, "
                "or add train.accept_device=true, which notes the device in the run"
            )
        write_json(self.origin_file, found | {"devices": [*devices, device]})

    def _holds_something_else(self) -> bool:
        return any(
            path != self.origin_file and not path.name.startswith(".")
            for path in self.folder.iterdir()
        )

    def _check_origin(self, own: Origin, accept_code: bool) -> None:
        found = self.origin()
        if not found:
            found = {"version": "unknown", "code": "unknown", "data": own.data}
        if found["data"] != own.data:
            raise ConfigError(
                f"{self.folder}: holds a run of other data: its hash is {own.data} now and was "
                f"{found['data']} then, so files that it reads have changed. "
                "Choose another folder"
            )
        if found.get("parent", own.parent) != own.parent:
            raise ConfigError(
                f"{self.folder}: starts from another run: its key is {own.parent} now and was "
                f"{found['parent']} then. Choose another folder, or remove this one"
            )
        joined = found.get("joined_by", [])
        if own.code in (found["code"], *joined):
            return
        by_rule = found.get("code_of", BY_BYTES)
        if not accept_code and by_rule != own.code_of:
            raise ConfigError(
                f"{self.folder}: holds a run of nowcast {found['version']} whose code was hashed "
                f"by another rule ({by_rule}, now {own.code_of}), so that it cannot be said "
                f"whether it was this code, {own.version}. If it was, but for comments and texts, "
                "add train.accept_code=true, which notes it in the run; otherwise choose another "
                "folder"
            )
        if not accept_code:
            raise ConfigError(
                f"{self.folder}: holds a run by other code: nowcast {found['version']} "
                f"({found['code']}), this is {own.version} ({own.code}); comments, docstrings and "
                "layout do not count. Choose another folder, or add train.accept_code=true to go "
                "on with it as if they were the same"
            )
        kept = own.document() | {"code_of": by_rule} | found
        write_json(self.origin_file, kept | {"joined_by": [*joined, own.code]})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training this run; clear away what a kill left half written.

        The system gives the lock back however the process ends.

        Raises:
            RunTaken: another process has it.
            RunError: the file system gives no locks.
        """
        lock = FileLock(self.folder / ".lock", blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunTaken(
                f"{self.folder}: another process is training it; wait for it, or stop it"
            ) from error
        except (NotImplementedError, OSError) as error:
            raise RunError(
                f"{self.folder}: its file system gives no locks ({error}), so two processes could "
                "spoil each other's run; choose a folder on another one"
            ) from error
        try:
            for half in self.folder.glob(".*.tmp"):
                half.unlink()
            yield
        finally:
            lock.release()

    def finish(self, result: Mapping[str, Any], keep_state: bool = True) -> None:
        """Write the result, which marks the run as finished; what resumes it may go then."""
        write_json(self.result_file, result)
        if not keep_state:
            self.last_state.unlink(missing_ok=True)

    def result(self) -> dict[str, Any]:
        """What `finish` wrote."""
        return dict(json.loads(self.result_file.read_text()))

    def history(self) -> list[dict[str, Any]]:
        """The history's entries in the order of steps, up to a line that is not whole: one that is
        being written, or that a loss of power left behind what is on disk for sure."""
        found: list[dict[str, Any]] = []
        if not self.history_file.is_file():
            return found
        whole, _, _ = self.history_file.read_bytes().rpartition(b"\n")
        for line in whole.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found


def _without(config: Mapping[str, Any], incidental: Collection[str], above: str = "") -> Any:
    """The config without what is incidental."""
    return {
        key: _without(value, incidental, f"{above}{key}.") if isinstance(value, Mapping) else value
        for key, value in config.items()
        if f"{above}{key}" not in incidental
    }


def differing_keys(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    incidental: Collection[str],
    above: str = "",
) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two resolved configs differ, but for what is incidental, with the
    value in each."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(old.keys() | new.keys()):
        path = f"{above}{key}"
        if path in incidental:
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found |= differing_keys(before, after, incidental, f"{path}.")
        elif before != after:
            found[path] = before, after
    return found
