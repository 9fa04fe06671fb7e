"""The image task: batches, scores, MEmeL in stage 3, runs by the commands that all tasks share."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from nowcast.core.errors import ConfigError
from nowcast.core.memel.plug import plugged
from nowcast.core.settings import MEmeLSettings
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.activations import recompute_blocks
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.task import Task
from nowcast.core.training.trainer import build_model, train
from nowcast.imagenet.scores import read, sums_of
from nowcast.imagenet.task import ImagenetTask
from tests.core.ranks import in_ranks
from tests.imagenet.tiny_swin import COLOURS, settings, write_colours

CPU = torch.device("cpu")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("colours"))


def test_it_is_a_task_and_describes_itself(colours: Path):
    task = ImagenetTask(settings(colours))
    assert isinstance(task, Task)
    assert "18 images of 6 classes" in task.describe("valid")
    assert task.epoch() == 48 and task.classes == tuple(COLOURS)


def test_accuracies_equal_scikit_learn_over_any_batches():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(101, 7, generator=generator)
    labels = torch.randint(7, (101,), generator=generator)
    parts = [sums_of(logits[p], labels[p]) for p in (slice(3), slice(3, 60), slice(60, 101))]
    found = read(reduce(add, parts)).values
    for name, k in (("top1", 1), ("top5", 5)):
        expected = top_k_accuracy_score(labels, logits.numpy(), k=k, labels=range(7))
        assert found[name] == pytest.approx(100 * expected)
    assert found["error"] == pytest.approx(100 - found["top1"])
    entropy = torch.nn.functional.cross_entropy(logits, labels)
    assert found["cross_entropy"] == pytest.approx(float(entropy), rel=1e-5)
    few = read(sums_of(logits[:, :5], labels % 5))
    assert few.values["top5"] is None and few.why == {"top5": "fewer than 6 classes"}


def test_the_training_loss_is_that_of_the_mixed_targets(colours: Path):
    task = ImagenetTask(settings(colours))
    torch.manual_seed(0)
    model = task.model()
    batch = next(task.training_batches(0, Ranks()))
    logits = model(pixel_values=batch.images).logits
    expected = -(batch.targets * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task.loss(model, batch), expected)


def test_splits_of_a_held_out_share(colours: Path):
    held = ImagenetTask(settings(colours, data={"held_out": 0.25}))
    files = {split: held.split(split) for split in ("train", "valid", "test")}
    assert [len(found) for found in files.values()] == [36, 12, 18]
    names = [name for split in ("train", "valid") for name in files[split].files.tolist()]
    assert len(set(names)) == 48
    assert len({found.hash for found in files.values()}) == 3
    plain = ImagenetTask(settings(colours))
    assert plain.data_hash() != held.data_hash()
    with pytest.raises(ConfigError, match="without images"):
        ImagenetTask(settings(colours, data={"held_out": 0.001})).split("valid")


def test_baselines_need_no_steps(colours: Path):
    task = ImagenetTask(settings(colours))

    def top1(name: str) -> float:
        return evaluate(task, task.baseline(name), "valid", Ranks(), CPU).values["top1"] or 0.0

    assert top1("majority") == pytest.approx(100 / 6)
    assert top1("linear") > 60
    with pytest.raises(ConfigError, match="majority, linear, found 'flow'"):
        task.baseline("flow")


@pytest.mark.parametrize("checkpoint", [False, True])
def test_memel_sits_in_stage_3_and_counts_each_step_once(colours: Path, checkpoint: bool):
    task = ImagenetTask(settings(colours))
    torch.manual_seed(0)
    model = build_model(task, MEmeLSettings(late_start=2)).train()
    if checkpoint:
        recompute_blocks(model)
    layers = plugged(model)
    assert list(layers) == [f"swin.encoder.layers.2.blocks.{block}" for block in range(4)]
    batches = task.training_batches(0, Ranks())
    for _ in range(4):
        task.loss(model, next(batches)).backward()
    for layer in layers.values():
        assert layer.neuron_shape == (4, 32)
        assert layer.num_batches_tracked == 4 and layer.num_samples_tracked == 32


def test_groups_are_classes(colours: Path):
    task = ImagenetTask(settings(colours))
    batch = next(task.evaluation_batches("valid", Ranks()))
    assert task.groups("by_class", batch)[:4] == ["blue", "blue", "blue", "cyan"]
    bright = replace(
        batch, images=torch.arange(-1.0, len(batch) - 1).view(-1, 1, 1, 1).expand_as(batch.images)
    )
    assert task.groups("by_brightness", bright)[:3] == ["dark", "dark", "bright"]
    files = ("val/a/camera-01.png", "val/a/scan_b7.png", "val/a/12.png")
    assert task.groups("by_source", replace(batch, files=files)) == ["camera", "scan", "unnamed"]
    with pytest.raises(ConfigError, match="by_class"):
        task.groups("by_day", batch)


def test_an_image_that_breaks_is_named_and_stops_nothing(tmp_path: Path):
    root = write_colours(tmp_path / "tree", train=4, val=2)
    (root / "train" / "red" / "2.png").write_bytes(b"")
    (root / "val" / "red" / "1.png").write_bytes(b"<html>")
    chosen = settings(root, train={"epochs": 1})
    with pytest.warns(UserWarning) as told:
        train(ImagenetTask(chosen), chosen, Run(tmp_path / "run"), Ranks())
    texts = " ".join(str(warning.message) for warning in told)
    assert "2.png" in texts and "1.png" in texts and "nowcast data images" in texts
    assert Run(tmp_path / "run").is_finished


def test_a_run_learns_and_the_commands_know_it(run: Call, colours: Path, tmp_path: Path):
    content = settings(colours).model_dump(mode="json")
    content["data"].pop("root")
    content["augment"] |= {"mixup": 0.0, "cutmix": 0.0, "erase": 0.0}
    content["compare"] = {
        "seeds": [0, 1],
        "split": "valid",
        "baselines": ["majority"],
        "variants": {
            "P": {"set": {"train.epochs": 10}, "scored": False},
            "Original": {"start_from": "P"},
            "MEmeL": {"start_from": "P", "set": {"memel.late_start": 3}},
            "MEmeL-T": {"run_of": "MEmeL", "set": {"memel.in_eval": True}},
        },
    }
    (tmp_path / "colours.yaml").write_text(dumps(content))
    arguments = [tmp_path / "colours.yaml", f"data.root={colours}", "--out", tmp_path / "out"]
    status, out, err = run("compare", *arguments)
    assert status == 0, err
    rows = json.loads((tmp_path / "out" / "scores.json").read_text())["rows"]
    found = {(row["forecaster"], row["seed"]): row["top1"] for row in rows}
    assert found["Original", 0] > found["majority", None] + 40
    assert len(found) == 7 and "MEmeL-T" in out
    trained = tmp_path / "out" / "runs" / "Original" / "seed0"
    options = ["--neurons", "64", "--json", tmp_path / "audit.json"]
    status, out, err = run("audit", "inhibition", trained, *options)
    assert status == 0, err
    methods = [row["method"] for row in json.loads((tmp_path / "audit.json").read_text())]
    assert methods == ["Original", "Naive (a)", "Naive (b)", "Reversed Deactivation"]
    status, out, err = run("audit", "neurons", trained, "--features", "by_class", "--top", "1")
    assert status == 0, err
    kept = json.loads((trained / "audit" / "neurons.json").read_text())
    assert kept["selectivity"]["swin.encoder.layers.2.blocks.0"]["neurons"] == 32
    assert len(kept["rows"]) == len(COLOURS)


def learn(ranks: Ranks, root: Path, folder: Path) -> float:
    torch.manual_seed(0)
    chosen = settings(root, train={"epochs": 1}, memel={"late_start": 2})
    task = ImagenetTask(chosen)
    train(task, chosen, Run(folder), ranks)
    return float(evaluate(task, task.model(), "valid", ranks, CPU).support["images"])


@pytest.mark.slow
def test_two_ranks_are_one(colours: Path, tmp_path: Path):
    states = []
    for size in (1, 2):
        assert in_ranks(size, learn, colours, tmp_path / f"{size}") == [18.0] * size
        states.append(torch.load(Run(tmp_path / f"{size}").last_state, weights_only=True)["model"])
    one, two = states
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-4, msg=name)


def test_a_run_that_was_stopped_goes_on_to_the_bit(colours: Path, tmp_path: Path):
    chosen = settings(colours, train={"epochs": 1, "validate_every": 3})

    class Stopped(Exception):
        pass

    def stop(step: int, _: float) -> None:
        if step == 3:
            raise Stopped

    train(ImagenetTask(chosen), chosen, Run(tmp_path / "whole"), Ranks())
    with pytest.raises(Stopped):
        train(ImagenetTask(chosen), chosen, Run(tmp_path / "part"), Ranks(), after_validation=stop)
    train(ImagenetTask(chosen), chosen, Run(tmp_path / "part"), Ranks())
    whole, part = Run(tmp_path / "whole"), Run(tmp_path / "part")
    assert whole.history() == part.history()
    assert whole.best_weights.read_bytes() == part.best_weights.read_bytes()
    assert np.isfinite(whole.result()["best_objective"])


def test_without_a_folder_of_images_it_says_which_setting_is_missing(colours: Path):
    chosen = settings(colours)
    lacking = chosen.model_copy(update={"data": chosen.data.model_copy(update={"root": None})})
    with pytest.raises(ConfigError, match=r"data\.root=FOLDER"):
        ImagenetTask(lacking)
