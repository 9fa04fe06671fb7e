"""Estimated masks against clutter of known truth."""

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive import Archive
from nowcast.precipitation.masking.estimates import absent, radar_place
from nowcast.precipitation.masking.static_mask import estimate_usable
from nowcast.precipitation.synthetic import write_synthetic


@pytest.fixture(scope="module")
def cluttered(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("archives") / "cluttered"
    write_synthetic(root, days=3, seed=0, height=96, width=96, step_minutes=12, clutter=True)
    return Archive(root)


def test_the_static_mask_finds_the_blocked_sector_and_the_ring(cluttered: Archive):
    found = ~estimate_usable(cluttered, 400, 0.3, None).usable
    known = ~cluttered.usable
    assert (found & known).sum() / found.sum() > 0.8  # precision
    assert (found & known).sum() / known.sum() > 0.6  # recall


def test_masks_that_are_there_are_not_overwritten(cluttered: Archive):
    with pytest.raises(ConfigError, match="not overwritten"):
        absent(cluttered)


def test_the_radar_lies_in_the_frame():
    assert radar_place("3, 4.5", (8, 8)) == (3.0, 4.5)
    for text in ("9,1", "x,1", "1", "nan,1"):
        with pytest.raises(ConfigError, match="expected ROW,COLUMN"):
            radar_place(text, (8, 8))


def test_clutter_changes_masks_and_only_there(cluttered: Archive):
    masks = np.stack([cluttered.mask(moment) for moment in cluttered.moments[::5]])
    assert not masks[:, ~cluttered.usable].any()
    assert not masks[:, cluttered.usable].all()
