"""The pretrained BERT: a folder as Hugging Face's, read without pickles and without remote code."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.origin import DIGITS

if TYPE_CHECKING:
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

INSTALL = "pip install 'nowcast[glue]'"
WANTED = ("*.json", "*.txt", "*.safetensors")
TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
CONVERTER = "transformers.models.bert.convert_bert_original_tf_checkpoint_to_pytorch"


def transformers() -> Any:
    """The library, imported when it is first needed; raises ConfigError where it is not there."""
    try:
        import transformers as library
    except ImportError as error:
        raise ConfigError(
            f"task glue needs the package {error.name}, which is not installed here: {INSTALL}"
        ) from error
    return library


@cache
def folder_of(pretrained: str) -> Path:
    """The folder of a pretrained BERT: a local one, or what Hugging Face has under a name.

    With HF_HUB_OFFLINE=1 nothing but the local cache is asked.

    Raises:
        ConfigError: there is none, or its weights are no safetensors.
    """
    folder = Path(pretrained)
    if not folder.is_dir():
        folder = _downloaded(pretrained)
    if (folder / "model.safetensors").is_file() or list(folder.glob("model-*.safetensors")):
        return folder
    if list(folder.glob("*.ckpt.*")):
        raise ConfigError(
            f"model.pretrained: {folder} is a TensorFlow checkpoint as Google released it; "
            f"`python -m {CONVERTER}` of transformers 4 makes a folder of it, whose weights "
            "`save_pretrained` of transformers 5 writes as safetensors"
        )
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise ConfigError(
        f"model.pretrained: expected model.safetensors in {folder}, found {found}; weights as "
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
            f"model.pretrained: {name!r} is no folder here and was not had from Hugging Face "
            f"({reason}); give the folder of a BERT with config.json, model.safetensors and "
            "vocab.txt"
        ) from error


def config_of(folder: Path) -> "BertConfig":
    """The architecture; raises ConfigError unless it is BERT."""
    library = transformers()
    try:
        config = library.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.pretrained: {folder}/config.json: {error}") from error
    if config.model_type != "bert":
        raise ConfigError(
            f"model.pretrained: expected a BERT, found model_type {config.model_type!r} in "
            f"{folder}/config.json"
        )
    found: BertConfig = config
    return found


def tokenizer_of(folder: Path) -> "PreTrainedTokenizerBase":
    """Its tokenizer; raises ConfigError where it has none."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise ConfigError(
            f"model.pretrained: expected tokenizer.json or vocab.txt in {folder}, found neither"
        )
    found: PreTrainedTokenizerBase = transformers().AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return found


def classifier(folder: Path, outputs: int) -> "BertForSequenceClassification":
    """BERT with a fresh head, whose initial weights come from torch's global generator; a head that
    the folder may have, e.g. of another data set, is left.

    Args:
        folder: of `folder_of`.
        outputs: classes, or 1 for a regression.

    Raises:
        DataError: the file is damaged, or lacks weights of the encoder.
    """
    from safetensors import SafetensorError

    library, config = transformers(), config_of(folder)
    config.num_labels = outputs
    with _quiet():
        try:
            model, loading = library.BertForSequenceClassification.from_pretrained(
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
        name
        for name in (*loading["missing_keys"], *mismatched)
        if not name.startswith(("classifier.", "bert.pooler."))
    )
    if lacking:
        raise DataError(
            f"{folder}: expected the weights of the BERT that its config.json tells of; "
            f"{len(lacking)} are not there or of another size, e.g. {lacking[0]}, and would be "
            "random; fetch the folder anew"
        )
    torch.nn.init.normal_(model.classifier.weight, std=config.initializer_range)
    torch.nn.init.zeros_(model.classifier.bias)
    found: BertForSequenceClassification = model
    return found


@cache
def weights_hash(folder: Path) -> str:
    """A hash of architecture and weights."""
    return _hash([folder / "config.json", *sorted(folder.glob("*.safetensors"))])


@cache
def tokenizer_hash(folder: Path) -> str:
    """A hash of all that says how text becomes tokens."""
    return _hash([folder / name for name in TOKENIZER if (folder / name).is_file()])


def _hash(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            found.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:DIGITS]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report that the head is new, and its progress bar."""
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
