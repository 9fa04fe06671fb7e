"""Silencing neurons: the one that responds to one group is found, and only that group suffers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nowcast.core.audit.ablation import Ablation, audit_neurons, draw, write_csv
from nowcast.core.audit.responses import matching_sites
from nowcast.core.audit.selectivity import false_killing_rates, separation
from nowcast.core.errors import ConfigError
from nowcast.core.memel.plug import plug_in


class Known(nn.Module):
    """Neuron 2 alone responds to x[2]; all others see every sample alike."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = self.site(values[:, :, None, None].expand(-1, -1, 2, 3))
        return hidden.mean((2, 3)).sum(1)


def samples() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(40):
        values = torch.randn(1, 4, generator=generator)
        values[0, 2] = 5.0 + 0.1 * values[0, 2] if number % 4 == 0 else 0.1 * values[0, 2]
        found.append(values)
    return found


def group(values: torch.Tensor) -> str:
    number = int(1000 * abs(float(values[0, 0])))
    return "rare" if values[0, 2] > 2 else ("odd" if number % 2 else "even")


def loss(model: nn.Module, values: torch.Tensor) -> torch.Tensor:
    return (model(values) - values.sum(1)).square().mean()


@pytest.mark.parametrize("unit", ["channel", "position"])
def test_the_neuron_of_one_group_is_found_and_its_loss_rises_there(unit: str):
    rows = audit_neurons(Known(), ["site"], samples, loss, group, unit, top=1).rows
    assert {row.neuron for row in rows} <= ({2} if unit == "channel" else set(range(12, 18)))
    found = {row.group: row for row in rows}
    assert [row.group for row in rows if row.stands_out] == ["rare"]
    x = np.array([float(values[0, 2]) for values in samples()])
    rare = np.array([group(values) == "rare" for values in samples()])
    assert found["rare"].samples == 10
    assert found["rare"].mean == pytest.approx(x[rare].mean(), rel=1e-5)
    part = 1 if unit == "channel" else 1 / 6
    assert found["rare"].increase == pytest.approx(
        ((x[rare] - x.mean()) ** 2).mean() * part**2, rel=1e-4
    )
    assert found["rare"].low > 5 * found["odd"].high
    assert found["rare"].loss == pytest.approx(0, abs=1e-9)


def audited(responses: dict[str, np.ndarray], threshold: float = 2.0) -> Ablation:
    """The audit of a model whose neurons respond as said, ``sample neuron``, in each group."""
    pairs = [(name, row) for name, rows in responses.items() for row in rows]
    return audit_neurons(
        nn.Sequential(nn.Identity()),
        ["0"],
        lambda: pairs,
        lambda model, pair: model(torch.tensor(pair[1])[None]).square().mean(),
        lambda pair: pair[0],
        top=100,
        threshold=threshold,
    )


def marks(found: Ablation) -> list[tuple[int, str]]:
    return [(row.neuron, row.group) for row in found.rows if row.stands_out]


def spread(mean: float, deviation: float, samples: int = 12) -> np.ndarray:
    """The response of one neuron with just this mean and unbiased deviation."""
    values = np.random.default_rng(samples).normal(size=(samples, 1))
    return mean + deviation * (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_d_is_to_the_nearest_group_in_the_deviations_of_these_two(offset: float):
    low, middle, high = [0.0, 1.0, 2.0], [3.0, 5.0, 7.0], [9.0, 10.0, 14.0]  # variances 1, 4, 7
    responses = {
        name: np.array(values)[:, None] + offset
        for name, values in {"high": high, "low": low, "middle": middle}.items()
    }
    rows = {row.group: row for row in audited(responses).rows}
    assert rows["low"].d == pytest.approx(-4 / np.sqrt(2.5), rel=1e-9)
    assert rows["middle"].d == 0
    assert rows["high"].d == pytest.approx(6 / np.sqrt(5.5), rel=1e-9)
    assert rows["high"].mean == pytest.approx(11 + offset)
    assert rows["high"].deviation == pytest.approx(np.sqrt(7), rel=1e-9)
    assert marks(audited(responses, threshold=2.55)) == [(0, "high")]  # low: |d| = 2.53
    assert marks(audited(responses)) == []  # both ends reach 2: a graded response


def test_a_group_that_hardly_varies_makes_no_other_stand_out():
    dry = np.zeros((200, 1))
    assert marks(audited({"dry": dry, "light": spread(0, 1), "heavy": spread(1.8, 1)})) == []


class Planted(nn.Module):
    """ReLU units of mixed inputs; unit 3 fires at input 0 alone, and that is high in one group."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.site = nn.ReLU()
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)))
            self.first.weight[:, 0] = 0.0
            self.first.weight[3] = torch.eye(5)[0]
            self.first.bias.copy_(torch.tensor([0.0, 0.3, -0.3, -2.0, 0.5, 0.0]))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.site(self.first(values))


@pytest.mark.parametrize("others", [("dry",), ("dry", "still"), ("dry", "still", "west")])
@pytest.mark.parametrize("rare", ["squall", "a squall"])  # last and first of the sorted groups
def test_the_planted_neuron_stands_out_for_its_group_alone(others: Sequence[str], rare: str):
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for name in [rare, *others] * 12:
        values = torch.randn(1, 5, generator=generator)
        values[0, 0] = values[0, 0].clamp(-1, 1) + (5 if name == rare else 0)
        pairs.append((name, values))
    found = audit_neurons(
        Planted(),
        ["site"],
        lambda: pairs,
        lambda model, pair: model(pair[1]).square().mean(),
        lambda pair: pair[0],
        top=6,
    )
    assert marks(found) == [(3, rare)]
    assert found.rows[0].neuron == 3  # what stands out comes first
    assert found.left_out == {}


def test_a_graded_neuron_does_not_stand_out():
    """Each group doubles response and noise, so the highest is far from all the lower ones."""
    graded = {
        name: spread(level, 0.2 * level) for name, level in zip("abc", (1, 2, 4), strict=True)
    }
    assert marks(audited(graded)) == []
    evenly = {name: spread(level, 0.1) for name, level in zip("abcd", range(4), strict=True)}
    assert marks(audited(evenly)) == []


def test_a_neuron_below_all_other_groups_stands_out_too():
    found = audited({"a": spread(0, 1), "b": spread(0.5, 1), "off": spread(-4, 1)})
    assert marks(found) == [(0, "off")]
    assert {row.group: row.d for row in found.rows}["off"] == pytest.approx(-4)


def test_of_two_groups_it_is_that_in_which_the_neuron_varies_more():
    found = audited({"more": spread(0, 2), "less": spread(9, 0.1)})
    assert marks(found) == [(0, "more")]
    more, less = sorted(found.rows, key=lambda row: row.d)
    assert more.d == -less.d


def test_constant_neurons_are_as_far_apart_as_their_constants():
    def constant(level: float) -> np.ndarray:
        return np.full((4, 1), level, dtype=float)

    same = audited({"a": constant(0.3), "b": constant(0.3 + 1e-8)})
    assert [abs(row.d) < 0.1 for row in same.rows] == [True, True]
    silent = audited({"a": constant(0), "b": constant(0)})
    assert [row.d for row in silent.rows] == [0, 0]
    assert marks(audited({"a": constant(1), "b": constant(0), "c": spread(0, 0.1)})) == [(0, "a")]
    rounded = np.array([[1.0], [1.0], [1.0], [1 + 1e-7]])
    assert marks(audited({"a": rounded, "b": constant(0)})) == []  # which of them, nothing says


def test_groups_are_in_the_order_of_their_numbers():
    names = ["dry", "0 to 0.5 mm/h", "0.5 to 2 mm/h", "2 to 5 mm/h", "10 to 30 mm/h", "30 or more"]
    found = audited({name: spread(0, 1) for name in reversed(names)})
    assert [row.group for row in found.rows] == [*names[1:], "dry"]


def test_separation_is_of_each_neuron_by_itself():
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(4, 7)), rng.uniform(0.1, 2, (4, 7))
    together = separation(means, variances)
    apart = [separation(means[:, [n]], variances[:, [n]])[:, 0] for n in range(7)]
    assert np.array_equal(together, np.stack(apart, 1))
    assert ((together != 0).sum(0) == 2).all()  # the highest and the lowest group
    assert np.array_equal(together.argmax(0), means.argmax(0))


def test_groups_left_out_are_named_and_do_not_count(tmp_path: Path):
    groups = {"a": spread(0, 1), "b": spread(5, 2)}
    found = audited(groups | {"few": spread(9, 1, samples=2), "one": np.array([[50.0]])})
    assert found.left_out == {"few": 2, "one": 1}
    assert found.left_out_text() == "left out, with fewer than 3 samples: few (2), one (1)"
    # What silencing holds the neuron at is the mean over the groups that are compared, too.
    assert found.rows == audited(groups).rows
    assert audited(groups).left_out_text() == ""
    write_csv(tmp_path / "neurons.csv", found.rows)
    lines = (tmp_path / "neurons.csv").read_text().splitlines()
    assert lines[0] == (
        "site,neuron,group,samples,mean,deviation,d,stands_out,loss,increase,low,high"
    )
    assert [line.split(",")[2] for line in lines[1:]] == ["a", "b"]
    draw(tmp_path / "neurons.png", found)
    assert (tmp_path / "neurons.png").read_bytes().startswith(b"\x89PNG")


def test_too_few_samples_in_groups_are_said():
    with pytest.raises(ConfigError, match="at least 2 groups of 3 samples or more, found rare: 2"):
        audit_neurons(Known(), ["site"], lambda: samples()[0:5:4], loss, group)


class Blocks(nn.Module):
    """Two blocks as of a transformer, whose outputs are tuples; channel 1 carries the input."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            (values,) = block(values)
        return (values * present[..., None]).sum((1, 2)) / present.sum(1)


class Block(nn.Module):
    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor]:
        return (values + 0.0,)


def texts() -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Samples ``1 position 3``; of the last position nothing is there."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(24):
        values = 0.1 * torch.randn(1, 5, 3, generator=generator)
        name = "abc"[number % 3]
        values[..., 1] += 4 * (name == "b")
        values[:, 4] = 1e6
        found.append((name, values, torch.tensor([[1, 1, 1, 1, 0]])))
    return found


def test_channels_of_a_block_that_is_hooked_are_its_last_dimension_and_padding_is_no_response():
    found = audit_neurons(
        Blocks(),
        ["blocks.1"],
        texts,
        lambda model, text: (
            (model(text[1], text[2]) - text[1][:, :4].sum((1, 2)) / 4).square().mean()
        ),
        lambda text: text[0],
        top=1,
        mask=lambda args, _: args[1],
    )
    assert marks(found) == [(1, "b")]
    rises = {row.group: row.increase for row in found.rows}
    assert rises["b"] == pytest.approx((4 - 4 / 3) ** 2, rel=0.1)
    assert rises["a"] == pytest.approx((4 / 3) ** 2, rel=0.1)
    site = found.sites["blocks.1"]
    assert (site.neurons, dict(site.standing_out), site.share) == (3, {"b": 1}, 1 / 3)


def test_sites_are_sockets_or_any_modules():
    model = Blocks()
    assert matching_sites(model, ["blocks.*"]) == ["blocks.0", "blocks.1"]
    plug_in(model, "blocks.0")
    assert matching_sites(model, ["blocks.*"]) == ["blocks.0", "blocks.1"]
    with pytest.raises(ConfigError, match=r"--site: no module matches.*nearest: blocks"):
        matching_sites(model, ["block.0"])


def test_false_killing_rate_by_hand():
    # Neuron 0 belongs to "a" and neuron 1 to "b"; the largest scale is the 3 of neuron 0.
    values = np.array([[3, 0], [1, 0], [1, 0], [0, 0], [0, 3], [1, 4.0]])
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    assert false_killing_rates(values, groups, (1 / 12,)) == {1 / 12: 0.0}
    everything = false_killing_rates(values, groups, (1.0,))
    assert everything == {1.0: 0.5}  # three of six samples are outside of either neuron's group
    two = np.array([[9.0], [0], [0], [0], [0], [6]])
    assert false_killing_rates(two, groups, (2 / 6,)) == {2 / 6: 0.5}
    assert false_killing_rates(np.ones((4, 2)), np.array(list("aabb"))) == {}
