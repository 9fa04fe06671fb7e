"""plug_in: sockets are filled by name and pattern, the host keeps its parameters."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from nowcast import MEmeL, plug_in, unplug
from nowcast.core.memel.plug import Socket, matching_state, plugged, sockets
from nowcast.core.system.distributed import Ranks
from tests.core.ranks import in_ranks


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.after_first = nn.Identity()
        self.unused = nn.Identity()
        self.second = nn.Linear(4, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.after_first(self.first(values)))


def dry_run(model: nn.Module) -> object:
    return model(torch.zeros(1, 3))


def test_fills_a_socket_and_renames_nothing():
    host = Host()
    names = [name for name, _ in host.named_parameters()]
    layers = plug_in(host, ["after_*"], dry_run=dry_run, delta=5.0)
    assert list(layers) == ["after_first"]
    assert isinstance(host.after_first, MEmeL)
    assert host.after_first.neuron_shape == (4,)
    assert host.after_first.delta == 5.0
    assert [name for name, _ in host.named_parameters()] == names
    assert host.training


def test_unknown_site_names_the_nearest():
    with pytest.raises(ValueError, match="'after_frist'; nearest: after_first"):
        plug_in(Host(), ["after_frist"], dry_run=dry_run)


def test_site_that_sees_no_data_is_an_error():
    host = Host()
    with pytest.raises(ValueError, match="passed no data through unused"):
        plug_in(host, ["unused"], dry_run=dry_run)
    assert sockets(host) == ["after_first", "unused"]


def test_without_a_dry_run_the_first_batch_gives_the_shape():
    host = Host()
    layers = plug_in(host, "after_first", late_start=1)
    host(torch.randn(5, 3))
    assert layers["after_first"].neuron_shape == (4,)
    assert layers["after_first"].site == "after_first"


def test_unplug_restores_the_model_exactly():
    torch.manual_seed(0)
    host = nn.Sequential(Host(), nn.GRU(2, 5, batch_first=True), nn.Sequential(nn.Tanh()))
    modules = dict(host.named_modules())
    state = list(host.state_dict())
    sites = ["0.after_first", "0.second", "1", "2"]
    assert list(plug_in(host, sites)) == sites
    assert list(plugged(host)) == sites
    assert len(host.state_dict()) == len(state) + 4 * 4
    assert unplug(host) == sites
    assert dict(host.named_modules()) == modules
    assert list(host.state_dict()) == state
    assert not any(module._forward_hooks for module in host.modules())


def test_a_failed_plug_in_leaves_everything_as_it_was():
    host = Host()
    first = plug_in(host, "after_first", dry_run=dry_run)["after_first"]
    with pytest.raises(ValueError, match="passed no data through unused"):
        plug_in(host, ["second", "unused"], dry_run=dry_run)
    assert list(plugged(host).values()) == [first]
    with pytest.raises(ValueError, match="after_first has a MEmeL layer already"):
        plug_in(host, "after_first")


@pytest.mark.parametrize("site", ["1", "2"])
def test_a_foreign_module_is_hooked_tuple_or_tensor(site: str):
    torch.manual_seed(0)

    class Foreign(nn.ModuleDict):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            sequence, last = self["1"](values)
            assert last.shape == (1, 6, 4)
            return self["2"](sequence)

    host = Foreign({"1": nn.GRU(3, 4, batch_first=True), "2": nn.Linear(4, 2)})
    names = [name for name, _ in host.named_parameters()]
    layer = plug_in(host, site, late_start=1)[site]
    values = [torch.randn(6, 5, 3) for _ in range(2)]
    host(values[0])
    assert layer.neuron_shape == ((5, 4) if site == "1" else (5, 2))
    changed = host(values[1])
    assert [name for name, _ in host.named_parameters()] == names
    assert f"{site}.memel.running_mean" in host.state_dict()
    unplug(host)
    plain = host(values[1])
    assert not torch.equal(changed, plain)
    if site == "2":
        assert ((changed != plain).flatten(1).sum(1) == 1).all()


def test_a_pattern_goes_part_by_part_through_foreign_modules():
    host = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(4)))
    assert list(plug_in(host, "[1-2].1")) == ["1.1", "2.1"]
    unplug(host)
    assert list(plug_in(host, "*.0")) == ["0.0", "1.0", "2.0", "3.0"]
    with pytest.raises(ValueError, match=r"'4\.0'; nearest: "):
        plug_in(host, "4.0")


def test_what_cannot_be_a_site_is_said():
    with pytest.raises(ValueError, match="layers only holds modules"):
        plug_in(nn.ModuleDict({"layers": nn.ModuleList([nn.Tanh()])}), "layers")

    class Named(nn.Module):
        def forward(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"values": values}

    host = nn.Sequential(Named())
    plug_in(host, "0")
    with pytest.raises(TypeError, match="MEmeL at 0: expected a tensor"):
        host(torch.zeros(2, 3))


@pytest.mark.parametrize("site", ["after_first", "first"])
def test_state_goes_either_way_by_one_call(site: str):
    torch.manual_seed(0)
    plain, other = Host(), Host()
    plug_in(other, site, dry_run=dry_run)
    other(torch.randn(4, 3))
    plain.load_state_dict(matching_state(plain, other.state_dict()))
    assert torch.equal(plain.first.weight, other.first.weight)
    fresh = Host()
    plug_in(fresh, site, dry_run=dry_run)
    fresh.load_state_dict(matching_state(fresh, plain.state_dict()))
    assert torch.equal(fresh.first.weight, other.first.weight)
    [layer] = plugged(fresh).values()
    assert layer.num_batches_tracked == 0
    fresh.load_state_dict(matching_state(fresh, other.state_dict()))
    assert layer.num_batches_tracked == 1


def test_a_socket_says_whether_its_layer_may_work_in_place():
    host = nn.Sequential(Socket(inplace=True), Socket(), nn.Identity(), nn.ReLU(inplace=True))
    assert sockets(host) == ["0", "1", "2"]
    layers = plug_in(host, ["*", "3"])
    assert [layer.inplace for layer in layers.values()] == [True, False, False, False]
    unplug(host)
    assert not plug_in(host, "0", inplace=False)["0"].inplace


class Reader(nn.Module):
    """A socket and two modules to be hooked, on sentences of up to 7 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.socket = nn.Identity()
        self.tuple = nn.GRU(3, 3, batch_first=True)
        self.stack = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

    def forward(
        self, values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        sequence, _ = self.tuple(self.socket(self.first(values)))
        if values.shape[1] == 2:
            raise ArithmeticError("two tokens")
        return self.stack(sequence)


READER_SITES = ["socket", "tuple", "stack"]


def by_name(_: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor | None:
    return named.get("attention_mask")


def one_sentence(model: nn.Module) -> object:
    return model(torch.zeros(1, 7, 3), attention_mask=torch.ones(1, 7).bool())


def present(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def samples_by_place(model: nn.Module) -> list[list[int]]:
    return [layer.num_samples_tracked.flatten().tolist() for layer in plugged(model).values()]


def hooks(model: nn.Module) -> list[Any]:
    kinds = ("pre_hooks", "pre_hooks_with_kwargs", "hooks", "hooks_always_called")
    return [
        hook
        for module in model.modules()
        for kind in kinds
        for hook in getattr(module, f"_forward_{kind}").items()
    ]


def test_every_layer_gets_the_mask_of_the_call_and_none_outside():
    model = Reader()
    plug_in(model, READER_SITES, mask=by_name, dry_run=one_sentence)
    assert samples_by_place(model) == [[0] * 7] * 3  # the dry run has told places apart
    model(torch.zeros(3, 5, 3), attention_mask=present(1, 5, 3))
    model(torch.zeros(2, 7, 3), attention_mask=present(7, 6))
    assert samples_by_place(model) == [[5, 4, 4, 3, 3, 2, 1]] * 3
    model(torch.zeros(1, 7, 3))
    model.socket(torch.zeros(1, 7, 3))
    assert samples_by_place(model) == [[7, 6, 6, 5, 5, 4, 3]] + [[6, 5, 5, 4, 4, 3, 2]] * 2


def test_a_call_that_fails_leaves_no_mask_behind():
    model = Reader()
    plug_in(model, "socket", mask=by_name, dry_run=one_sentence)
    with pytest.raises(ArithmeticError):
        model(torch.zeros(2, 2, 3), attention_mask=present(1, 2))
    model.socket(torch.zeros(5, 7, 3))
    assert samples_by_place(model) == [[7, 6, 5, 5, 5, 5, 5]]


def test_a_model_that_masks_its_layer_itself_is_left_to():
    class Masks(Reader):
        def forward(self, values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.socket(values, ~attention_mask)

    model = Masks()
    plug_in(model, "socket", mask=by_name)
    model(torch.zeros(3, 5, 3), attention_mask=present(1, 5, 3))
    assert samples_by_place(model) == [[0, 1, 1, 2, 2]]


def test_a_deep_copy_of_a_plugged_model_has_a_mask_of_its_own():
    model = Reader()
    plug_in(model, READER_SITES, mask=by_name, dry_run=one_sentence)
    twin = copy.deepcopy(model)

    def call_twin(*_: object) -> None:
        twin(torch.zeros(3, 4, 3), attention_mask=present(4, 4, 1))

    model.first.register_forward_hook(call_twin)  # while the model's own call is under way
    model(torch.zeros(2, 5, 3), attention_mask=present(3, 5))
    assert samples_by_place(model) == [[2, 2, 2, 1, 1, 0, 0]] * 3
    assert samples_by_place(twin) == [[3, 2, 2, 2, 0, 0, 0]] * 3
    unplug(twin)
    assert not hooks(twin)
    model(torch.zeros(2, 5, 3), attention_mask=present(3, 5))
    assert samples_by_place(model)[0] == [4, 4, 4, 2, 2, 0, 0]


def test_unplug_and_a_failed_plug_in_leave_no_hook_for_masks():
    model = Reader()
    layers = plug_in(model, READER_SITES, mask=by_name, dry_run=one_sentence)
    assert unplug(model) == READER_SITES
    assert not hooks(model)
    assert not any(hooks(layer) for layer in layers.values())
    with pytest.raises(KeyError):
        plug_in(model, "socket", mask=lambda _, named: named["absent"], dry_run=one_sentence)
    assert not hooks(model)


def test_sites_plugged_in_apart_keep_their_masks_apart():
    model = nn.Sequential(Reader())
    plug_in(model[0], "socket", mask=by_name, dry_run=one_sentence)
    before = hooks(model)
    with pytest.raises(ValueError, match=r"MEmeL at tuple: .* found torch\.float32"):
        plug_in(model[0], "tuple", mask=lambda *_: torch.ones(1, 7), dry_run=one_sentence)
    assert hooks(model) == before
    plug_in(model[0], "stack", mask=lambda *_: present(7, 1)[:, :5], dry_run=None)
    model[0](torch.zeros(2, 5, 3), attention_mask=present(5, 3))
    assert samples_by_place(model) == [[2, 2, 2, 1, 1, 0, 0], [2, 1, 1, 1, 1]]
    assert unplug(model) == ["0.socket", "0.stack"]
    assert not hooks(model)


def under_ddp(_: Ranks) -> list[list[int]]:
    torch.manual_seed(0)
    model = Reader()
    plug_in(model, READER_SITES, mask=by_name, dry_run=one_sentence)
    host = nn.parallel.DistributedDataParallel(model)
    host(torch.zeros(2, 4, 3), attention_mask=present(4, 2)).sum().backward()
    return samples_by_place(model)


def test_a_model_within_ddp_finds_its_mask():
    assert in_ranks(2, under_ddp) == [[[4, 4, 2, 2, 0, 0, 0]] * 3] * 2
