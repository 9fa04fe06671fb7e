"""Swin: fresh, from transformers' folders, from the authors' checkpoint; heads by a map."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import SwinForImageClassification

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.memel.plug import middle_blocks
from nowcast.imagenet import weights
from nowcast.imagenet.shape import SIZES, Shape
from tests.imagenet.tiny_swin import SHAPE, SIZE, settings

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def fresh(classes: int = 22) -> SwinForImageClassification:
    torch.manual_seed(0)
    return SwinForImageClassification(SHAPE.config(SIZE, classes, 0.0)).eval()


def logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model.eval()(pixel_values=IMAGES).logits


def authors(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights as microsoft/Swin-Transformer names and joins them."""
    names = {
        "swin.embeddings.patch_embeddings.projection.": "patch_embed.proj.",
        "swin.embeddings.norm.": "patch_embed.norm.",
        "swin.layernorm.": "norm.",
        "classifier.": "head.",
        "swin.encoder.layers.": "layers.",
        ".layernorm_before.": ".norm1.",
        ".layernorm_after.": ".norm2.",
        ".attention.o_proj.": ".attn.proj.",
        ".attention.relative_position_bias.": ".attn.",
    }
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        for theirs, own in names.items():
            name = name.replace(theirs, own)
        found[name] = tensor
    for name in [name for name in found if ".attention.q_proj." in name]:
        parts = [found.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        found[name.replace(".attention.q_proj.", ".attn.qkv.")] = torch.cat(parts)
    return found | {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(4, 4)}


def make(source: str | Path | None, classes: int = 22, head_map: Path | None = None) -> nn.Module:
    return weights.classifier(
        None if source is None else str(source), SHAPE, SIZE, classes, 0.0, head_map
    )


def test_logits_are_those_of_transformers_called_directly(tmp_path: Path):
    model = fresh()
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(make(tmp_path)), logits(model), rtol=0, atol=1e-6)
    torch.manual_seed(0)
    torch.testing.assert_close(logits(make(None)), logits(model), rtol=0, atol=1e-6)


def test_the_authors_checkpoint_gives_the_same_logits(tmp_path: Path):
    model, file = fresh(), tmp_path / "swin.pth"
    torch.save({"model": authors(model), "epoch": 30}, file)
    torch.testing.assert_close(logits(make(file)), logits(model), rtol=0, atol=1e-6)
    assert weights.depth_of(str(file), SHAPE) == 4


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"model": {"head.bias": torch.zeros(2)}}])
def test_another_checkpoint_is_refused(tmp_path: Path, content: dict):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other\.pth: expected a c"):
        make(tmp_path / "other.pth")


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path):
    torch.save({"model": Path("/tmp")}, tmp_path / "code.pth")
    with pytest.raises(DataError, match=r"code\.pth: expected a checkpoint of github"):
        make(tmp_path / "code.pth")


def test_a_head_comes_by_the_map_or_fresh_or_as_it_is(tmp_path: Path):
    model = fresh()
    model.save_pretrained(tmp_path)
    (tmp_path / "map.txt").write_text("3\n0\n21\n")
    mapped = make(tmp_path, 3, tmp_path / "map.txt")
    assert torch.equal(mapped.classifier.weight, model.classifier.weight[[3, 0, 21]])
    torch.testing.assert_close(logits(mapped), logits(model)[:, [3, 0, 21]])
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(make(tmp_path, 3).classifier.weight)
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert torch.equal(make(tmp_path).classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("text", ["1\n2\n", "1\n2\n22\n", "1\ntwo\n3\n"])
def test_a_map_that_does_not_fit_is_refused(tmp_path: Path, text: str):
    fresh().save_pretrained(tmp_path)
    (tmp_path / "map.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"model\.head_map.*expected"):
        make(tmp_path, 3, tmp_path / "map.txt")
    with pytest.raises(ConfigError, match="found none"):
        make(None, 3, tmp_path / "map.txt")


def test_weights_that_would_be_random_are_refused(tmp_path: Path):
    fresh().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors[next(name for name in tensors if "layers.2.blocks.1" in name)]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="1 are not there"):
        make(tmp_path)


def test_the_sizes_are_those_of_the_paper():
    with torch.device("meta"):
        counts = {
            name: sum(
                p.numel() for p in SwinForImageClassification(s.config(224, 1000, 0.1)).parameters()
            )
            for name, s in SIZES.items()
        }
    assert counts == {"tiny": 28_288_354, "small": 49_606_258, "base": 87_768_224}
    assert [*middle_blocks(6), *middle_blocks(18)] == [1, 2, 3, 4, 7, 8, 9, 10]


def test_a_shape_that_does_not_fit_says_what_would(tmp_path: Path):
    with pytest.raises(ValidationError, match="multiple of 32, for 3 stages"):
        settings(tmp_path, data={"size": 40})
    with pytest.raises(ValidationError, match="divisor of 96 channels, found 5"):
        Shape(num_heads=(5, 6, 12, 24))
    with pytest.raises(ValidationError, match="heads for each of 4 stages"):
        Shape(num_heads=(3, 6, 12))
