"""MEmeL: values, gradients and statistics by hand, against numpy and against its definition."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nowcast import MEmeL
from nowcast.core.memel import inhibit, monosemantic_scale


def test_scale_by_hand():
    values = torch.tensor([[3.0, 1.0]])
    mean, variance = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0])
    # Mean variance 2, so the denominators are 1 + 0.02 and 3 + 0.02.
    expected = torch.tensor([[4 / 1.02, 1 / 3.02]])
    torch.testing.assert_close(monosemantic_scale(values, mean, variance, eps=0.01), expected)


def test_scale_of_constant_input_is_zero_and_not_nan():
    values = torch.full((2, 3), 5.0)
    scale = monosemantic_scale(values, torch.full((3,), 5.0), torch.zeros(3))
    assert scale.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("delta", [1.0, 0.0, -1.0, 5.0])
def test_inhibited_value_is_the_mean_and_its_gradient_minus_delta(delta: float):
    values = torch.tensor([[1.0, 9.0, 2.0], [7.0, 0.1, 0.3]], requires_grad=True)
    mean = torch.tensor([0.5, 0.25, 0.125])
    upstream = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    output = inhibit(values, mean, torch.tensor([[1], [0]]), delta)
    output.backward(upstream)
    expected = torch.tensor([[1.0, 0.25, 2.0], [0.5, 0.1, 0.3]])
    assert torch.equal(output, expected)
    gradient = upstream.clone()
    gradient[0, 1] *= -delta
    gradient[1, 0] *= -delta
    assert torch.equal(values.grad, gradient)


def test_inactive_inhibition_is_the_identity():
    values = torch.rand(2, 3, requires_grad=True)
    output = inhibit(values, torch.zeros(3), torch.tensor([[1], [0]]), 1.0, torch.tensor(False))
    output.sum().backward()
    assert torch.equal(output, values)
    assert torch.equal(values.grad, torch.ones(2, 3))


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=9), seed=st.integers(0, 2**16))
def test_young_statistics_are_exact_for_any_batch_sizes(sizes: list[int], seed: int):
    if sum(sizes) < 2:
        sizes = [*sizes, 1]
    rng = np.random.default_rng(seed)
    batches = [rng.normal(3, 2, (size, 2, 3)).astype(np.float32) for size in sizes]
    layer = MEmeL((2, 3), forget_steps=20, late_start=20)
    for batch in batches:
        layer(torch.from_numpy(batch))
    seen = np.concatenate(batches)
    np.testing.assert_allclose(layer.running_mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.running_var, seen.var(0, ddof=1), rtol=1e-3, atol=1e-5)
    assert layer.num_batches_tracked == len(sizes)
    assert layer.num_samples_tracked == sum(sizes)


def test_old_statistics_follow_algorithm_1():
    forget, batch = 3, 4
    generator = torch.Generator().manual_seed(0)
    layer = MEmeL((2,), forget_steps=forget, late_start=99)
    mean = variance = None
    for step in range(8):
        values = torch.randn(batch, 2, generator=generator)
        layer(values)
        batch_mean, batch_var = values.mean(0), values.var(0, unbiased=False)
        if mean is None:
            mean, variance = batch_mean, values.var(0)
            continue
        past = min(step, forget)
        # Wang et al. 2024, eq. 8-9 in batches: `past` of them behind, one new.
        variance = (
            variance * (past - 1 / batch) + batch_var + (batch_mean - mean) ** 2 / (1 + 1 / past)
        ) / (past + 1 - 1 / batch)
        mean = (mean * past + batch_mean) / (past + 1)
        torch.testing.assert_close(layer.running_mean, mean)
        torch.testing.assert_close(layer.running_var, variance)


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_nothing_is_inhibited_before_late_start(convention: str):
    layer = MEmeL((4,), late_start=3, forget_steps=10, convention=convention)
    torch.manual_seed(0)
    changed = []
    for _ in range(6):
        values = torch.randn(8, 4)
        changed.append(not torch.equal(layer(values), values))
    # The fourth call is the first that finds three batches behind it.
    assert changed == [False, False, False, True, True, True]


def test_conventions_differ_in_what_the_scale_is_taken_against():
    values = [torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([[10.0, 1.0], [0.0, 0.0]])]
    paper = MEmeL((2,), late_start=1, convention="paper")
    released = MEmeL((2,), late_start=1, convention="released")
    for layer in (paper, released):
        layer(values[0])
    outputs = {layer.convention: layer(values[1]) for layer in (paper, released)}
    # Past mean (1, 0.5); with the current batch it is (3, 0.5). Scores of the outlier are largest.
    assert outputs["paper"][0].tolist() == [1.0, 1.0]
    assert outputs["released"][0].tolist() == [3.0, 1.0]
    assert torch.equal(paper.running_mean, released.running_mean)
    assert torch.equal(paper.running_var, released.running_var)


def test_each_sample_loses_its_own_top_k():
    layer = MEmeL((3,), top_k=2, late_start=1)
    layer(torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]))
    output = layer(torch.tensor([[9.0, 0.1, 8.0], [0.2, 7.0, -9.0]]))
    assert output.tolist() == [[0.0, pytest.approx(0.1), 0.0], [pytest.approx(0.2), 0.0, 0.0]]


def test_evaluation_is_the_identity_and_leaves_the_statistics():
    layer = MEmeL((3,), late_start=1)
    layer(torch.randn(4, 3))
    before = copy.deepcopy(layer.state_dict())
    values = torch.randn(4, 3)
    assert layer.eval()(values) is values
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_in_eval_inhibits_with_frozen_statistics():
    layer = MEmeL((3,), late_start=1, in_eval=True)
    layer(torch.randn(4, 3))
    layer.eval()
    mean = layer.running_mean.clone()
    values = torch.tensor([[0.0, 50.0, 0.0]])
    assert layer(values)[0, 1] == mean[1]
    assert torch.equal(layer.running_mean, mean)


def test_state_survives_the_round_trip():
    layer, twin = MEmeL((3,), late_start=2), MEmeL((3,), late_start=2)
    torch.manual_seed(0)
    for _ in range(3):
        layer(torch.randn(4, 3))
    twin.load_state_dict(layer.state_dict(), strict=True)
    values = torch.randn(4, 3)
    assert torch.equal(layer(values), twin(values))
    assert set(layer.state_dict()) == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "num_samples_tracked",
    }


def test_bf16_keeps_its_dtype_and_float32_statistics():
    layer = MEmeL((3,), late_start=1)
    layer(torch.randn(4, 3, dtype=torch.bfloat16))
    output = layer(torch.randn(4, 3, dtype=torch.bfloat16))
    assert output.dtype == torch.bfloat16
    assert layer.running_mean.dtype == layer.running_var.dtype == torch.float32


def test_batch_of_one_has_zero_variance_and_works():
    layer = MEmeL((2,), late_start=1)
    layer(torch.tensor([[1.0, 2.0]]))
    assert layer.running_var.tolist() == [0.0, 0.0]
    output = layer(torch.tensor([[1.0, 3.0]]))
    assert output.tolist() == [[1.0, 2.0]]
    assert all(math.isfinite(value) for value in layer.running_var.tolist())


def test_another_input_size_is_an_error():
    layer = MEmeL((2, 4, 4))
    with pytest.raises(ValueError, match=r"\(2, 4, 4\); found an input \(1, 2, 5, 5\)"):
        layer(torch.zeros(1, 2, 5, 5))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"top_k": 3}, "top_k must be 1 to 2"),
        ({"late_start": 0}, "late_start must be at least 1"),
        ({"convention": "mine"}, "convention"),
    ],
)
def test_bad_settings_are_named(arguments: dict, said: str):
    # Where annotations are checked, as in these tests, a wrong literal is a TypeError already.
    with pytest.raises((ValueError, TypeError), match=said):
        MEmeL((2,), **arguments)
