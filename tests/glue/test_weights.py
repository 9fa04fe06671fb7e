"""What is no BERT in safetensors is refused, and says what to do."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage import pretrained
from nowcast.glue import weights


@pytest.fixture
def own(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "own"))


def test_a_folder_is_taken_as_it_is(own: Path):
    assert weights.folder_of(str(own)) == own
    assert weights.config_of(own).num_hidden_layers == 4
    model = weights.classifier(own, 3)
    saved = load_file(own / "model.safetensors")
    name = "bert.encoder.layer.2.output.dense.weight"
    assert torch.equal(model.state_dict()[name], saved[name])
    assert model.classifier.weight.shape == (3, 16) and not model.classifier.bias.any()


def test_a_name_that_cannot_be_had_offline_says_what_it_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"'bert-not-here' is no folder.*give a folder with"):
        weights.folder_of("bert-not-here")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("pytorch_model.bin", "pickles"),
        ("bert_model.ckpt.index", "convert_bert_original_tf_checkpoint_to_pytorch"),
    ],
)
def test_other_kinds_of_weights_are_refused_with_the_way_out(own: Path, file: str, message: str):
    (own / "model.safetensors").rename(own / file)
    with pytest.raises(ConfigError, match=message):
        weights.folder_of(str(own))


def test_another_architecture_is_refused(own: Path):
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))
    with pytest.raises(ConfigError, match=r"expected model_type 'bert' .*found 'roberta'"):
        weights.config_of(own)


@pytest.mark.parametrize("change", ["lacks one", "of another size"])
def test_weights_that_would_be_random_are_refused(own: Path, change: str):
    name = "bert.encoder.layer.1.attention.self.query.weight"
    tensors = load_file(own / "model.safetensors")
    if change == "lacks one":
        del tensors[name]
    else:
        tensors[name] = tensors[name][:8].clone()
    save_file(tensors, own / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=f"1 are not there or of another size, e.g. {name}"):
        weights.classifier(own, 2)


def test_damaged_weights_are_named(own: Path):
    file = own / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=f"{own}: its weights cannot be read"):
        weights.classifier(own, 2)


def test_a_folder_without_a_tokenizer_is_refused(own: Path):
    (own / "vocab.txt").unlink()
    with pytest.raises(ConfigError, match=r"tokenizer\.json or vocab\.txt"):
        weights.tokenizer_of(own)


def test_a_pretrained_encoder_without_a_head_or_pooler_is_taken(own: Path):
    tensors = load_file(own / "model.safetensors")
    bare = {
        name.removeprefix("bert."): tensor
        for name, tensor in tensors.items()
        if name.startswith("bert.") and "pooler" not in name
    }
    save_file(bare, own / "model.safetensors", {"format": "pt"})
    state = weights.classifier(own, 2).state_dict()
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(state[f"bert.{name}"], bare[name])


def test_without_transformers_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"memel-nowcast\[transformers\]"):
        pretrained.transformers()
