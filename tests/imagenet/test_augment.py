"""Training's changes to an image: each can be off, and all follow from seed, step and place."""

import itertools

import numpy as np
import pytest
from PIL import Image

from nowcast.api.config import validate
from nowcast.core.errors import ConfigError
from nowcast.imagenet.settings import AugmentSettings
from nowcast.imagenet.transforms.augment import Augment, erase, evaluated, jittered
from nowcast.imagenet.transforms.geometry import RATIO, centre, random_box
from nowcast.imagenet.transforms.pixels import DEVIATION, MEAN, normalised
from nowcast.imagenet.transforms.randaugment import FILL, OPERATIONS, randaugment
from tests.imagenet.image_files import picture

OFF = AugmentSettings(
    crop_scale=None, flip=0, colour_jitter=0, randaugment=None, erase=0, mixup=0, cutmix=0
)
PICTURE = picture(3, 90, 120)


def pixels_of(found: np.ndarray) -> np.ndarray:
    """What was normalised, 0-255."""
    levels = found.transpose(1, 2, 0) * np.array(DEVIATION) + np.array(MEAN)
    return levels * 255


def test_normalised_pixels_are_those_of_the_formula():
    one = np.full((1, 1, 3), (255, 0, 51), dtype=np.uint8)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    found = normalised(Image.fromarray(one))
    assert found.dtype == np.float32 and found.shape == (3, 1, 1)
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "resized"), [((300, 400), (256, 341)), ((400, 300), (341, 256)), ((256, 256), None)]
)
def test_evaluation_cuts_224_out_of_256(shape: tuple[int, int], resized: tuple[int, int] | None):
    image = picture(1, *shape)
    height, width = resized or shape
    whole = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    expected = np.asarray(whole)[top : top + 224, left : left + 224]
    found = np.asarray(centre(image, 224)).astype(int)
    assert np.abs(found - expected).max() <= 2 and np.mean(found != expected) < 0.01
    np.testing.assert_allclose(pixels_of(evaluated(image, 224)), found, atol=1e-3)
    assert centre(image, 32).size == (32, 32)


def test_a_strip_of_an_image_is_no_burden():
    strip = picture(1, 2, 50_000)  # all of it resized would have 6.4 million columns
    assert evaluated(strip, 224).shape == (3, 224, 224)
    assert Augment(AugmentSettings(), 224, 0)(strip, 0, 0).shape == (3, 224, 224)


def test_boxes_have_the_asked_for_areas_and_ratios_and_lie_inside():
    generator = np.random.default_rng(0)
    boxes = np.array([random_box(375, 500, (0.08, 1.0), generator) for _ in range(500)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 500 and boxes[:, 3].max() <= 375
    share = width * height / (375 * 500)
    assert 0.078 < share.min() < 0.12 and 0.85 < share.max() <= 1
    assert RATIO[0] * 0.97 < (width / height).min() and (width / height).max() < RATIO[1] * 1.03
    narrow = random_box(1000, 10, (1.0, 1.0), generator)  # no box of that ratio and area fits
    assert narrow == (0, 493, 10, 506)


def test_it_is_a_function_of_seed_step_and_place():
    augment = Augment(AugmentSettings(), 32, seed=5)
    first = augment(PICTURE, 7, 3)
    np.random.default_rng().random(3), np.random.random(3)  # noqa: NPY002  no global generator
    np.testing.assert_array_equal(Augment(AugmentSettings(), 32, seed=5)(PICTURE, 7, 3), first)
    others = [
        augment(PICTURE, 8, 3),
        augment(PICTURE, 7, 4),
        Augment(AugmentSettings(), 32, seed=6)(PICTURE, 7, 3),
    ]
    assert all(not np.array_equal(first, other) for other in others)
    assert first.shape == (3, 32, 32) and first.dtype == np.float32


def test_with_everything_off_training_sees_what_evaluation_sees():
    np.testing.assert_array_equal(Augment(OFF, 32, 0)(PICTURE, 1, 2), evaluated(PICTURE, 32))


@pytest.mark.parametrize(
    "change",
    [
        {"crop_scale": (0.5, 0.6)},
        {"flip": 1.0},
        {"colour_jitter": 0.4},
        {"randaugment": 9.0},
        {"erase": 1.0},
    ],
    ids=str,
)
def test_each_part_alone_changes_the_image(change: dict):
    augment = Augment(OFF.model_copy(update=change), 32, 0)
    plain = evaluated(PICTURE, 32)
    changed = [not np.array_equal(augment(PICTURE, 0, place), plain) for place in range(20)]
    # RandAugment leaves both operations out of a quarter of the images.
    assert all(changed) if "randaugment" not in change else 8 <= sum(changed) < 20


def test_a_flip_exchanges_left_and_right_in_as_many_images_as_asked():
    flipped = Augment(OFF.model_copy(update={"flip": 1.0}), 32, 0)(PICTURE, 0, 0)
    np.testing.assert_array_equal(flipped[:, :, ::-1], evaluated(PICTURE, 32))
    half = Augment(OFF.model_copy(update={"flip": 0.5}), 16, 0)
    plain = evaluated(PICTURE, 16)
    count = sum(np.array_equal(half(PICTURE, step, 0), plain) for step in range(200))
    assert 75 < count < 125


def test_randaugment_takes_the_place_of_colour_jitter():
    both = Augment(OFF.model_copy(update={"randaugment": 9.0, "colour_jitter": 0.4}), 32, 0)
    alone = Augment(OFF.model_copy(update={"randaugment": 9.0}), 32, 0)
    for place in range(5):
        np.testing.assert_array_equal(both(PICTURE, 0, place), alone(PICTURE, 0, place))


def test_jitter_of_a_gray_image_scales_its_brightness():
    gray = Image.new("RGB", (4, 4), (100, 100, 100))
    found = [
        np.asarray(jittered(gray, 0.4, np.random.default_rng(seed)))[0, 0, 0] for seed in range(300)
    ]
    assert 60 <= min(found) < 65 and 135 < max(found) <= 140  # contrast and colour leave it


def test_erasing_writes_noise_into_one_rectangle_of_the_right_size():
    shares = []
    for seed in range(200):
        pixels = np.zeros((3, 60, 60), dtype=np.float32)
        erase(pixels, np.random.default_rng(seed))
        rows, columns = np.nonzero(pixels.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert np.count_nonzero(pixels[0]) == height * width
        shares.append(height * width / 3600)
        assert 0.2 < height / width < 5
    assert 0.015 < min(shares) < 0.04 and 0.3 < max(shares) < 0.35


LEVELS = np.arange(256, dtype=np.uint8)
RAMP = Image.fromarray(np.repeat(LEVELS[None, :, None], 3, axis=2))


def applied(name: str, share: float, sign: int = 1) -> list[int]:
    return np.asarray(OPERATIONS[name](RAMP, share, sign))[0, :, 0].astype(int).tolist()


def test_operations_do_to_a_gray_ramp_what_the_recipe_says():
    levels = LEVELS.astype(int)
    assert applied("invert", 0.9) == (255 - levels).tolist()
    assert applied("posterize", 0.9) == (levels & 0b10000000).tolist()  # 4 - 3 bits are left
    assert applied("posterize", 0.5) == (levels & 0b11000000).tolist()
    assert applied("solarize", 0.9) == [n if n < 26 else 255 - n for n in levels]
    assert applied("solarize add", 0.5) == [min(n + 55, 255) if n < 128 else n for n in levels]
    assert applied("brightness", 0.9)[100] == 181 and applied("brightness", 0.9, -1)[100] == 19
    assert applied("brightness", 1.0, -1)[100] == 10
    assert applied("colour", 0.9) == levels.tolist()  # gray has none
    assert applied("contrast", 1.0, -1)[0] == 115  # of the mean, 128, nine tenths
    shifted = applied("translate x", 0.5)
    assert shifted[0] == pytest.approx(58, abs=1) and shifted[-1] == FILL[0]
    assert applied("translate x", 0.5, -1)[0] == FILL[0]


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_operation_changes_a_picture_and_keeps_its_size(name: str):
    image = Image.fromarray(picture(2, 32, 32) // 2 + 20)
    for sign, share in itertools.product((1, -1), (0.9, 1.0)):
        found = OPERATIONS[name](image, share, sign)
        assert found.size == image.size and found.mode == "RGB"
        assert not np.array_equal(np.asarray(found), np.asarray(image))
    assert OPERATIONS[name](image, 0.0, 1).size == image.size


def test_randaugment_draws_all_operations_and_their_strength(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, float, int]] = []

    def note(name: str):
        return lambda image, share, sign: (seen.append((name, share, sign)), image)[1]

    names = list(OPERATIONS)
    monkeypatch.setattr(
        "nowcast.imagenet.transforms.randaugment.OPERATIONS", {name: note(name) for name in names}
    )
    generator = np.random.default_rng(0)
    for _ in range(1000):
        randaugment(RAMP, 9.0, generator)
    assert {name for name, _, _ in seen} == set(names)
    assert 920 < len(seen) < 1080  # half of 2000
    shares = np.array([share for _, share, _ in seen])
    assert shares.mean() == pytest.approx(0.9, abs=0.01) and shares.max() == 1
    assert shares.std() == pytest.approx(0.05, abs=0.005)
    assert np.mean([sign for _, _, sign in seen]) == pytest.approx(0, abs=0.1)


def test_impossible_settings_are_named():
    with pytest.raises(ConfigError, match="least <= greatest"):
        validate(AugmentSettings, {"crop_scale": [0.5, 0.1]}, "config")
    with pytest.raises(ConfigError, match="randaugment: Input should be less than or equal to 10"):
        validate(AugmentSettings, {"randaugment": 27}, "config")
