"""Draws are a function of (seed, step)."""

import numpy as np

from nowcast.core.training.sampling import draws, passes


def test_the_same_seed_and_step_draw_the_same_and_others_do_not():
    first = draws(0, 7, 64, (100, 5))
    assert np.array_equal(first, draws(0, 7, 64, (100, 5)))
    assert not np.array_equal(first, draws(0, 8, 64, (100, 5)))
    assert not np.array_equal(first, draws(1, 7, 64, (100, 5)))


def test_draws_cover_each_population_and_stay_inside():
    many = draws(0, 0, 4000, (7, 1, 3))
    assert set(many[:, 0]) == set(range(7))
    assert set(many[:, 1]) == {0}
    assert set(many[:, 2]) == {0, 1, 2}
    assert abs(np.mean(many[:, 0]) - 3) < 0.2


def test_every_pass_takes_each_item_once_and_in_another_order():
    stream = np.concatenate([passes(5, step, 4, 10) for step in range(10)])
    orders = stream.reshape(4, 10)
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert not np.array_equal(stream[:4], passes(6, 0, 4, 10))


def test_a_batch_may_be_larger_than_a_pass():
    assert sorted(passes(0, 0, 6, 3)) == [0, 0, 1, 1, 2, 2]
