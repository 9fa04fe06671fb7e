"""SEVIR's events: levels untouched, each event its own archive, times from the catalog."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.agencies.sevir import kg_m2_from_level, read_sevir
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Request
from tests.radar_files import sevir_row, write_sevir


@pytest.fixture(scope="module")
def vil() -> np.ndarray:
    """Two events, a level for each row and frame; a corner is missing."""
    rows = np.arange(384)[:, None, None] // 2
    frames = np.arange(49)[None, None, :]
    event = np.broadcast_to((rows + frames).astype(np.uint8), (384, 384, 49)).copy()
    event[:10, :10] = 255
    return np.stack([event, 254 - event // 2])


def rows() -> list[dict[str, Any]]:
    return [
        sevir_row("S1", 0),
        sevir_row("R2", 1, time_utc="2019-06-11 00:00:00"),
        sevir_row("S1", 0, img_type="ir069"),
        sevir_row("S3", 0, file_name="vil/2018/another.h5", img_type="vis"),
    ]


def test_every_event_becomes_an_archive_of_its_levels(tmp_path: Path, vil: np.ndarray):
    path, catalog = write_sevir(tmp_path, vil, rows())
    done = []
    written = convert(
        path,
        tmp_path / "out",
        "sevir",
        Request(catalog=catalog),
        Target(crop=(0, 384, 0, 100)),
        lambda *count: done.append(count),
    )
    assert [made.root.name for made in written] == ["S1", "R2"]
    assert done == [(n, 98) for n in range(1, 99)]
    archive = Archive(tmp_path / "out" / "S1")
    assert archive.description.quantity == "VIL"
    assert any("nominal" in line for line in archive.description.history)
    assert len(archive.moments) == 49
    assert archive.moments[0] == np.datetime64("2019-06-10T16:32", "m")
    for position in (0, 24, 48):
        levels = vil[0, ::-1, :100, position]
        mask = levels != 255
        assert np.array_equal(archive.mask(archive.moments[position]), mask)
        assert np.array_equal(archive.frame(archive.moments[position]), np.where(mask, levels, 0))
    assert not archive.usable[374:, :10].any() and archive.usable[:374].all()


def test_chosen_events_only(tmp_path: Path, vil: np.ndarray):
    path, catalog = write_sevir(tmp_path, vil, rows())
    request = Request(catalog=catalog, events=("R2",))
    (source,) = read_sevir(path, request)
    assert source.name == "R2" and source.times[-1] == np.datetime64("2019-06-11T02:00", "m")
    # Frames may be asked for in any order.
    assert np.array_equal(source.read(48).values, source.read(48).values, equal_nan=True)
    with pytest.raises(ConfigError, match=r"CATALOG.csv: expected S9 among the VIL events"):
        read_sevir(path, Request(catalog=catalog, events=("S9", "R2")))


def test_kg_m2_by_hand_and_without_a_leap():
    levels = np.array([0, 5, 6, 18, 19, 254, 255], dtype=np.uint8)
    expected = [0, 0, 4 / 90.66, 16 / 90.66, np.exp(-64.9 / 38.9), np.exp(170.1 / 38.9), np.nan]
    np.testing.assert_allclose(kg_m2_from_level(levels), expected)
    every = kg_m2_from_level(np.arange(255, dtype=np.uint8))
    assert (np.diff(every)[5:] > 0).all()
    assert every.max() == pytest.approx(79.3, abs=0.1)  # what SEVIR's VIL reaches
    assert np.diff(every)[:100].max() < 0.1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "../S1"}, "line 2: expected an event of 49 frames .* found an id '../S1'"),
        ({"minute_offsets": "0:5:10"}, "found 3 offsets"),
        ({"minute_offsets": ":".join(["0"] * 49)}, "found offsets that are not 5 minutes apart"),
        ({"time_utc": "yesterday"}, "line 2: expected an event .*yesterday"),
        ({"file_index": "x"}, "line 2: expected an event"),
        ({"file_index": 1}, "expected the event S1 at position 1 as the catalog says, found R2"),
        ({"file_index": 7}, "expected the event S1 at position 7 .* found nothing"),
        ({"width_m": "wide"}, "line 2: expected corners and sizes"),
    ],
)
def test_a_catalog_that_contradicts_is_an_error(
    tmp_path: Path, vil: np.ndarray, changed: dict, message: str
):
    lines = rows()
    lines[0] |= changed
    path, catalog = write_sevir(tmp_path, vil[:, :384, :384], lines)
    with pytest.raises(DataError, match=message):
        read_sevir(path, Request(catalog=catalog))


def test_bad_files_and_options(tmp_path: Path, vil: np.ndarray):
    path, catalog = write_sevir(tmp_path, vil, [*rows(), sevir_row("S1", 0)])
    with pytest.raises(DataError, match="line 6: S1 stands twice"):
        read_sevir(path, Request(catalog=catalog))
    path, catalog = write_sevir(tmp_path, vil[:, :100], rows())
    with pytest.raises(DataError, match=r"expected vil as 8-bit levels of shape .*\(2, 100, 384"):
        read_sevir(path, Request(catalog=catalog))
    with pytest.raises(ConfigError, match=r"--catalog: expected SEVIR's CATALOG\.csv"):
        read_sevir(path, Request())
    with pytest.raises(ConfigError, match="--unit: SEVIR's VIL levels are kept"):
        read_sevir(path, Request(unit="mm_h", catalog=catalog))
    catalog.write_text("id,name\n")
    with pytest.raises(DataError, match="found no column file_name"):
        read_sevir(path, Request(catalog=catalog))
    with pytest.raises(ConfigError, match=r"expected SEVIR's CATALOG\.csv, found none"):
        read_sevir(path, Request(catalog=tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match="expected one SEVIR file"):
        read_sevir(tmp_path, Request(catalog=catalog))
