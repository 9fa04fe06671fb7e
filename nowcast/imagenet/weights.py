"""Swin: fresh, from a folder of Hugging Face's, or from its authors' own checkpoint."""

import json
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage import pretrained
from nowcast.imagenet.shape import Shape

HEAD = "classifier."

# From the names of microsoft/Swin-Transformer to those that transformers' files have.
RENAMED = (
    (r"^patch_embed\.proj\.", "swin.embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "swin.embeddings.norm."),
    (r"^norm\.", "swin.layernorm."),
    (r"^head\.", HEAD),
    (r"^layers\.", "swin.encoder.layers."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.relative_position_bias_table$", ".attention.self.relative_position_bias_table"),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
COMPUTED = ("relative_position_index", "attn_mask")  # from the shape


def classifier(
    source: str | None,
    shape: Shape,
    size: int,
    classes: int,
    drop_path: float,
    head_map: Path | None = None,
) -> nn.Module:
    """A Swin with a head of so many classes; what is random comes from torch's global generator.

    Args:
        source: a folder with config.json and model.safetensors, a name at Hugging Face, or the
            authors' ``.pth``; None makes fresh weights.
        shape: where `source` does not say it: for fresh weights and a ``.pth``.
        size: side of the pictures, pixels.
        classes: of the head.
        drop_path: rate of stochastic depth of the last block; it grows from 0 at the first.
        head_map: a file with, for each class, its row in the head of `source`, one number a line,
            as the authors' map from ImageNet-22k to 1k; without it the head is fresh unless that
            of `source` has as many classes.

    Raises:
        ConfigError: there is no such model, or the map does not fit.
        DataError: weights are damaged or missing.
    """
    if source is None:
        if head_map is not None:
            raise ConfigError("model.head_map: maps the head of model.pretrained, found none")
        config = shape.config(size, classes, drop_path)
        found: nn.Module = pretrained.transformers().SwinForImageClassification(config)
        return found
    if Path(source).is_file():
        with tempfile.TemporaryDirectory() as folder:
            write_folder(Path(source), shape, size, Path(folder))
            return _loaded(Path(folder), size, classes, drop_path, head_map)
    return _loaded(pretrained.folder_of(source), size, classes, drop_path, head_map)


def depth_of(source: str | None, shape: Shape) -> int:
    """Blocks of the third stage."""
    if source is None or Path(source).is_file():
        return shape.depths[2]
    return int(pretrained.config_of(pretrained.folder_of(source), "swin").depths[2])


@cache
def weights_hash(source: str | None) -> str:
    """A hash of what training starts from."""
    if source is None:
        return "fresh"
    if Path(source).is_file():
        return pretrained.files_hash([Path(source)])
    return pretrained.weights_hash(pretrained.folder_of(source))


def _loaded(
    folder: Path, size: int, classes: int, drop_path: float, head_map: Path | None
) -> nn.Module:
    config = pretrained.config_of(folder, "swin")
    config.image_size, config.drop_path_rate = size, drop_path
    own = config.num_labels
    if head_map is not None:
        model = pretrained.load("SwinForImageClassification", folder, config, ())
        _map_head(model, _rows(head_map, classes, own))
        return model
    config.num_labels = classes
    return pretrained.load(
        "SwinForImageClassification", folder, config, (HEAD,) if own != classes else ()
    )


def _map_head(model: nn.Module, rows: Tensor) -> None:
    old: Any = model.classifier
    new = nn.Linear(old.in_features, len(rows))
    with torch.no_grad():
        new.weight.copy_(old.weight[rows])
        new.bias.copy_(old.bias[rows])
    model.classifier = new
    model.config.num_labels = len(rows)  # type: ignore[union-attr]


def _rows(path: Path, classes: int, own: int) -> Tensor:
    try:
        rows = [int(line) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.head_map: {path}: expected a number a line: {error}") from error
    if len(rows) != classes or not all(0 <= row < own for row in rows):
        raise ConfigError(
            f"model.head_map: {path}: expected {classes} numbers from 0 to {own - 1}, one a class, "
            f"found {len(rows)} from {min(rows, default=0)} to {max(rows, default=0)}"
        )
    return torch.tensor(rows)


def write_folder(checkpoint: Path, shape: Shape, size: int, folder: Path) -> None:
    """Write the authors' ``.pth`` as a folder of transformers; only tensors are read of it.

    Raises:
        DataError: it is not theirs, or not of this shape.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["model"]
        tensors = renamed(state)
    except (OSError, RuntimeError, KeyError, TypeError, UnpicklingError, AttributeError) as error:
        raise DataError(
            f"{checkpoint}: expected a checkpoint of github.com/microsoft/Swin-Transformer, with "
            f"tensors under 'model', found something else ({error})"
        ) from error
    if f"{HEAD}weight" not in tensors:
        raise DataError(f"{checkpoint}: expected a classifier with head.weight, found none")
    config = shape.config(size, len(tensors[f"{HEAD}weight"]), 0.0)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors under transformers' names; queries, keys and values apart."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(COMPUTED):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if ".attn.qkv." in name:
            for part, each in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[name.replace(".attn.qkv.", f".attention.self.{part}.")] = each.contiguous()
        else:
            found[name] = tensor.contiguous()
    return found
