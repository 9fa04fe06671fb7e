"""Only gaps within an episode leave frames out."""

import numpy as np
import pytest

from nowcast.precipitation.archive.episodes import missing_frames, missing_in_gaps

START = np.datetime64("2015-07-09T00:00", "m")


@pytest.mark.parametrize(
    ("step", "minutes", "missing"),
    [
        (5, [0, 5, 15, 20, 35], [0, 1, 0, 2]),
        (5, [0, 360, 365], [71, 0]),  # six hours, an outage
        (5, [0, 365, 370], [0, 0]),  # longer: another episode
        (5, [0, 5, 60 * 24 * 400], [0, 0]),
        (120, [0, 720, 840 + 720], [5, 0]),  # six steps of a long step
        (6, [0], []),
    ],
)
def test_a_gap_of_up_to_six_hours_or_steps_is_within_an_episode(
    step: int, minutes: list[int], missing: list[int]
):
    moments = START + np.array(minutes).astype("timedelta64[m]")
    unit = np.timedelta64(step, "m")
    assert missing_in_gaps(moments, unit).tolist() == missing
    assert missing_frames(moments, unit) == sum(missing)
