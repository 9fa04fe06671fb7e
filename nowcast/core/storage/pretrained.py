"""Pretrained models of transformers, read from a folder without pickles and without remote code.

The library is optional and imported when it is first needed.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from torch import nn

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.finite import check_weights
from nowcast.core.storage.origin import DIGITS

WANTED = ("*.json", "*.txt", "*.safetensors")


def _absolute(pretrained: str) -> str:
    """The absolute path of what exists here; any other text is a name at Hugging Face."""
    path = Path(pretrained).expanduser()
    return str(path.resolve()) if path.exists() else pretrained


Pretrained = Annotated[str, AfterValidator(_absolute)]
"""In settings: a folder or file here, or a name at Hugging Face."""


def transformers() -> Any:
    """The library; raises ConfigError where it is not there."""
    try:
        import transformers as library
    except ImportError as error:
        raise ConfigError(
            f"this task needs the package {error.name}, which is not installed here: "
            "pip install 'memel-nowcast[transformers]'"
        ) from error
    return library


@cache
def folder_of(pretrained: str) -> Path:
    """The folder of a pretrained model: a local one, or that of a name at Hugging Face.

    With HF_HUB_OFFLINE=1 only the local cache is read.

    Raises:
        ConfigError: there is none, or its weights are no safetensors.
    """
    folder = Path(pretrained)
    if not folder.is_dir():
        folder = _downloaded(pretrained)
    if list(folder.glob("model*.safetensors")):
        return folder
    files = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise ConfigError(
        f"model.pretrained: expected model.safetensors in {folder}, found {files}; weights as "
        "pickles (pytorch_model.bin) are not read: load them once with transformers and write "
        "them with `save_pretrained`"
    )


def _downloaded(name: str) -> Path:
    transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"model.pretrained: {name!r} is no folder here and cannot be fetched from Hugging Face "
            f"({reason}); give a folder with config.json and model.safetensors"
        ) from error


def config_of(folder: Path, kind: str) -> Any:
    """The architecture; raises ConfigError unless it is of this kind, e.g. ``bert``."""
    try:
        config = transformers().AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.pretrained: {folder}/config.json: {error}") from error
    if config.model_type != kind:
        raise ConfigError(
            f"model.pretrained: expected model_type {kind!r} in {folder}/config.json, found "
            f"{config.model_type!r}"
        )
    return config


def load(name: str, folder: Path, config: Any, fresh: tuple[str, ...]) -> nn.Module:
    """A model with a folder's weights.

    Args:
        name: of its class in transformers.
        folder: of `folder_of`.
        config: its architecture.
        fresh: prefixes of parameters that the folder may lack or have in another size; they are
            initialised at random then.

    Raises:
        DataError: the file is damaged, or lacks other weights.
        RunError: weights are NaN or infinite.
    """
    from safetensors import SafetensorError

    with _quiet():
        try:
            model, loading = getattr(transformers(), name).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(f"{folder}: its weights cannot be read: {error}") from error
    mismatched = [name for name, *_ in loading["mismatched_keys"]]
    lacking = sorted(
        key for key in (*loading["missing_keys"], *mismatched) if not key.startswith(fresh)
    )
    if lacking:
        raise DataError(
            f"{folder}: expected the weights of the model in its config.json; "
            f"{len(lacking)} are not there or of another size, e.g. {lacking[0]}, and would be "
            "random; fetch the folder anew"
        )
    loaded: nn.Module = model
    check_weights(folder, loaded.state_dict())
    return loaded


@cache
def weights_hash(folder: Path) -> str:
    """A hash of architecture and weights."""
    return files_hash([folder / "config.json", *sorted(folder.glob("*.safetensors"))])


def files_hash(paths: Iterable[Path]) -> str:
    """A hash of files' names and contents."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:DIGITS]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report of a new head, and without its progress bar."""
    log = transformers().utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
