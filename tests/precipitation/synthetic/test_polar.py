"""Rays and range bins, by hand: north first, clockwise, and back to the pixels they came from."""

import numpy as np
import pytest

from nowcast.precipitation.synthetic.polar import RAYS, Polar, range_and_azimuth


def test_distance_and_azimuth_by_hand():
    distance, azimuth = range_and_azimuth((5, 5))
    for pixel, expected in {
        (0, 2): (2.0, 0.0),
        (2, 4): (2.0, np.pi / 2),
        (4, 2): (2.0, np.pi),
        (2, 0): (2.0, 3 * np.pi / 2),
        (0, 4): (2 * np.sqrt(2), np.pi / 4),
    }.items():
        assert (distance[pixel], azimuth[pixel]) == pytest.approx(expected)
    distance, _ = range_and_azimuth((5, 5), radar=(0.0, 0.0))
    assert distance[3, 4] == 5.0


def test_what_follows_a_beam_is_one_ray_and_what_follows_a_circle_one_bin():
    polar = Polar((101, 101))
    north = np.zeros((101, 101))
    north[:51, 50] = 1
    rays = polar.scan(north)
    assert rays[0, :51].all()
    assert not rays[RAYS // 4].any(where=np.arange(rays.shape[1]) > 0)
    distance, _ = range_and_azimuth((101, 101))
    rays = polar.scan(np.rint(distance) == 30)
    assert rays[:, 30].mean() > 0.8  # the nearest pixel is up to 0.7 px off the circle
    assert rays[:, 29:32].any(axis=1).mean() > 0.95  # a ray may slip between two pixels
    assert not rays[:, :28].any() and not rays[:, 33:].any()


def test_marks_come_back_to_the_pixels_of_their_bin():
    polar = Polar((40, 60), radar=(10.0, 50.0))
    marks = np.zeros((RAYS, polar.reach + 1), dtype=bool)
    marks[:, 12] = True
    distance, _ = range_and_azimuth((40, 60), (10.0, 50.0))
    np.testing.assert_array_equal(polar.back(marks), np.rint(distance) == 12)
    assert polar.inside[:, 0].all() and not polar.inside[0, 11:].any()  # the frame ends 10 px north


def test_beyond_the_frame_a_bin_holds_what_its_edge_does():
    field = np.arange(9).reshape(3, 3)
    polar = Polar((3, 3), radar=(2.0, 2.0))
    assert polar.scan(field)[0].tolist() == [8, 5, 2, 2]
