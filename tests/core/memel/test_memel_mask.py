"""A mask: what is padded is no sample of its neurons, is not chosen, and changes nothing."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.checkpoint import checkpoint

from nowcast import MEmeL, plug_in
from nowcast.core.memel.layer import PATIENCE
from nowcast.core.monitoring.monitor import Monitor, unstarted
from nowcast.core.system.distributed import Ranks
from tests.core.ranks import in_ranks

TOKENS, HIDDEN = 7, 3


def sentences(batch: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values with NaN where they are padded, and their mask; the longest has `length` tokens."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length, batch, endpoint=True)
    lengths[0] = length
    mask = torch.from_numpy(np.arange(length) < lengths[:, None])
    values = torch.from_numpy(rng.normal(size=(batch, length, HIDDEN)).astype(np.float32) ** 3)
    return values.where(mask[:, :, None], math.nan), mask


def batches(count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(0)
    for seed in range(count):
        yield sentences(int(rng.integers(1, 7)), int(rng.integers(1, TOKENS, endpoint=True)), seed)


def padded(part: torch.Tensor, fill: float | bool) -> torch.Tensor:
    whole = part.new_full((len(part), TOKENS, *part.shape[2:]), fill)
    whole[:, : part.shape[1]] = part
    return whole


class Reference:
    """Masked MEmeL by its definition, place by place in float64."""

    def __init__(self, top_k: int, late_start: int, forget_steps: int) -> None:
        self.top_k, self.late_start, self.forget_steps = top_k, late_start, forget_steps
        self.batches = np.zeros(TOKENS, dtype=int)
        self.samples = np.zeros(TOKENS, dtype=int)
        self.mean, self.var = np.zeros((2, TOKENS, HIDDEN))
        self.seen: list[list[NDArray[np.float64]]] = [[] for _ in range(TOKENS)]

    def chosen(self, values: NDArray[np.float64], mask: NDArray[np.bool_]) -> set[tuple[int, ...]]:
        """Sample, token and hidden of all that is inhibited."""
        compensation = 0.01 * self.var[self.batches > 0].mean() if self.batches.any() else 0.0
        found: set[tuple[int, ...]] = set()
        for sample in range(len(values)):
            scales = {
                (sample, place, neuron): (values[sample, place, neuron] - self.mean[place, neuron])
                ** 2
                / (self.var[place, neuron] + compensation)
                for place in range(values.shape[1])
                if mask[sample, place] and self.batches[place] >= self.late_start
                for neuron in range(HIDDEN)
            }
            found |= set(sorted(scales, key=lambda at: -scales[at])[: self.top_k])
        return found

    def see(self, values: NDArray[np.float64], mask: NDArray[np.bool_]) -> None:
        for place in range(values.shape[1]):
            new = values[mask[:, place], place]
            if not len(new):
                continue
            self.seen[place].append(new)
            if self.batches[place] < self.forget_steps:  # Lemma 3.2: all that was seen
                every = np.concatenate(self.seen[place])
                self.mean[place] = every.mean(0)
                self.var[place] = every.var(0, ddof=1) if len(every) > 1 else 0.0
            else:  # Algorithm 1, with as many samples in each batch of the past as in this one
                past, here = self.forget_steps * len(new), len(new)
                squares = self.var[place] * (past - 1) + new.var(0) * here
                shift = new.mean(0) - self.mean[place]
                squares += shift**2 * past * here / (past + here)
                self.var[place] = squares / (past + here - 1)
                self.mean[place] += shift * here / (past + here)
            self.batches[place] += 1
            self.samples[place] += len(new)


@pytest.mark.parametrize("top_k", [1, 4])
@pytest.mark.parametrize("kind", ["bool", "of integers", "with a dimension more", "whole"])
def test_statistics_and_choice_are_those_of_the_definition(top_k: int, kind: str):
    settings = {"top_k": top_k, "late_start": 4, "forget_steps": 6}
    layer, reference = MEmeL((TOKENS, HIDDEN), **settings), Reference(**settings)
    numbers: set[int] = set()
    for values, mask in batches(40):
        given = {
            "bool": mask,
            "of integers": mask.long(),
            "with a dimension more": mask[:, :, None],
            "whole": mask[:, :, None].expand(values.shape),
        }[kind]
        exact = values.double().numpy()
        expected = reference.chosen(exact, mask.numpy())
        means = layer.running_mean.clone()
        output = layer(values, given)
        changed = (output != values) & mask[:, :, None]
        assert {tuple(at) for at in changed.nonzero().tolist()} == expected
        numbers |= set(changed.flatten(1).sum(1).tolist())
        for sample, place, neuron in expected:
            assert output[sample, place, neuron] == means[place, neuron]
        reference.see(exact, mask.numpy())
        np.testing.assert_allclose(layer.running_mean, reference.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.running_var, reference.var, rtol=1e-4, atol=1e-5)
    places = (TOKENS, HIDDEN) if kind == "whole" else (TOKENS, 1)
    assert layer.num_batches_tracked.shape == layer.num_samples_tracked.shape == places
    assert layer.num_batches_tracked[:, 0].tolist() == reference.batches.tolist()
    assert layer.num_samples_tracked[:, -1].tolist() == reference.samples.tolist()
    # Every place grew old, and at times there was but one that was old enough.
    assert reference.batches.min() > 6
    assert numbers == ({0, 1} if top_k == 1 else {0, HIDDEN, top_k})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_k", [1, 3])
def test_a_shorter_batch_is_the_padded_one_and_padding_changes_nothing(
    top_k: int, dtype: torch.dtype
):
    settings = {"top_k": top_k, "late_start": 2, "forget_steps": 4, "delta": 2.0}
    layers = [MEmeL((TOKENS, HIDDEN), **settings) for _ in range(3)]
    for values, mask in batches(20):
        short = values.to(dtype)
        inputs = [short, padded(short, math.inf), padded(short.nan_to_num(7.0), -1e30)]
        masks = [mask, padded(mask, False), padded(mask, False)]
        outputs, gradients = [], []
        for layer, given, present in zip(layers, inputs, masks, strict=True):
            given.requires_grad_()
            output = layer(given, present)
            assert output.dtype == dtype
            output.backward(torch.arange(1.0, output.numel() + 1).view_as(output).to(dtype))
            gone = ~present[:, :, None].expand_as(given)
            assert torch.equal(output[gone].nan_to_num(), given[gone].nan_to_num())
            turned = given.grad != torch.arange(1.0, output.numel() + 1).view_as(output).to(dtype)
            assert torch.equal(turned & ~gone, turned)
            outputs.append(output[:, : mask.shape[1]].where(mask[:, :, None], 0))
            gradients.append(turned[:, : mask.shape[1]])
        for output, gradient in zip(outputs[1:], gradients[1:], strict=True):
            assert torch.equal(output, outputs[0])
            assert torch.equal(gradient, gradients[0])
    for name, value in layers[0].state_dict().items():
        assert value.isfinite().all()
        assert torch.equal(layers[1].state_dict()[name], value), name
        assert torch.equal(layers[2].state_dict()[name], value), name


def test_a_place_without_samples_keeps_its_statistics_to_the_bit():
    layer = MEmeL((TOKENS, HIDDEN), late_start=1, forget_steps=2)
    for values, mask in batches(12):
        before = copy.deepcopy(layer.state_dict())
        layer(values, mask)
        here = padded(mask, False).any(0)
        for name, value in layer.state_dict().items():
            if before[name].dim():
                assert torch.equal(value[~here], before[name][~here]), name
                assert not torch.equal(value[here], before[name][here]), name


def test_places_never_seen_have_no_part_in_the_mean_variance():
    layer = MEmeL((TOKENS, 2), late_start=1)
    one = torch.ones(2, 1, dtype=torch.bool)
    layer(torch.tensor([[[-0.001, -10.0]], [[0.001, 10.0]]]), one)  # variances 2e-6 and 200
    # Against variances of 1 and 201 the second is further out; with a seventh of the mean
    # variance, 0.14 and 200.14, it would be the first.
    output = layer(torch.tensor([[[0.5, 8.0]], [[0.5, 8.0]]]), one)
    assert output.tolist() == [[[0.5, 0.0]]] * 2


def test_a_huge_mean_of_an_absent_place_leaves_the_batch_sound():
    layer = MEmeL((2, 1), late_start=9)
    layer(torch.tensor([[[1.0], [4.0]]]), torch.tensor([[True, True]]))
    layer.running_mean[1] = 1e30  # whose square is infinite
    layer(torch.tensor([[[2.0]]]), torch.tensor([[True]]))
    assert layer.num_batches_tracked.flatten().tolist() == [2, 1]
    assert layer.running_mean.flatten().tolist() == [1.5, pytest.approx(1e30)]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("top_k", [1, 5])
@pytest.mark.parametrize("in_eval", [False, True])
def test_a_mask_of_all_true_is_no_mask(top_k: int, channels_last: bool, in_eval: bool):
    torch.manual_seed(0)
    settings = {"top_k": top_k, "late_start": 3, "forget_steps": 5, "delta": 3.0}
    plain, masked = (MEmeL((4, 3, 5), in_eval=in_eval, **settings) for _ in range(2))
    order = torch.channels_last if channels_last else torch.contiguous_format
    for step in range(12):
        if in_eval and step == 8:
            plain.eval(), masked.eval()
        values = (torch.randn(6, 4, 3, 5) ** 3).to(memory_format=order)
        one, other = values.clone().requires_grad_(), values.clone().requires_grad_()
        outputs = plain(one), masked(other, torch.ones(6, 4, 3, dtype=torch.bool))
        assert outputs[0].stride() == outputs[1].stride()
        torch.testing.assert_close(*outputs)
        upstream = torch.randn(6, 4, 3, 5)
        for output in outputs:
            output.backward(upstream)
        assert torch.equal(one.grad, other.grad)
        torch.testing.assert_close(plain.running_mean, masked.running_mean)
        torch.testing.assert_close(plain.running_var, masked.running_var)
    assert (masked.num_batches_tracked == plain.num_batches_tracked).all()
    assert masked.num_samples_tracked.shape == (4, 3, 1)
    assert (masked.num_samples_tracked == plain.num_samples_tracked).all()


def test_evaluation_chooses_alike_and_moves_nothing():
    layer = MEmeL((TOKENS, HIDDEN), late_start=3, in_eval=True)
    for values, mask in batches(25):
        twin = copy.deepcopy(layer).eval()
        state = copy.deepcopy(twin.state_dict())
        seen = twin(values, mask)
        assert torch.equal(seen.nan_to_num(), layer(values, mask).nan_to_num())
        for name, value in state.items():
            now = twin.state_dict()[name]
            assert torch.equal(now, value.expand_as(now)), name
    assert layer.eval()(values, mask)[mask].ne(values[mask]).any()


def test_present_tokens_are_samples_where_the_features_are_the_neurons():
    settings = {"late_start": 2, "forget_steps": 4}
    layer = MEmeL((HIDDEN,), neuron_dims=(2,), **settings)
    plain = MEmeL((HIDDEN,), **settings)
    for values, mask in batches(12):
        output, expected = layer(values, mask), plain(values[mask])
        torch.testing.assert_close(output[mask], expected)
        assert output[~mask].isnan().all()
    torch.testing.assert_close(layer.running_mean, plain.running_mean)
    torch.testing.assert_close(layer.running_var, plain.running_var)
    assert layer.num_batches_tracked == plain.num_batches_tracked == 12
    assert layer.num_samples_tracked == plain.num_samples_tracked
    layer(torch.full((2, 3, HIDDEN), math.nan), torch.zeros(2, 3, dtype=torch.bool))
    assert layer.num_batches_tracked == 12


def test_whole_samples_may_be_absent():
    torch.manual_seed(0)
    layer, plain = (MEmeL((TOKENS, HIDDEN), late_start=1) for _ in range(2))
    for _ in range(4):
        values, mask = torch.randn(5, TOKENS, HIDDEN), torch.rand(5) > 0.4
        output = layer(values, mask)
        torch.testing.assert_close(output[mask], plain(values[mask]))
        assert torch.equal(output[~mask], values[~mask])
    assert layer.num_samples_tracked == plain.num_samples_tracked


def test_a_number_that_is_not_finite_where_present_is_kept_and_the_batch_not_counted():
    layer = MEmeL((TOKENS, HIDDEN), late_start=1, top_k=2)
    for values, mask in batches(8):
        layer(values, mask)
    before = copy.deepcopy(layer.state_dict())
    values, mask = sentences(4, 5, 0)
    values[0, 1, 2] = math.nan
    output = layer(values, mask)
    assert output[0, 1, 2].isnan()
    changed = (output != values) & mask[:, :, None] & ~values.isnan()
    assert changed.flatten(1).sum(1).tolist() == [1, 2, 2, 2]
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_padding_counts_where_the_authors_code_is_followed():
    torch.manual_seed(0)
    made = {"late_start": 2, "convention": "released"}
    layer, plain = MEmeL((TOKENS, HIDDEN), **made), MEmeL((TOKENS, HIDDEN), **made)
    mask = torch.arange(TOKENS) < torch.tensor([[2], [5], [7]])
    for _ in range(5):
        values = torch.randn(3, TOKENS, HIDDEN)
        assert torch.equal(layer(values, mask), plain(values))
    assert layer.num_samples_tracked == 15
    with pytest.raises(ValueError, match=r"\(7, 3\); found an input \(3, 4, 3\)"):
        layer(values[:, :4], mask[:, :4])


def test_state_survives_the_round_trip_and_either_kind_of_counts_loads():
    made = {"late_start": 2, "forget_steps": 5, "top_k": 2}
    through, first, second = (MEmeL((TOKENS, HIDDEN), **made) for _ in range(3))
    every = list(batches(16))
    outputs = [through(values, mask) for values, mask in every]
    for values, mask in every[:7]:
        first(values, mask)
    second.load_state_dict(first.state_dict(), strict=True)
    for (values, mask), expected in zip(every[7:], outputs[7:], strict=True):
        assert torch.equal(second(values, mask).nan_to_num(), expected.nan_to_num())
    for name, value in through.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    plain = MEmeL((TOKENS, HIDDEN), **made)
    plain(torch.randn(4, TOKENS, HIDDEN))
    second.load_state_dict(plain.state_dict(), strict=True)
    assert second.num_samples_tracked.shape == ()
    second(*every[0])
    assert second.num_samples_tracked.flatten().tolist() == [
        4 + present for present in padded(every[0][1], False).sum(0).tolist()
    ]
    unknown = MEmeL(None)
    unknown.load_state_dict(second.state_dict(), strict=True)
    assert unknown.num_batches_tracked.shape == (TOKENS, 1)
    with pytest.raises(RuntimeError, match="size mismatch for num_batches_tracked"):
        MEmeL((TOKENS + 1, HIDDEN)).load_state_dict(second.state_dict())


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_places_with_counts_of_their_own_go_on_without_a_mask(convention: str):
    torch.manual_seed(0)
    made = {"late_start": 9, "forget_steps": 9}
    layer = MEmeL((TOKENS, HIDDEN), **made)
    for values, mask in batches(12):
        layer(values, mask)
    state, before = copy.deepcopy(layer.state_dict()), layer.num_batches_tracked.clone()
    on = MEmeL((TOKENS, HIDDEN), convention=convention, **made)
    on.load_state_dict(state)
    values = torch.randn(5, TOKENS, HIDDEN)
    changed = (on(values) != values).any(2)
    old = before.flatten() >= 9
    assert old.any() and not old.all()
    assert changed[:, old].any() and not changed[:, ~old].any()
    assert torch.equal(on.num_batches_tracked, before + 1)
    assert torch.equal(on.num_samples_tracked, layer.num_samples_tracked + 5)
    layer(values, torch.ones(5, TOKENS).bool())
    torch.testing.assert_close(on.running_var, layer.running_var)
    on.reset_running_stats()
    assert not any(buffer.any() for buffer in on.buffers())


@pytest.mark.parametrize(
    ("shape", "mask", "said"),
    [
        ((2, 9, 3), torch.ones(2, 9).bool(), r"\(7, 3\); found an input \(2, 9, 3\)"),
        ((2, 5, 3), None, r"\(7, 3\); found an input \(2, 5, 3\)"),
        ((2, 5, 3), torch.ones(2).bool(), r"\(7, 3\); found an input \(2, 5, 3\)"),
        ((2, 7, 2), torch.ones(2, 7).bool(), r"\(7, 3\); found an input \(2, 7, 2\)"),
        ((2, 5, 3), torch.ones(2, 7).bool(), r"MEmeL at here: .* e\.g\. \(2, 5\); found \(2, 7\)"),
        ((2, 5, 3), torch.ones(1, 5).bool(), r"leading dimensions .* found \(1, 5\)"),
        ((2, 5, 3), torch.ones(2, 1, 1, 5).bool(), r"found \(2, 1, 1, 5\)"),
        ((2, 5, 3), torch.tensor(True), r"found \(\)"),
        ((2, 5, 3), torch.zeros(2, 5), "bool or 0 and 1, .*; found torch.float32"),
    ],
)
def test_what_does_not_fit_is_said(shape: tuple[int, ...], mask: Any, said: str):
    layer = MEmeL((TOKENS, HIDDEN))
    layer.site = "here"
    for act in (layer, layer.prepare):
        with pytest.raises(ValueError, match=said):
            act(torch.zeros(shape), mask)
    assert layer.num_batches_tracked.shape == ()


def test_one_token_of_a_layer_with_many_needs_a_mask_too():
    layer = MEmeL((TOKENS, HIDDEN))
    layer(torch.zeros(2, 1, HIDDEN), torch.ones(2, 1).bool())
    assert layer.num_samples_tracked.flatten().tolist() == [2] + [0] * (TOKENS - 1)
    with pytest.raises(ValueError, match="give a mask with what is shorter"):
        layer(torch.zeros(2, 1, HIDDEN))


def test_a_layer_whose_input_is_masked_out_is_told_once():
    layer = MEmeL((TOKENS, HIDDEN), late_start=1)
    values, nothing = torch.randn(2, TOKENS, HIDDEN), torch.zeros(2, TOKENS).bool()
    for _ in range(PATIENCE):
        layer(values, nothing)
    with pytest.warns(RuntimeWarning, match=r"of which 0 were finite.*or is masked out"):
        layer(values, nothing)


class Pieces(nn.Module):
    def __init__(self, checkpointed: bool) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        self.socket = nn.Identity()

    def forward(self, values: torch.Tensor, *, attention_mask: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            if self.checkpointed:
                values = checkpoint(self.run, values, use_reentrant=False)
            else:
                values = self.run(values)
        return values[attention_mask]

    def run(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.socket(self.linear(values)).sin())


def of_call(_: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor | None:
    return named.get("attention_mask")


@pytest.mark.parametrize("evaluates", [False, True])
def test_checkpointing_repeats_although_the_mask_is_gone_by_then(evaluates: bool):
    torch.manual_seed(0)
    plain, pieces = Pieces(False), Pieces(True)
    pieces.load_state_dict(plain.state_dict())
    for model in (plain, pieces):
        [layer] = plug_in(model, "socket", mask=of_call, late_start=2, in_eval=True).values()
        layer.prepare(torch.zeros(1, TOKENS, HIDDEN))
    for step, (values, mask) in enumerate(batches(12)):
        for model in (plain, pieces):
            model.train(not evaluates or step < 8)
            model(values.nan_to_num(), attention_mask=mask).square().sum().backward()
        assert torch.equal(plain.linear.weight.grad, pieces.linear.weight.grad)
    for name, value in plain.state_dict().items():
        assert torch.equal(pieces.state_dict()[name], value), name
    assert pieces.socket.num_batches_tracked.max() == 3 * (8 if evaluates else 12)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_monitor_counts_what_is_inhibited_and_measures_what_is_present(channels_last: bool):
    torch.manual_seed(0)
    shape = (4, 5, 6)
    layer = MEmeL(shape, late_start=3, top_k=2)
    assert unstarted({"here": layer}) == ["here (0 batches seen, late_start 3)"]
    monitor = Monitor({"here": layer})
    picks = torch.zeros(shape, dtype=torch.long)
    order = torch.channels_last if channels_last else torch.contiguous_format
    for step in range(30):
        short = torch.randn(3, 4, 1 + step % 5, 6).to(memory_format=order)
        mask = torch.rand(3, 4, short.shape[2]) > 0.5
        if step == 29:
            monitor.arm()
            old = layer.num_batches_tracked >= 3
            mean, var = layer.running_mean.clone(), layer.running_var.clone()
        changed = layer(short, mask) != short
        picks[:, : short.shape[2]] += changed.sum(0)
    counted = monitor.state_dict()["here"]
    assert counted.sum() > 100
    expected = picks.permute(1, 2, 0) if channels_last else picks
    assert torch.equal(counted, expected.flatten())
    assert old.all()
    reading = monitor.read()["here"]
    phi = ((short - mean) ** 2 / (var + 0.01 * var.mean()))[mask]
    assert sum(reading.log10_phi) == phi.numel() < short.numel()
    assert reading.numbers["mean_phi"] == pytest.approx(float(phi.mean()), rel=1e-4)
    assert unstarted({"here": layer}) == []


def learn_in_parts(ranks: Ranks) -> list[Any]:
    layer = MEmeL((TOKENS, HIDDEN), late_start=3, forget_steps=5, top_k=2)
    rng = np.random.default_rng(1)
    found: list[Any] = []
    for seed in range(14):
        # The second rank never has the last place, and twice it has nothing at all.
        sizes = rng.integers(0, 5, 2), rng.integers((1, 1), (TOKENS + 1, TOKENS))
        parts = [
            sentences(1 + int(size), int(length), 2 * seed + number)
            for number, (size, length) in enumerate(zip(*sizes, strict=True))
        ]
        if ranks.size > 1:
            values, mask = parts[ranks.rank]
            if ranks.rank and seed in (9, 11):
                nothing = (slice(0),) if seed == 9 else (slice(None), slice(0))
                values, mask = values[nothing], mask[nothing]
        else:
            kept = parts[:1] if seed in (9, 11) else parts
            values = torch.cat([padded(values, math.nan) for values, _ in kept])
            mask = torch.cat([padded(mask, False) for _, mask in kept])
        output = padded(layer(values, mask), math.nan)
        found.append(output[: len(parts[0][0])].nan_to_num().tolist())
    return [found, [value.tolist() for value in layer.state_dict().values()]]


def test_two_ranks_of_other_lengths_are_one():
    [one] = in_ranks(1, learn_in_parts)
    two, other = in_ranks(2, learn_in_parts)
    for mine, whole in zip(two[1], one[1], strict=True):
        np.testing.assert_allclose(mine, whole, rtol=1e-6, atol=1e-6)
    assert other[1] == two[1]
    for mine, whole in zip(two[0], one[0], strict=True):
        np.testing.assert_allclose(mine, whole, rtol=1e-6, atol=1e-6)
