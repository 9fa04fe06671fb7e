"""Tokens are those of the tokenizer, made once, and anew when what they come from changes."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from nowcast.glue.benchmark import data_set
from nowcast.glue.data import tokens as module
from nowcast.glue.data.examples import read_examples
from nowcast.glue.data.tokens import Tokens, tokenised
from tests.glue.tiny import write_bert, write_glue


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_glue(tmp_path / "glue", train=12, dev=5, test=3)


def made(root: Path, bert: Path, cache: Path, name: str = "rte", length: int = 24) -> Tokens:
    return tokenised(root, data_set(name), "train", bert, length, cache)


@pytest.mark.parametrize("length", [24, 9])
@pytest.mark.parametrize("name", ["rte", "sst-2"])
def test_they_are_the_tokenizers(root: Path, bert: Path, tmp_path: Path, name: str, length: int):
    found = made(root, bert, tmp_path, name, length)
    examples = read_examples(root, data_set(name), "train")
    tokenizer = AutoTokenizer.from_pretrained(bert)
    for row in range(12):
        texts = [examples.first[row]] + ([examples.second[row]] if examples.second else [])
        expected = tokenizer(*texts, truncation=True, max_length=length)
        example = found.example(row)
        assert example.tokens.tolist() == expected["input_ids"]
        assert example.kinds.tolist() == expected["token_type_ids"]
        assert example.label == examples.labels[row] and example.name == f"train {row}"


def test_they_are_made_once_and_anew_for_another_file_length_or_tokenizer(
    root: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    readings: list[str] = []

    def reading(*arguments: object) -> object:
        readings.append("read")
        return read_examples(*arguments)

    monkeypatch.setattr(module, "read_examples", reading)
    cache = tmp_path / "cache"
    first = made(root, bert, cache)
    again = made(root, bert, cache)
    assert readings == ["read"]
    assert again.hash == first.hash and again.tokens.tolist() == first.tokens.tolist()
    made(root, bert, cache, length=10)
    other = write_bert(tmp_path / "other")
    vocabulary = (other / "vocab.txt").read_text()
    (other / "vocab.txt").write_text(vocabulary.replace("w0\nw1\n", "w1\nw0\n"))
    assert made(root, other, cache).hash != first.hash
    file = root / "RTE" / "train.tsv"
    file.write_text(file.read_text().replace("not_entailment", "entailment"))
    assert set(made(root, bert, cache).labels) == {0}
    assert readings == ["read"] * 4


@pytest.mark.parametrize("damage", ["cut", "a bit", "empty"])
def test_a_damaged_file_of_the_cache_is_made_again(
    root: Path, bert: Path, tmp_path: Path, damage: str
):
    first = made(root, bert, tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes({"cut": content[:40], "a bit": content, "empty": b""}[damage])
    again = made(root, bert, tmp_path / "cache")
    assert again.hash == first.hash and np.array_equal(again.tokens, first.tokens)
    assert np.array_equal(again.index, first.index)
    assert file.read_bytes() != bytes(content)


@pytest.mark.parametrize("way", ["a file in the way", "no home"])
def test_tokens_need_no_cache(
    root: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    if way == "no home":
        monkeypatch.setattr(module, "cache_folder", lambda kind: None)
        found = tokenised(root, data_set("rte"), "dev", bert, 24)
    else:
        (tmp_path / "file").write_text("")
        found = tokenised(root, data_set("rte"), "dev", bert, 24, tmp_path / "file" / "cache")
    kept = tokenised(root, data_set("rte"), "dev", bert, 24, tmp_path / "cache")
    assert found.hash == kept.hash and np.array_equal(found.tokens, kept.tokens)
    assert len(found) == 5


def test_the_cache_lies_where_the_user_keeps_such(
    root: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tokenised(root, data_set("rte"), "dev", bert, 24)
    assert list((tmp_path / "nowcast" / "glue").glob("rte_dev_*.safetensors"))
