"""The pretrained BERT and its tokenizer."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nowcast.core.errors import ConfigError
from nowcast.core.storage import pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
CONVERTER = "transformers.models.bert.convert_bert_original_tf_checkpoint_to_pytorch"


def folder_of(name: str) -> Path:
    """The folder of a pretrained BERT, see `pretrained.folder_of`; raises ConfigError."""
    if list(Path(name).glob("*.ckpt.*")):
        raise ConfigError(
            f"model.pretrained: {name} is a TensorFlow checkpoint as Google released it; "
            f"`python -m {CONVERTER}` of transformers 4 makes a folder of it, whose weights "
            "`save_pretrained` of transformers 5 writes as safetensors"
        )
    return pretrained.folder_of(name)


def config_of(folder: Path) -> Any:
    """The architecture; raises ConfigError unless it is BERT."""
    return pretrained.config_of(folder, "bert")


def tokenizer_of(folder: Path) -> "PreTrainedTokenizerBase":
    """Its tokenizer; raises ConfigError where it has none."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise ConfigError(
            f"model.pretrained: expected tokenizer.json or vocab.txt in {folder}, found neither"
        )
    found: PreTrainedTokenizerBase = pretrained.transformers().AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return found


def classifier(folder: Path, outputs: int, blocks: int | None = None) -> nn.Module:
    """BERT with a fresh head, whose initial weights come from torch's global generator; a head that
    the folder may have, e.g. of another data set, is left.

    Args:
        folder: of `folder_of`.
        outputs: classes, or 1 for a regression.
        blocks: how many of its encoder blocks, from the first on; None for all.

    Raises:
        DataError: the file is damaged, or lacks weights of the encoder.
    """
    config = config_of(folder)
    config.num_labels = outputs
    config.num_hidden_layers = blocks or config.num_hidden_layers
    fresh = ("classifier.", "bert.pooler.")
    model: Any = pretrained.load("BertForSequenceClassification", folder, config, fresh)
    torch.nn.init.normal_(model.classifier.weight, std=config.initializer_range)
    torch.nn.init.zeros_(model.classifier.bias)
    found: nn.Module = model
    return found


@cache
def tokenizer_hash(folder: Path) -> str:
    """A hash of all that says how text becomes tokens."""
    return pretrained.files_hash(folder / n for n in TOKENIZER if (folder / n).is_file())
