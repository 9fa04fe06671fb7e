"""MEmeL: values, gradients and statistics by hand, against numpy and against its definition."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nowcast import MEmeL
from nowcast.core.memel.layer import PATIENCE, inhibit, monosemantic_scale, most_monosemantic
from nowcast.core.memel.memory_order import as_matrix

pytestmark = [pytest.mark.isa, pytest.mark.usefixtures("way")]


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


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("delta", [1.0, 0.0, -1.0, 5.0])
def test_values_and_gradients_of_the_layer_by_hand(delta: float, top_k: int):
    layer = MEmeL((5,), delta=delta, top_k=top_k, late_start=1)
    # Mean (0, 1, 0, 0, 2) and variance 2 everywhere.
    layer(torch.tensor([[1.0, 2, 1, -1, 3], [-1, 0, -1, 1, 1]]))
    values = torch.tensor([[4.0, 1, -3, 2, 2], [0, 6, 0.5, 1, 4]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    output = layer(values)
    output.backward(upstream)
    order = [[0, 2, 3], [1, 4, 3]]  # by deviation from the mean
    expected, gradient = values.detach().clone(), upstream.clone()
    for sample, neurons in enumerate(order):
        for neuron in neurons[:top_k]:
            expected[sample, neuron] = [0.0, 1, 0, 0, 2][neuron]
            gradient[sample, neuron] *= -delta
    assert torch.equal(output, expected)
    assert torch.equal(values.grad, gradient)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("top_k", [1, 3])
def test_of_equal_scales_the_lowest_neurons_are_chosen(top_k: int, channels_last: bool):
    scale = torch.zeros(3, 2, 2, 3)
    scale[0, 1, 0, 1] = scale[0, 1, 1, 0] = scale[0, 0, 1, 2] = scale[0, 1, 1, 2] = 7.0
    scale[1, 1, 0, 2] = 1e30
    # Row-major neurons 5, 7, 9 (and 11) tie; one leads and zeros tie; all tie.
    expected = [[5, 7, 9], [8, 0, 1], [0, 1, 2]]
    if channels_last:
        scale = scale.to(memory_format=torch.channels_last)
    chosen = most_monosemantic(scale, top_k, channels_last)
    numbers = as_matrix(torch.arange(12).view(1, 2, 2, 3), channels_last)[0]
    assert numbers[chosen].tolist() == [row[:top_k] for row in expected]


@pytest.mark.parametrize("neuron_shape", [(7,), (3, 4), (4, 3, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_choice_is_that_of_a_stable_sort(neuron_shape: tuple[int, ...], top_k: int):
    torch.manual_seed(top_k)
    scale = torch.randint(0, 6, (20, *neuron_shape)).float()
    expected = scale.flatten(1).sort(dim=1, descending=True, stable=True).indices[:, :top_k]
    assert torch.equal(most_monosemantic(scale, top_k), expected)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=9),
    seed=st.integers(0, 2**16),
    convention=st.sampled_from(["paper", "released"]),
)
def test_young_statistics_are_exact_for_any_batch_sizes(
    sizes: list[int], seed: int, convention: str
):
    if sum(sizes) < 2:
        sizes = [*sizes, 1]
    rng = np.random.default_rng(seed)
    batches = [rng.normal(3, 2, (size, 2, 3)).astype(np.float32) for size in sizes]
    layer = MEmeL((2, 3), forget_steps=20, late_start=20, convention=convention)
    for batch in batches:
        layer(torch.from_numpy(batch))
    seen = np.concatenate(batches)
    np.testing.assert_allclose(layer.running_mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.running_var, seen.var(0, ddof=1), rtol=1e-3, atol=1e-5)
    assert layer.num_batches_tracked == len(sizes)
    assert layer.num_samples_tracked == sum(sizes)


def test_statistics_far_from_zero_are_exact_from_the_first_batch_on():
    torch.manual_seed(0)
    batches = 1e4 + torch.randn(4, 6, 3)
    layer = MEmeL((3,))
    for seen, batch in enumerate(batches, start=1):
        layer(batch)
        expected = batches[:seen].flatten(0, 1).double().var(0)
        torch.testing.assert_close(layer.running_var.double(), expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("late_start", [1, 99])  # nothing left to decide, and still waiting
def test_old_statistics_follow_algorithm_1(late_start: int, convention: str):
    forget, batch = 3, 4
    generator = torch.Generator().manual_seed(0)
    layer = MEmeL((2,), forget_steps=forget, late_start=late_start, convention=convention)
    mean = variance = None
    for step in range(12):
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


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("stop", [1, 6, 7, 8, 11])
def test_resuming_anywhere_is_bit_equal(stop: int, convention: str):
    torch.manual_seed(stop)
    batches = torch.randn(14, 4, 3, 2, 2) ** 3
    made = {"late_start": 7, "forget_steps": 5, "convention": convention}
    through = MEmeL((3, 2, 2), **made)
    outputs = [through(batch) for batch in batches]
    first, second = MEmeL((3, 2, 2), **made), MEmeL((3, 2, 2), **made)
    for batch in batches[:stop]:
        first(batch)
    second.load_state_dict(first.state_dict(), strict=True)
    for batch, expected in zip(batches[stop:], outputs[stop:], strict=True):
        assert torch.equal(second(batch), expected)
    for name, value in through.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_a_layer_without_a_shape_takes_it_from_state_or_batch():
    layer = MEmeL((3, 2), late_start=1)
    layer(torch.randn(4, 3, 2))
    loaded, seeing = MEmeL(None, late_start=1), MEmeL(None, top_k=6, late_start=1)
    loaded.load_state_dict(layer.state_dict(), strict=True)
    assert loaded.neuron_shape == (3, 2)
    assert torch.equal(loaded.running_mean, layer.running_mean)
    assert seeing(torch.randn(4, 3, 2)).shape == (4, 3, 2)
    assert seeing.running_var.shape == (3, 2)
    with pytest.raises(ValueError, match="top_k must be 1 to 5"):
        MEmeL(None, top_k=6)(torch.randn(4, 5))


def test_reset_forgets_everything():
    torch.manual_seed(0)
    layer, fresh = MEmeL((3,), late_start=2, forget_steps=2), MEmeL((3,), late_start=2)
    for _ in range(6):
        layer(torch.randn(4, 3))
    layer.reset_running_stats()
    for _ in range(2):
        values = torch.randn(4, 3)
        assert torch.equal(layer(values), values)  # waits for late_start again
        fresh(values)
    torch.testing.assert_close(layer.running_mean, fresh.running_mean)
    torch.testing.assert_close(layer.running_var, fresh.running_var)


def test_a_deep_copy_goes_its_own_way():
    torch.manual_seed(0)
    layer = MEmeL((3,), late_start=1)
    layer(torch.randn(4, 3))
    twin = copy.deepcopy(layer)
    before = layer.running_mean.clone()
    values = torch.randn(4, 3)
    output = twin(values)
    assert torch.equal(layer.running_mean, before)
    assert torch.equal(layer(values), output)
    assert torch.equal(layer.running_mean, twin.running_mean)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_moving_keeps_exact_statistics_whatever_the_hosts_dtype(dtype: torch.dtype):
    torch.manual_seed(0)
    host = nn.Sequential(nn.Linear(3, 3), MEmeL((3,), late_start=1))
    for _ in range(2):
        host(torch.randn(8, 3))
    mean = host[1].running_mean.clone()
    host.to("cpu", dtype)
    assert torch.equal(host[1].running_mean, mean)
    assert host(torch.randn(8, 3, dtype=dtype)).dtype == dtype
    assert host[1].running_var.dtype == torch.float32
    assert host[1].num_batches_tracked.dtype == torch.int64
    assert {buffer.device.type for buffer in host.to("meta").buffers()} == {"meta"}


def test_bf16_autocast_keeps_the_dtype_and_float32_statistics():
    torch.manual_seed(0)
    host = nn.Sequential(nn.Linear(3, 4), MEmeL((4,), late_start=1), nn.Linear(4, 1))
    values = torch.randn(64, 3)
    seen = []
    host[1].register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            host(values)
    (first, _), (second, output) = seen
    assert second.dtype == output.dtype == torch.bfloat16
    assert not torch.equal(second, output)
    assert host[1].running_mean.dtype == host[1].running_var.dtype == torch.float32
    torch.testing.assert_close(host[1].running_mean, torch.cat((first, second)).float().mean(0))


def test_batch_of_one_has_zero_variance_and_works():
    layer = MEmeL((2,), late_start=1)
    layer(torch.tensor([[1.0, 2.0]]))
    assert layer.running_var.tolist() == [0.0, 0.0]
    output = layer(torch.tensor([[1.0, 3.0]]))
    assert output.tolist() == [[1.0, 2.0]]
    assert all(math.isfinite(value) for value in layer.running_var.tolist())


def test_empty_batch_passes_and_is_not_counted():
    layer = MEmeL((2,), late_start=1)
    assert layer(torch.zeros(0, 2)).shape == (0, 2)
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("top_k", [1, 2])
def test_what_is_not_finite_is_neither_hidden_nor_remembered(bad: float, top_k: int):
    layer = MEmeL((3,), top_k=top_k, late_start=2)
    for sign in (1.0, -1.0, 1.0):
        layer(torch.tensor([[sign, -sign, sign], [0.0, 0.0, 0.0]]))
    before = copy.deepcopy(layer.state_dict())
    values = torch.tensor([[bad, 0.0, 0.0], [0.0, 5.0, 0.0]], requires_grad=True)
    output = layer(values)
    output.backward(torch.ones(2, 3))
    torch.testing.assert_close(output[0, 0], values[0, 0], rtol=0, atol=0, equal_nan=True)
    assert values.grad[0, 0] == 1.0
    assert output[1, 1] == before["running_mean"][1]  # the sound sample is inhibited all the same
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    layer(torch.ones(2, 3))
    assert layer.num_batches_tracked == 4
    assert layer.running_mean.isfinite().all()


def test_huge_values_are_inhibited_and_leave_sound_statistics():
    layer = MEmeL((3,), late_start=1)
    layer(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    huge = torch.tensor([[0.0, 3e38, 0.0], [0.0, 0.0, -1e30]])  # their squares are infinite
    output = layer(huge)
    assert output.tolist() == [[0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]
    assert layer.num_batches_tracked == 1
    output = layer(torch.tensor([[0.0, 1e18, 0.0]]))  # and this one is not
    assert output.tolist() == [[0.0, 2.0, 0.0]]
    assert layer.num_batches_tracked == 2
    assert layer.running_var.isfinite().all()


@pytest.mark.parametrize("values", [torch.full((4, 3), 5.0), torch.full((4, 3), math.nan)])
def test_a_site_that_inhibits_nothing_is_told_once_by_name(values: torch.Tensor):
    layer = MEmeL((3,), late_start=2)
    layer.site = "encoder.0.candidate"
    for _ in range(2 + PATIENCE - 1):
        layer(values)
    with pytest.warns(RuntimeWarning, match=r"encoder\.0\.candidate has inhibited nothing in 12"):
        layer(values)
    for _ in range(30):
        layer(values)  # a second warning would be an error here


def test_channels_last_stays_so_and_changes_nothing():
    torch.manual_seed(0)
    plain, turned = MEmeL((4, 3, 5), late_start=2), MEmeL((4, 3, 5), late_start=2)
    upstream = torch.randn(6, 4, 3, 5)
    for _ in range(14):
        values = torch.randn(6, 4, 3, 5).requires_grad_()
        last = values.detach().to(memory_format=torch.channels_last).requires_grad_()
        one, other = plain(values), turned(last)
        one.backward(upstream)
        other.backward(upstream)
        assert other.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(values.grad, last.grad)
    torch.testing.assert_close(plain.running_var, turned.running_var)
    plain.load_state_dict(turned.state_dict())
    assert torch.equal(plain.running_var, turned.running_var)


def test_any_other_order_in_memory_is_taken_too():
    torch.manual_seed(0)
    plain, strided = MEmeL((4, 3), late_start=1), MEmeL((4, 3), late_start=1)
    for _ in range(3):
        wide = torch.randn(5, 8, 3)
        assert torch.equal(plain(wide[:, ::2].contiguous()), strided(wide[:, ::2]))


def test_an_order_that_only_looks_another_leaves_the_statistics_in_place():
    layer = MEmeL((4, 1, 1), late_start=1)
    plain = torch.randn(3, 4, 1, 1)
    layer(plain)
    mean, var = layer.running_mean, layer.running_var
    other = plain.as_strided((3, 4, 1, 1), (4, 1, 4, 4))  # what channels_last makes of it
    layer(other)
    assert layer.running_mean is mean
    assert layer.running_var is var
    torch.testing.assert_close(var, torch.cat((plain, other)).var(0))


def test_channels_alone_as_neurons():
    torch.manual_seed(0)
    channels, rows = MEmeL((4,), neuron_dims=(1,), late_start=1), MEmeL((4,), late_start=1)
    for size in (3, 5):  # any spatial size
        values = torch.randn(2, 4, size, size)
        by_position = values.permute(0, 2, 3, 1).reshape(-1, 4)
        expected = rows(by_position).view(2, size, size, 4).permute(0, 3, 1, 2)
        assert torch.equal(channels(values), expected)
    assert channels.num_samples_tracked == 2 * (9 + 25)
    torch.testing.assert_close(channels.running_var, rows.running_var)


def test_another_input_size_is_an_error():
    layer = MEmeL((2, 4, 4))
    with pytest.raises(ValueError, match=r"\(2, 4, 4\); found an input \(1, 2, 5, 5\)"):
        layer(torch.zeros(1, 2, 5, 5))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"top_k": 3}, "top_k must be 1 to 2"),
        ({"top_k": 0}, "top_k, forget_steps and late_start must be at least 1"),
        ({"late_start": 0}, "late_start must be at least 1"),
        ({"convention": "mine"}, "convention"),
    ],
)
def test_bad_settings_are_named(arguments: dict, said: str):
    # Where annotations are checked, as in these tests, a wrong literal is a TypeError already.
    with pytest.raises((ValueError, TypeError), match=said):
        MEmeL((2,), **arguments)


def test_gradient_accumulation_counts_every_forward_call():
    torch.manual_seed(0)
    layer, values = MEmeL((3,), late_start=99), torch.randn(8, 3)
    for part in values.split(2):
        layer(part)
    assert layer.num_batches_tracked == 4
    torch.testing.assert_close(layer.running_var, values.var(0))
