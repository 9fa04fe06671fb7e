"""The DWD sample: real radar, right way up, in its units, with its gaps."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.conversion import sample
from nowcast.precipitation.sources.conversion.sample import write_sample
from nowcast.precipitation.units import dbz_from_pixel, encode

FOUND = importlib.util.find_spec("pycomlink")
needs_pycomlink = pytest.mark.skipif(FOUND is None, reason="needs the package pycomlink")

FRAMES = 3168  # eleven days of five minutes


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, list[tuple[int, int]]]:
    root = tmp_path_factory.mktemp("archives") / "dwd"
    progress: list[tuple[int, int]] = []
    write_sample(root, lambda done, total: progress.append((done, total)))
    return Archive(root), progress


@pytest.fixture(scope="module")
def source() -> tuple[list[int], np.ndarray]:
    """A wet moment, the wettest, and one with a radar off; and their sums in the package."""
    positions = [2000, 1767, 1067]
    path = Path(FOUND.origin).parent / "io/example_data/example_areal_reference_data.nc"
    with h5py.File(path) as file:
        assert file["latitudes"][0, 0] < file["latitudes"][-1, 0]
        return positions, np.stack([file["rainfall_amount"][position] for position in positions])


@needs_pycomlink
def test_eleven_days_every_five_minutes(written: tuple[Archive, list[tuple[int, int]]]):
    archive, progress = written
    assert archive.shape == (190, 228)
    assert archive.step == np.timedelta64(5, "m")
    first = np.datetime64("2018-05-10T00:00", "m")
    expected = first + np.timedelta64(5, "m") * np.arange(FRAMES)
    assert np.array_equal(archive.moments, expected)
    assert progress == [(done, FRAMES) for done in range(1, FRAMES + 1)]
    assert "Deutscher Wetterdienst" in archive.description.credit
    assert (archive.description.zr_a, archive.description.zr_b) == (256.0, 1.42)


@needs_pycomlink
def test_north_is_on_top_and_every_rate_is_twelve_times_its_sum(
    written: tuple[Archive, list[tuple[int, int]]], source: tuple[list[int], np.ndarray]
):
    archive, _ = written
    for position, raw in zip(*source, strict=True):
        moment = archive.moments[position]
        levels, turned = archive.frame(moment), raw[::-1]
        assert np.array_equal(archive.mask(moment), turned != -9999)
        assert not np.array_equal(turned != -9999, raw != -9999)
        assert (levels[turned <= 0] == 0).all()
        rain = turned > 0
        rate_mm_h = 12 * 0.01 * turned[rain]
        dbz = 10 * np.log10(256 * rate_mm_h**1.42)
        inside = (dbz > -10) & (dbz < 60)
        assert inside.any()
        half_a_level = 0.5 * 70 / 255
        error = dbz_from_pixel(levels[rain] / 255) - dbz
        assert np.abs(error[inside]).max() <= half_a_level + 1e-9
        # Half a level, 0.137 dBZ, is 2.3 % of a rain rate.
        rate = archive.calibration.rate_from_pixel(levels[rain] / 255)
        np.testing.assert_allclose(rate[inside], rate_mm_h[inside], rtol=0.023)
        by_hand = encode(archive.calibration.pixel_from_rate(rate_mm_h))
        assert np.array_equal(levels[rain], by_hand)


@needs_pycomlink
def test_a_pixel_is_used_if_nearly_all_have_it(
    written: tuple[Archive, list[tuple[int, int]]],
):
    archive, _ = written
    masks = np.stack([archive.mask(moment) for moment in archive.moments])
    # 1100 pixels are never seen; at one moment a radar is off, and 462 more are not.
    unseen = (~masks).sum((1, 2))
    assert unseen[1067] == 1562 and (np.delete(unseen, 1067) == 1100).all()
    assert np.array_equal(archive.usable, masks.any(axis=0))  # one frame excludes nothing


@needs_pycomlink
def test_days_and_their_splits(written: tuple[Archive, list[tuple[int, int]]]):
    archive, _ = written
    days = {split: list(depths) for split, depths in archive.days.items()}
    assert days == {
        "train": [f"201805{day}" for day in range(10, 17)],
        "valid": ["20180517"],
        "test": ["20180519", "20180520"],
    }
    assert len(archive.moments_of("valid")) == 288


@needs_pycomlink
def test_the_depth_of_a_day_is_its_mean_rain(written: tuple[Archive, list[tuple[int, int]]]):
    archive, _ = written
    valid = archive.moments_of("valid")
    depth = 0.0
    for moment in valid:
        rate = archive.calibration.rate_from_pixel(archive.frame(moment) / 255)
        depth += float(rate[archive.mask(moment)].mean()) / 12
    assert archive.days["valid"]["20180517"] == pytest.approx(depth, abs=0.06)


@needs_pycomlink
def test_nothing_is_written_into_a_folder_that_holds_something(tmp_path: Path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        write_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_the_package_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sample.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"`pip install --no-deps pycomlink==0\.6\.0`"):
        write_sample(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_version_of_the_package_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = importlib.util.spec_from_file_location("pycomlink", tmp_path / "__init__.py")
    monkeypatch.setattr(sample.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match=r"expected the rain sums of pycomlink 0\.6\.0"):
        write_sample(tmp_path / "new")
