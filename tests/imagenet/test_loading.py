"""Batches of a tree: what is in them does not depend on workers or ranks, and a broken file stops
nothing."""

import pickle
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from nowcast.core.errors import DataError
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.sampling import evaluation_plan
from nowcast.core.training.task import Batch
from nowcast.imagenet.data.batch import ImageBatch
from nowcast.imagenet.data.load import load, training_plan
from nowcast.imagenet.data.reader import EvaluationImages, TrainingImages
from nowcast.imagenet.data.tree import list_images
from nowcast.imagenet.settings import AugmentSettings
from nowcast.imagenet.transforms.augment import Augment, evaluated
from nowcast.imagenet.transforms.decode import read_image
from tests.imagenet.image_files import write_tree

SIZE = 16
ALONE = Ranks()
DEFAULT = AugmentSettings()
PLAIN = AugmentSettings(
    crop_scale=None, flip=0, randaugment=None, colour_jitter=0, erase=0, mixup=0, cutmix=0
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images to train on and five to validate on; read it, do not change it."""
    counts = {"train/a": 4, "train/b": 5, "train/c": 2, "val/a": 3, "val/c": 2}
    return write_tree(tmp_path_factory.mktemp("images") / "tree", counts)


def trained(root: Path, settings: AugmentSettings = DEFAULT) -> TrainingImages:
    return TrainingImages(list_images(root, "train"), Augment(settings, SIZE, seed=3))


def batches(
    images: TrainingImages, count: int, ranks: Ranks = ALONE, workers: int = 0, start: int = 0
) -> list[ImageBatch]:
    plan = training_plan(3, start, 6, len(images.files), ranks)
    return list(islice(load(images, plan, workers), count))


def same(one: ImageBatch, other: ImageBatch) -> bool:
    assert one.targets is not None and other.targets is not None
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.targets, other.targets)
        and one.files == other.files
    )


def test_a_training_batch_is_the_planned_images(shared: Path):
    images = trained(shared, PLAIN)
    plan = next(training_plan(3, 0, 6, 11, ALONE))
    (batch,) = batches(images, 1)
    assert isinstance(batch, Batch)
    assert batch.images.shape == (6, 3, SIZE, SIZE) and batch.of == 11
    assert batch.places.tolist() == plan.items.tolist()
    for row, item in enumerate(plan.items.tolist()):
        expected = evaluated(read_image(images.files.path(item)), SIZE)
        np.testing.assert_array_equal(batch.images[row].numpy(), expected)
        assert batch.names()[row] == images.files.file(item)
        assert batch.labels[row] == images.files.labels[item]
        assert batch.targets is not None and batch.targets[row].argmax() == batch.labels[row]


def test_one_pass_has_every_image_once(shared: Path):
    found = [place for batch in batches(trained(shared, PLAIN), 2) for place in batch.places]
    assert sorted(found[:11]) == list(range(11))


def test_workers_change_nothing(shared: Path):
    images = trained(shared)
    alone = batches(images, 3)
    for batch, other in zip(alone, batches(images, 3, workers=2), strict=True):
        assert same(batch, other)


def test_it_goes_on_from_any_step(shared: Path):
    assert same(batches(trained(shared), 4)[3], batches(trained(shared), 1, start=3)[0])


@pytest.mark.parametrize("size", [2, 3, 4])
def test_ranks_have_together_what_one_has_alone(shared: Path, size: int):
    whole = batches(trained(shared), 3)
    parts = [batches(trained(shared), 3, Ranks(rank, size)) for rank in range(size)]
    for step, batch in enumerate(whole):
        assert batch.targets is not None
        rows = {
            (file, image.numpy().tobytes(), target.numpy().tobytes())
            for file, image, target in zip(batch.files, batch.images, batch.targets, strict=True)
        }
        found = set()
        for part in parts:
            mine = part[step]
            assert mine.targets is not None
            found |= {
                (file, image.numpy().tobytes(), target.numpy().tobytes())
                for file, image, target in zip(mine.files, mine.images, mine.targets, strict=True)
            }
        assert found == rows


def test_images_are_mixed_with_the_mirrored_place_as_their_targets(shared: Path):
    settings = PLAIN.model_copy(update={"mixup": 1.0, "label_smoothing": 0.0})
    (plain,), (mixed,) = batches(trained(shared, PLAIN), 1), batches(trained(shared, settings), 1)
    assert mixed.targets is not None
    for row in range(6):
        if plain.labels[row] == plain.labels[5 - row]:
            continue
        weight = mixed.targets[row, plain.labels[row]]
        expected = weight * plain.images[row] + (1 - weight) * plain.images[5 - row]
        torch.testing.assert_close(mixed.images[row], expected)
        torch.testing.assert_close(mixed.targets[row, plain.labels[5 - row]], 1 - weight)
        break
    else:
        raise AssertionError("no two images of different classes were mixed")
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(6))
    assert torch.equal(mixed.labels, plain.labels)


def test_evaluation_has_every_image_once_on_any_number_of_ranks(shared: Path):
    images = EvaluationImages(list_images(shared, "valid"), SIZE)
    for size in (1, 2, 3):
        places = []
        for rank in range(size):
            plan = evaluation_plan(5, 2, Ranks(rank, size))
            for batch in load(images, plan, 0):
                assert batch.targets is None and len(batch) <= 2
                places += batch.places.tolist()
        assert places == [0, 1, 2, 3, 4]


def test_a_batch_can_be_cut_and_moved(shared: Path):
    (batch,) = batches(trained(shared), 1)
    part = batch.take(np.array([4, 1]))
    assert part.names() == [batch.files[4], batch.files[1]]
    assert torch.equal(part.images, batch.images[[4, 1]]) and len(part) == 2
    moved = batch.to(torch.device("meta"))
    assert moved.images.is_meta and moved.labels.is_meta and moved.targets.is_meta


def test_what_reads_travels_to_another_process(shared: Path):
    images = pickle.loads(pickle.dumps(trained(shared)))
    assert same(batches(images, 1)[0], batches(trained(shared), 1)[0])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A tree of which train/a/train_a_2 and val/a/val_a_0 and val/a/val_a_1 cannot be read."""
    root = write_tree(tmp_path / "tree", {"train/a": 5, "train/b": 2, "val/a": 3, "val/b": 1})
    (root / "train/a/train_a_2.JPEG").write_bytes(b"<html>not found</html>")
    (root / "val/a/val_a_0.JPEG").write_bytes(b"")
    whole = (root / "val/a/val_a_1.JPEG").read_bytes()
    (root / "val/a/val_a_1.JPEG").write_bytes(whole[: len(whole) // 2])
    return root


@pytest.mark.parametrize("workers", [0, 1])
def test_in_training_the_next_of_the_class_stands_in_and_each_file_is_named_once(
    broken: Path, workers: int
):
    images = trained(broken, PLAIN)
    with pytest.warns(UserWarning) as caught:
        found = batches(images, 7, workers=workers)
    said = [str(warning.message) for warning in caught]
    assert len(said) == 1
    assert "train_a_2.JPEG: expected an image, found a web page" in said[0]
    assert f"another of its class stands in for it; `nowcast data images {broken}`" in said[0]
    names = [name for batch in found for name in batch.names()]
    assert len(names) == 42 and "train/a/train_a_2.JPEG" not in names
    assert names.count("train/a/train_a_3.JPEG") > names.count("train/a/train_a_1.JPEG")
    planned = next(training_plan(3, 0, 6, 7, ALONE)).items
    labels = images.files.labels[planned]
    assert found[0].labels.tolist() == labels.tolist()  # the classes are those of the plan


def test_in_evaluation_it_is_left_out(broken: Path):
    images = EvaluationImages(list_images(broken, "valid"), SIZE)
    with pytest.warns(UserWarning, match="it is left out of the scores") as caught:
        found = list(load(images, evaluation_plan(4, 2, ALONE), 0))
    assert len(caught) == 2
    (batch,) = found  # the first had none
    assert batch.names() == ["val/a/val_a_2.JPEG", "val/b/val_b_0.JPEG"]
    assert batch.labels.tolist() == [0, 1]
    assert batch.places.tolist() == [2, 3] and batch.of == 4
    with pytest.warns(UserWarning):
        (whole,) = load(images, evaluation_plan(4, 4, ALONE), 0)
    assert torch.equal(whole.images, batch.images) and torch.equal(whole.labels, batch.labels)


def test_listed_files_are_not_met(broken: Path):
    files = list_images(broken, "train", left_out=frozenset({"train/a/train_a_2.JPEG"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches(TrainingImages(files, Augment(PLAIN, SIZE, 3)), 3)


def test_a_class_without_a_readable_image_is_an_error(broken: Path):
    for path in (broken / "train/b").iterdir():
        path.write_bytes(b"")
    with (
        pytest.raises(DataError, match="train/b: expected an image that can be read, found 2 that"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        batches(trained(broken, PLAIN), 3)
