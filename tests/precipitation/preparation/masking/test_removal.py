"""What was removed is counted: shares worked by hand, sums that do not depend on their order."""

import numpy as np

from nowcast.precipitation.preparation.masking.removal import NOTHING, Agreement, Removed, agreement


def test_agreement_of_two_masks_by_hand():
    ours = np.array([[True, False, False, True, False]])
    theirs = np.array([[True, False, True, False, False]])
    among = np.array([[True, True, True, True, False]])  # the last pixel has no echo
    found = agreement(ours, theirs, among)
    assert found == Agreement(both=1, estimated=2, given=2)
    assert (found.precision, found.recall) == (0.5, 0.5)


def test_where_nothing_is_removed_the_shares_are_undefined():
    assert NOTHING.precision is None and NOTHING.recall is None
    assert Agreement(0, 3, 0).precision == 0.0 and Agreement(0, 3, 0).recall is None


def frame(speckle: int, wet: int) -> Removed:
    one = Removed(frames=1, echoes=100, wet=40, agreement=Agreement(speckle, speckle, 5))
    one.pixels["speckle"], one.wet_pixels["speckle"] = speckle, wet
    one.struck["speckle"] = int(speckle > 0)
    return one


def test_frames_add_up():
    total = Removed()
    for one in (frame(4, 2), frame(0, 0), frame(6, 2)):
        total.add(one)
    assert (total.frames, total.echoes, total.wet) == (3, 300, 120)
    assert total.wet_share == 4 / 120
    assert total.agreement == Agreement(10, 10, 15)
    assert total.rows()[0] == ["speckle", "10", "3.333%", "3.333%", "2 of 3"]
    assert [row[0] for row in total.rows()] == ["speckle", "ring", "spike"]


def test_frames_without_rain_have_shares_of_zero():
    assert Removed().wet_share == 0.0
    assert Removed().rows()[2] == ["spike", "0", "0.000%", "0.000%", "0 of 0"]
