"""Each method by its definition, and all of them in what every method owes."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast import MEmeL
from nowcast.core.memel import fused
from nowcast.core.memel.methods import METHODS, threshold
from nowcast.core.memel.methods.penalty import loss_weight
from nowcast.core.memel.methods.sham import strata
from nowcast.core.memel.plug import matching_state, plug_in
from nowcast.core.monitoring.monitor import Monitor
from nowcast.core.settings import MEmeLSettings
from nowcast.core.system.distributed import Ranks
from tests.core.ranks import in_ranks

pytestmark = [pytest.mark.isa, pytest.mark.usefixtures("way")]

every = pytest.mark.parametrize("method", METHODS)
new = pytest.mark.parametrize("method", [name for name in METHODS if name != "memel"])
WEIGHT, SHARE = 0.3, 0.1


def layer_of(method: str, *shape: int, **settings: Any) -> MEmeL:
    """A layer that has seen enough; values are normal, and some rare ones far out."""
    given = {"late_start": 3, "forget_steps": 1000, "share": SHARE, "penalty_weight": WEIGHT}
    layer = MEmeL(shape or (40,), method=method, **(given | settings))
    for call in range(4):
        layer(values(call, *shape))
    return layer


def values(seed: int, *shape: int, batch: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *(shape or (40,)), generator=generator) ** 3


def passed(layer: MEmeL, found: Tensor, upstream: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """The output of a call, and the gradient that comes back."""
    found = found.clone().requires_grad_()
    output = layer(found)
    output.backward(upstream * torch.ones_like(output))
    assert found.grad is not None
    return output.detach(), found.grad


def test_share_deactivates_all_that_exceeds_the_threshold_of_before():
    layer, batch = layer_of("share", delta=2.5), values(9)
    mean, variance, least = map(
        torch.clone, (layer.running_mean, layer.running_var, layer.threshold)
    )
    phi = (batch - mean) ** 2 / (variance + 0.01 * variance.mean())
    exceeds = phi >= least
    assert 5 < exceeds.sum() < 60
    output, gradient = passed(layer, batch, 3.0)
    assert torch.equal(output, torch.where(exceeds, mean, batch))
    assert torch.equal(gradient, torch.where(exceeds, -7.5, 3.0))
    step = (float(exceeds.float().mean()) / SHARE - 1) / 4
    torch.testing.assert_close(layer.threshold, least * math.exp(step))


@pytest.mark.parametrize("power", [1, 3])
def test_the_threshold_finds_the_share_of_normal_and_of_rare_values(power: int):
    layer = MEmeL((200,), method="share", share=0.02)
    generator = torch.Generator().manual_seed(0)
    touched = 0
    for call in range(160):
        batch = torch.randn(16, 200, generator=generator) ** power
        touched += int((layer(batch) != batch).sum()) * (call >= 60)
    assert touched / (100 * 16 * 200) == pytest.approx(0.02, rel=0.1)


def test_the_first_threshold_is_the_quantile_of_normal_values():
    assert threshold.first(0.02) == pytest.approx(5.4119, rel=1e-4)  # chi-squared, 1 freedom


@pytest.mark.parametrize(("method", "sign"), [("penalty", 1), ("opposite", -1)])
def test_a_penalty_adds_the_gradient_of_its_term_and_changes_no_value(method: str, sign: int):
    layer, batch = layer_of(method), values(9)
    mean, variance, least = map(
        torch.clone, (layer.running_mean, layer.running_var, layer.threshold)
    )
    phi = (batch - mean) ** 2 / (variance + 0.01 * variance.mean())
    output, gradient = passed(layer, batch, 3.0)
    assert torch.equal(output, batch)
    free = batch.clone().requires_grad_()
    logs = torch.where(phi >= least, (free - mean).square().log(), 0) / SHARE
    (3 * free.sum() + sign * WEIGHT * logs.mean(1).mean()).backward()
    torch.testing.assert_close(gradient, free.grad)
    assert not torch.equal(gradient, torch.full_like(gradient, 3.0))


@pytest.mark.parametrize("method", ["penalty", "opposite"])
def test_the_penalties_of_parts_add_up_to_that_of_the_batch(method: str):
    layer, batch = layer_of(method), values(9)
    _, whole = passed(copy.deepcopy(layer), batch, 0.0)
    parts = []
    for part in batch.split([3, 5]):
        with loss_weight(len(part) / 8):
            parts.append(passed(copy.deepcopy(layer), part, 0.0)[1])
    torch.testing.assert_close(torch.cat(parts), whole)


def test_sham_deactivates_as_many_whatever_they_are():
    layer, batch = layer_of("sham", top_k=7, delta=2.0), values(9)
    mean, state = layer.running_mean.clone(), torch.get_rng_state()
    output, gradient = passed(layer, batch)
    assert torch.equal(torch.get_rng_state(), state)
    changed = output != batch
    assert (changed.sum(1) == 7).all()
    assert torch.equal(output, torch.where(changed, mean, batch))
    assert torch.equal(gradient, torch.where(changed, -2.0, 1.0))
    assert len({tuple(row.tolist()) for row in changed}) == 8
    again, _ = passed(layer, batch)
    assert not torch.equal(again != batch, changed)  # another call, other neurons


@pytest.mark.parametrize("masked", [False, True])
def test_a_sham_is_the_same_in_any_order_in_memory(masked: bool):
    torch.manual_seed(0)
    one = MEmeL((6, 5, 3), method="sham", late_start=1, top_k=4)
    other = copy.deepcopy(one)
    present = torch.arange(6) < torch.tensor([6, 3, 2, 6, 1, 4, 5, 6])[:, None]
    for call in range(3):
        batch = values(call, 6, 5, 3)
        last = batch.to(memory_format=torch.channels_last)
        masks = (present,) if masked else ()
        torch.testing.assert_close(one(batch, *masks), other(last, *masks))
    changed = (one(batch, *masks) != batch).flatten(1).sum(1)
    assert (changed == 4).all()


def test_every_neuron_is_as_likely_in_a_sham():
    generator = torch.Generator().manual_seed(0)
    random = torch.randint(2**62, (20_000, 4), generator=generator)
    chosen = strata(random, torch.tensor(11).expand(len(random), 1))
    assert (chosen.sort(1).values.diff(dim=1) > 0).all()
    counts = torch.bincount(chosen.flatten(), minlength=11).double()
    expected = 3 * len(random) / 11
    assert ((counts - expected) / expected**0.5).abs().max() < 4


def test_a_sham_in_evaluation_does_not_depend_on_the_batch():
    layer, batch = layer_of("sham", top_k=3, in_eval=True).eval(), values(9)
    output = layer(batch)
    assert ((output != batch).sum(1) == 3).all()
    assert torch.equal(torch.cat([layer(row[None]) for row in batch]), output)


def test_two_sites_and_two_seeds_have_shams_of_their_own():
    def picked(seed: int, site: str) -> Tensor:
        torch.manual_seed(seed)
        layer = MEmeL((40,), method="sham", late_start=1)
        layer.site = site
        layer(values(0))
        return layer(values(1)) != values(1)

    assert torch.equal(picked(0, "a"), picked(0, "a"))
    assert not torch.equal(picked(0, "a"), picked(0, "b"))
    assert not torch.equal(picked(0, "a"), picked(1, "a"))


@every
def test_the_monitor_counts_what_is_acted_on(method: str):
    layer = MEmeL((40,), method=method, late_start=3, share=SHARE, top_k=2)
    monitor = Monitor({"site": layer})
    monitor.arm()
    acted_on = torch.zeros(40)
    for call in range(9):
        output, gradient = passed(layer, values(call))
        acted_on += ((output != values(call)) | (gradient != 1)).sum(0)
    numbers = monitor.read()["site"].numbers
    assert torch.equal(monitor.state_dict()["site"].float(), acted_on)
    assert numbers["fraction_inhibited"] == pytest.approx(float((acted_on > 0).float().mean()))
    assert numbers["tail"] > 3


@every
@pytest.mark.parametrize("convention", ["paper", "released"])
def test_resuming_is_bit_equal(method: str, convention: str):
    layer = layer_of(method, convention=convention, forget_steps=5)
    torch.manual_seed(99)  # of another layer's sham
    other = MEmeL((40,), method=method, convention=convention, late_start=3, forget_steps=5)
    other.share, other.penalty_weight = SHARE, WEIGHT
    other.load_state_dict(layer.state_dict())
    for call in range(5, 9):
        one, two = passed(layer, values(call)), passed(other, values(call))
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
    for name, buffer in layer.state_dict().items():
        assert torch.equal(buffer, other.state_dict()[name]), name


@new
def test_bf16_keeps_its_dtype_and_exact_state(method: str):
    layer = layer_of(method).bfloat16()
    output, gradient = passed(layer, values(9).bfloat16(), 3.0)
    assert output.dtype == gradient.dtype == torch.bfloat16
    exact_output, exact = passed(layer_of(method), values(9).bfloat16().float(), 3.0)
    torch.testing.assert_close(output.float(), exact_output, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(gradient.float(), exact, rtol=1e-2, atol=1e-3)
    assert {buffer.dtype for buffer in layer.buffers()} == {torch.float32, torch.int64}


@new
@pytest.mark.parametrize("channels_last", [False, True])
def test_in_c_it_is_what_it_is_in_torch(
    monkeypatch: pytest.MonkeyPatch, method: str, channels_last: bool
):
    if not fused.available:
        pytest.skip("_memel is not built, or this is the other way")
    one = MEmeL((6, 5, 3), method=method, late_start=3, share=SHARE, top_k=4, inplace=True)
    other = copy.deepcopy(one)
    serves = fused.serves
    monkeypatch.setattr(fused, "serves", lambda layer, x: layer is not other and serves(layer, x))
    order = torch.channels_last if channels_last else torch.contiguous_format
    for call in range(8):
        batch = values(call, 6, 5, 3).to(memory_format=order)
        first, second = batch.clone().requires_grad_(), batch.clone().requires_grad_()
        outputs = one(first * 1.0), other(second * 1.0)
        torch.testing.assert_close(*outputs)
        for output in outputs:
            output.backward(torch.full_like(batch, 2.0))
        torch.testing.assert_close(first.grad, second.grad)
        for name, buffer in one.state_dict().items():
            torch.testing.assert_close(buffer, other.state_dict()[name])


@new
def test_what_is_absent_is_left_alone_and_padding_changes_nothing(method: str):
    layer = MEmeL((6, 5), method=method, late_start=3, share=SHARE, top_k=4)
    present = torch.arange(6) < torch.tensor([[6], [3], [4], [5], [6], [2], [3], [6]])
    for call in range(6):
        batch = values(call, 6, 5)
        worse = torch.where(present[:, :, None], batch, math.nan)
        twin = copy.deepcopy(layer)
        found = batch.clone().requires_grad_()
        output = layer(found, present)
        output.backward(torch.ones_like(output))
        torch.testing.assert_close(twin(worse, present)[present], output[present])
        absent = ~present
        assert torch.equal(output[absent], batch[absent])
        assert torch.equal(found.grad[absent], torch.ones_like(found.grad[absent]))
        for name, buffer in layer.state_dict().items():
            assert torch.equal(buffer, twin.state_dict()[name]), name
    assert (found.grad != 1).sum() > 4


@new
def test_what_is_not_finite_is_left_as_it_is(method: str):
    layer, batch = layer_of(method, top_k=40), values(9)
    batch[0, 0], batch[1, 1], batch[2, 2] = math.nan, math.inf, -math.inf
    bad = ~batch.isfinite()
    output, gradient = passed(layer, batch)
    assert torch.equal(output[bad].nan_to_num(7.0), batch[bad].nan_to_num(7.0))
    assert torch.equal(gradient[bad], torch.ones(3))


@new
def test_nothing_happens_before_late_start_nor_in_evaluation(method: str):
    layer = MEmeL((40,), method=method, late_start=5, share=SHARE)
    for call in range(7):
        output, gradient = passed(layer, values(call))
        same = torch.equal(output, values(call)) and torch.equal(gradient, torch.ones(8, 40))
        assert same == (call < 5)
    assert torch.equal(layer.eval()(values(1)), values(1))


@new
def test_a_second_derivative_goes_through(method: str):
    layer = layer_of(method)
    found = values(9).requires_grad_()
    (gradient,) = torch.autograd.grad((layer(found) ** 3).sum(), found, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), found)
    assert second.isfinite().all()


@new
def test_forgetting_everything_is_a_new_layer(method: str):
    torch.manual_seed(3)
    fresh = MEmeL((40,), method=method, share=SHARE)
    used = copy.deepcopy(fresh)
    for call in range(4):
        used(values(call))
    used.reset_running_stats()
    for name, buffer in fresh.state_dict().items():
        assert torch.equal(buffer, used.state_dict()[name]), name


def learn(ranks: Ranks, method: str) -> list[Any]:
    """Of each call this rank's outputs and gradients, and the state at the end."""
    layer = MEmeL((40,), method=method, late_start=2, share=SHARE, top_k=3)
    found = [passed(layer, values(call)[ranks.rank :: ranks.size]) for call in range(6)]
    state = {name: buffer.numpy() for name, buffer in layer.state_dict().items()}
    return [*((output.numpy(), gradient.numpy()) for output, gradient in found), state]


def learn_all(ranks: Ranks) -> dict[str, list[Any]]:
    torch.manual_seed(5)
    return {method: learn(ranks, method) for method in METHODS}


def test_two_ranks_are_one_process_on_the_union_batch():
    [one] = in_ranks(1, learn_all)
    two = in_ranks(2, learn_all)
    for method in METHODS:
        *calls, state = one[method]
        for rank, each in enumerate(two):
            *mine, own = each[method]
            for (output, gradient), (whole, whole_gradient) in zip(mine, calls, strict=True):
                np.testing.assert_allclose(output, whole[rank::2], rtol=1e-5, atol=1e-6)
                # Of the mean over ranks, each has half.
                part = (gradient - 1) / 2 + 1 if method in ("penalty", "opposite") else gradient
                np.testing.assert_allclose(part, whole_gradient[rank::2], rtol=1e-5, atol=1e-6)
            for name, buffer in state.items():
                np.testing.assert_allclose(own[name], buffer, rtol=1e-5, atol=1e-6)


def test_weights_go_from_one_method_to_another():
    models = {}
    for method in ("memel", "share", "sham"):
        models[method] = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Identity())
        plug_in(models[method], "1", method=method, dry_run=lambda host: host(torch.zeros(1, 4)))
        for _ in range(3):
            models[method](torch.randn(5, 4))
    for model in models.values():
        for other in models.values():
            fresh = copy.deepcopy(model)
            fresh.load_state_dict(matching_state(fresh, other.state_dict()))
            assert fresh[1].num_batches_tracked == 3
            assert torch.equal(fresh[1].running_var, other[1].running_var)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share": 1.0}, "share must lie between 0 and 1"),
        ({"penalty_weight": 0.0}, "penalty_weight above 0"),
        ({"method": "penalty", "in_eval": True}, "changes no value"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        MEmeL((4,), **settings)


def test_a_config_may_not_ask_for_a_penalty_in_evaluation():
    with pytest.raises(ValueError, match="leave in_eval out"):
        MEmeLSettings(method="opposite", in_eval=True)
