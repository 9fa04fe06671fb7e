"""The task of the loop: BERT as transformers computes it, splits, batches, MEmeL with its mask."""

from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from nowcast.core.errors import ConfigError
from nowcast.core.memel.plug import middle_blocks, plugged
from nowcast.core.scoring.pooling import pooled
from nowcast.core.settings import MEmeLSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate, evaluate_blocks
from nowcast.core.training.task import Task
from nowcast.core.training.trainer import build_model
from nowcast.glue.data.examples import file_of
from nowcast.glue.task import GlueTask
from tests.glue.tiny import GOOD, MAX_LENGTH, settings, write_bert, write_glue

CPU = torch.device("cpu")


def task(root: Path, bert: Path, name: str = "sst-2", **data: object) -> GlueTask:
    return GlueTask(settings(root, bert, data={"name": name, **data}))


def scores(of: GlueTask, model: torch.nn.Module, split: str = "valid") -> dict[str, float | None]:
    return dict(evaluate(of, model, split, Ranks(), CPU).values)


def test_it_is_a_task(words: Path, bert: Path):
    assert isinstance(task(words, bert), Task)


@pytest.mark.parametrize(("name", "outputs"), [("sst-2", 2), ("rte", 2), ("mnli", 3), ("sts-b", 1)])
def test_logits_are_those_of_transformers_called_directly(
    words: Path, bert: Path, name: str, outputs: int
):
    found = task(words, bert, name)
    model = found.model().eval()
    other = BertForSequenceClassification.from_pretrained(
        bert, num_labels=outputs, ignore_mismatched_sizes=True
    ).eval()
    other.classifier.load_state_dict(model.classifier.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(bert)
    (file, *_) = file_of(words, found.data_set, found.data_set.parts_of("dev")[0])
    rows = [line.split("\t") for line in file.read_text().splitlines()[1:9]]
    texts = [row[:1] if name == "sst-2" else row[1:3] for row in rows]
    inputs = tokenizer(
        *map(list, zip(*texts, strict=True)), padding=True, truncation=True, return_tensors="pt"
    )
    batch = found.split("valid").batch(np.arange(8))
    with torch.inference_mode():
        ours, theirs = model(**batch.inputs()).logits, other(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    loss = found.loss(model, batch)
    expected = other(**inputs, labels=batch.labels if outputs > 1 else batch.labels.float()).loss
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)


def test_a_fresh_head_is_drawn_from_the_seed_and_the_rest_is_pretrained(words: Path, bert: Path):
    found = task(words, bert, "mnli")
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(found.model().state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert differing == {"classifier.weight"}


def test_every_training_example_comes_once_an_epoch_over_any_number_of_ranks(
    words: Path, bert: Path
):
    found = task(words, bert)
    steps = found.epoch() // 8

    def rows(rank: int, size: int) -> list[list[str]]:
        batches = found.training_batches(0, Ranks(rank, size))
        return [batch.names() for batch in islice(batches, steps)]

    alone = rows(0, 1)
    assert sorted(chain.from_iterable(alone)) == sorted(f"train {row}" for row in range(64))
    halves = zip(rows(0, 2), rows(1, 2), strict=True)
    assert [sorted(one + two) for one, two in halves] == [sorted(names) for names in alone]
    later = next(found.training_batches(3, Ranks())).names()
    assert later == alone[3]


def test_scores_do_not_depend_on_batches_ranks_or_blocks(words: Path, bert: Path):
    torch.manual_seed(0)
    for name in ("mnli", "sts-b"):
        found = task(words, bert, name)
        model = found.model()
        whole = evaluate(found, model, "valid", Ranks(), CPU)
        small = GlueTask(found.settings.model_copy(update={"train": small_batches(found)}))
        with torch.inference_mode():
            parts = [
                small.score(model.eval(), batch)
                for rank in range(3)
                for batch in small.evaluation_batches("valid", Ranks(rank, 3))
            ]
        blocks = evaluate_blocks(found, model, "valid", Ranks(), CPU)
        assert len(blocks) == len(found.block_names("valid")) == min(100, len(found.split("valid")))
        for sums in (pooled(parts), pooled(list(blocks.values()))):
            again = found.read(sums)
            assert again.support == whole.support
            for score, value in whole.values.items():
                assert again.values[score] == pytest.approx(value, abs=1e-2), score


def small_batches(found: GlueTask) -> object:
    return found.settings.train.model_copy(update={"batch_size": 9})


def test_splits_of_a_held_out_share(words: Path, bert: Path):
    whole, held = task(words, bert), task(words, bert, held_out=0.25)
    names = {
        split: held.split(split).batch(np.arange(len(held.split(split)))).names()
        for split in ("train", "valid", "test")
    }
    assert len(names["valid"]) == 16 and len(names["train"]) == 48
    assert sorted(names["train"] + names["valid"]) == sorted(f"train {row}" for row in range(64))
    assert names["test"] == whole.split("valid").batch(np.arange(21)).names()
    assert len({whole.data_hash(), held.data_hash()}) == 2


def test_the_hidden_test_split_says_what_to_do(words: Path, bert: Path):
    with pytest.raises(ConfigError, match=r"leaderboard\s+alone.*held_out.*nowcast submit"):
        task(words, bert).split("test")
    with pytest.raises(ConfigError, match="expected one of train, valid, test"):
        task(words, bert).split("dev")
    with pytest.raises(ConfigError, match="leaves none for validation"):
        task(words, bert, held_out=0.001).split("train")


def test_the_data_hash_tells_text_weights_and_length_apart(words: Path, bert: Path, tmp_path: Path):
    other = write_glue(tmp_path / "other", dev=20)
    deeper = write_bert(tmp_path / "bert", blocks=5)
    hashes = [
        task(words, bert).data_hash(),
        task(other, bert).data_hash(),
        task(words, deeper).data_hash(),
        task(words, bert, max_length=16).data_hash(),
    ]
    assert len(set(hashes)) == 4
    assert task(words, bert).data_hash() == hashes[0]


def test_majority_answers_with_the_commonest_class_or_the_mean(words: Path, bert: Path):
    found = task(words, bert)
    labels = found.split("train").labels()
    shares = np.bincount(found.split("valid").labels()) / len(found.split("valid"))
    commonest = np.bincount(labels).argmax()
    majority = scores(found, found.baseline("majority"))
    assert majority["accuracy"] == pytest.approx(100 * shares[commonest])
    regression = task(words, bert, "sts-b")
    logits = regression.baseline("majority")(torch.zeros(2, 3, dtype=torch.int64)).logits
    assert logits[:, 0].tolist() == pytest.approx([regression.split("train").labels().mean()] * 2)
    with pytest.raises(ConfigError, match="a baseline, majority, found 'persistence'"):
        found.baseline("persistence")


def test_memel_sits_after_the_middle_blocks_and_never_sees_padding(words: Path, bert: Path):
    assert list(middle_blocks(12)) == [4, 5, 6, 7]
    assert middle_blocks(6)[0] == 1 and len(middle_blocks(2)) == 2
    states = []
    for padding in ("batch", "max_length"):
        found = task(words, bert, padding=padding)
        torch.manual_seed(0)
        model = build_model(found, MEmeLSettings(late_start=2, top_k=2)).train()
        assert (
            list(plugged(model))
            == list(found.sites)
            == [f"bert.encoder.layer.{n}" for n in range(4)]
        )
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        losses = []
        for batch in islice(found.training_batches(0, Ranks()), 6):
            loss = found.loss(model, batch)
            model.zero_grad()
            loss.backward()
            losses.append(loss.item())
        gradient = model.bert.embeddings.word_embeddings.weight.grad.clone()
        states.append((losses, gradient, plugged(model)))
    (short, short_gradient, layers), (long, long_gradient, others) = states
    assert short == pytest.approx(long, abs=1e-6)
    torch.testing.assert_close(short_gradient, long_gradient)
    longest = max(len(found.split("train").files[0].example(row).tokens) for row in range(64))
    for layer, other in zip(layers.values(), others.values(), strict=True):
        assert layer.neuron_shape == (MAX_LENGTH, 16)
        torch.testing.assert_close(layer.running_mean, other.running_mean)
        assert torch.equal(layer.num_samples_tracked, other.num_samples_tracked)
        assert layer.num_samples_tracked[0] == 48 and not layer.num_samples_tracked[longest:].any()


def test_the_released_convention_counts_padding(words: Path, bert: Path):
    found = task(words, bert, padding="max_length")
    model = build_model(found, MEmeLSettings(convention="released")).train()
    found.loss(model, next(found.training_batches(0, Ranks())))
    (layer, *_) = plugged(model).values()
    assert layer.num_samples_tracked == 8 and layer.running_var[-1].any()
    with pytest.raises(ValueError, match="padding: max_length"):
        settings(words, bert, memel={"convention": "released"})


def test_examples_are_grouped_by_label_and_length(words: Path, bert: Path):
    found = task(words, bert)
    batch = found.split("valid").batch(np.arange(5))
    vocabulary = AutoTokenizer.from_pretrained(bert)
    good = set(vocabulary.convert_tokens_to_ids(list(GOOD)))
    expected = [str(int(bool(good & set(row)))) for row in batch.tokens.tolist()]
    assert found.groups("by_label", batch) == expected
    assert set(found.groups("by_length", batch)) == {"short"}
    assert set(found.groups("by_source", batch)) == {"dev"}
    two_files = task(words, bert, "mnli").split("valid")
    both = two_files.batch(np.array([0, len(two_files) - 1]))
    assert found.groups("by_source", both) == ["dev_matched", "dev_mismatched"]
    regression = task(words, bert, "sts-b")
    pair = replace(batch, labels=torch.tensor([0.0, 1.2, 4.9, 5.0, 3.0]))
    assert regression.groups("by_label", pair) == ["0-1", "1-2", "4-5", "4-5", "3-4"]
    with pytest.raises(ConfigError, match="by_label, by_length"):
        found.groups("by_day", batch)


def test_the_first_blocks_alone(words: Path, bert: Path):
    found = GlueTask(settings(words, bert, model={"pretrained": str(bert), "blocks": 3}))
    model, whole = found.model(), task(words, bert).model()
    assert len(model.bert.encoder.layer) == 3
    state = whole.state_dict()
    for name, value in model.bert.encoder.state_dict().items():
        assert torch.equal(value, state[f"bert.encoder.{name}"]), name
    assert found.sites == tuple(f"bert.encoder.layer.{block}" for block in range(3))
    with pytest.raises(ConfigError, match="has 4 blocks, found 9"):
        GlueTask(settings(words, bert, model={"pretrained": str(bert), "blocks": 9}))


def test_more_tokens_than_the_bert_has_positions_for_are_refused(words: Path, bert: Path):
    with pytest.raises(ConfigError, match="positions for 32 tokens, found 64"):
        task(words, bert, max_length=64)


def test_without_a_folder_of_data_it_says_which_setting_is_missing(words: Path, bert: Path):
    lacking = settings(words, bert)
    data = lacking.data.model_copy(update={"root": None})
    with pytest.raises(ConfigError, match=r"data\.root=FOLDER"):
        GlueTask(lacking.model_copy(update={"data": data}))
