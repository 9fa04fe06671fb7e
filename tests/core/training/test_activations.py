"""Activation checkpointing of transformers' models: the same to the bit, MEmeL once a step."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.plug import plug_in, plugged
from nowcast.core.settings import RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.activations import recompute_blocks
from nowcast.core.training.trainer import train
from tests.core.toy import ToyModel, ToyTask

pytest.importorskip("transformers", reason="needs memel-nowcast[glue]")

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    SwinConfig,
    SwinForImageClassification,
)

from nowcast.glue.task import GlueTask
from tests.glue.tiny import settings as glue_settings

LENGTH, SIDE, STEPS = 7, 64, 5

Inputs = dict[str, Tensor]


def bert(dropout: float) -> nn.Module:
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
        num_labels=5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config)


def sentences() -> Inputs:
    """Of one to all tokens."""
    present = torch.arange(LENGTH) < torch.tensor([LENGTH, 3, 5, 1])[:, None]
    return {"input_ids": torch.randint(0, 30, (4, LENGTH)), "attention_mask": present.long()}


def swin(dropout: float) -> nn.Module:
    config = SwinConfig(
        image_size=SIDE,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1, 4, 1],
        num_heads=[1, 2, 2, 4],
        window_size=2,
        num_labels=5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        drop_path_rate=dropout,
    )
    return SwinForImageClassification(config)


def images() -> Inputs:
    return {"pixel_values": torch.randn(4, 3, SIDE, SIDE)}


HOSTS: dict[str, tuple[Callable[[float], nn.Module], Callable[[], Inputs]]] = {
    "bert": (bert, sentences),
    "swin": (swin, images),
}


def dry_run(model: nn.Module, inputs: Callable[[], Inputs]) -> object:
    return model(**inputs())


def trained(host: str, site: str, dropout: float, checkpoint: bool) -> nn.Module:
    """A few steps of a host with MEmeL."""
    torch.manual_seed(0)
    make, inputs = HOSTS[host]
    model = make(dropout)
    plug_in(
        model,
        site,
        dry_run=partial(dry_run, inputs=inputs),
        mask=lambda _, named: named.get("attention_mask"),
        late_start=2,
        top_k=3,
    )
    if checkpoint:
        recompute_blocks(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    model.train()
    for step in range(STEPS):
        torch.manual_seed(step)
        optimiser.zero_grad()
        logits = model(**inputs()).logits
        nn.functional.cross_entropy(logits, torch.arange(4)).backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(
    ("host", "site", "sites"),
    [
        ("bert", "bert.encoder.layer.[1-2]", 2),
        ("bert", "bert.encoder.layer.[1-2].intermediate", 2),
        ("swin", "swin.encoder.layers.2.blocks.[0-3]", 4),
        ("swin", "swin.encoder.layers.2.blocks.[0-3].attention", 4),
    ],
)
def test_gradients_and_statistics_are_the_same(host: str, site: str, sites: int, dropout: float):
    """At the blocks, which are hooked outside of what is computed again, and within them."""
    plain, again = (trained(host, site, dropout, checkpoint) for checkpoint in (False, True))
    for (name, one), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        if one.grad is None:  # of Swin's relative positions that no window has
            assert other.grad is None, name
        else:
            torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=1e-6)
    layers, others = plugged(plain), plugged(again)
    assert len(layers) == sites and list(layers) == list(others)
    for name, layer in layers.items():
        assert layer.num_batches_tracked.max() == STEPS
        for key, value in layer.state_dict().items():
            torch.testing.assert_close(others[name].state_dict()[key], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("host", "blocks"), [("bert", 4), ("swin", 7)])
def test_blocks_are_computed_again_in_training_alone(host: str, blocks: int):
    make, inputs = HOSTS[host]
    model, calls = make(0.0), []
    for name, module in model.named_modules():
        if name.endswith(".attention"):
            module.register_forward_hook(lambda *_: calls.append(1))
    recompute_blocks(model)
    model.train()
    model(**inputs()).logits.sum().backward()
    assert len(calls) == 2 * blocks
    calls.clear()
    with torch.inference_mode():
        model.eval()(**inputs())
    assert len(calls) == blocks


def test_a_run_with_it_is_the_run_without(words: Path, bert: Path, tmp_path: Path):
    runs = []
    for checkpoint in (False, True):
        train_section = {"epochs": None, "steps": 12, "checkpoint": checkpoint, "accumulate": 2}
        memel = {"late_start": 2, "top_k": 2}
        chosen = glue_settings(words, bert, train=train_section, memel=memel)
        runs.append(Run(tmp_path / str(checkpoint)))
        train(GlueTask(chosen), chosen, runs[-1], Ranks())
    plain, again = (run.history() for run in runs)
    assert json.dumps(plain) == json.dumps(again)
    states = [torch.load(run.last_state, weights_only=True)["model"] for run in runs]
    counts = [value for name, value in states[1].items() if name.endswith("num_batches_tracked")]
    assert counts and all(count.max() == 2 * 12 for count in counts)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-6)


def test_a_model_that_cannot_is_refused_before_training(tmp_path: Path):
    chosen = RunSettings(task="toy", train=TrainSettings(steps=2, checkpoint=True), memel=None)
    run = Run(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train.checkpoint: .* found ToyModel; set"):
        train(ToyTask(chosen), chosen, run, Ranks())
    assert not run.history()
    unable = bert(0.0)
    unable.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match=r"train.checkpoint: .* does not support"):
        recompute_blocks(unable)


def test_the_older_name_is_found_and_blocks_are_not_recomputed_within_blocks():
    """As transformers before 5.23 has it."""

    class Old(ToyModel):
        def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: object) -> None:
            self.given = gradient_checkpointing_kwargs
            for module in (self, self.first, self.last):
                module.gradient_checkpointing = True

    model = Old()
    recompute_blocks(model)
    assert model.given == {"use_reentrant": False}
    assert model.first.gradient_checkpointing and model.last.gradient_checkpointing
    assert not model.gradient_checkpointing
