"""Plug MEmeL into a model, and out again: no parameter of the host is renamed or moved.

A site is the name of a module. An `nn.Identity` is a socket and gives its place to the layer; any
other module keeps its place, and a forward hook passes its output through the layer, which becomes
its child ``memel`` so that `state_dict` and `to` reach it.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from nowcast.core.memel.layer import MEmeL
from nowcast.core.memel.masks import CallMask, FindMask, disconnect
from nowcast.core.memel.modes import in_mode

CHILD = "memel"  # what the layer is called within a module that is hooked

# A site's tensor and the mask of the call that is under way -> what goes on in its place.
Pass = Callable[[Tensor, Tensor | None], Tensor]


class Socket(nn.Identity):
    """A place in a model made for a layer to be plugged into.

    Args:
        inplace: whether nothing needs a value once it has passed, so that a layer may overwrite it.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


def sockets(model: nn.Module) -> list[str]:
    """Names of all sockets of a model: its `nn.Identity` modules."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Identity)]


def middle_blocks(depth: int) -> range:
    """The four middle ones of so many blocks, where Wang et al. 2024 put layers in transformers:
    4-7 of BERT's 12, 1-4 and 7-10 of the 6 and 18 in Swin's third stage."""
    first = max(depth // 2 - 2, 0)
    return range(first, min(first + 4, depth))


def plugged(model: nn.Module) -> dict[str, MEmeL]:
    """The MEmeL layers of a model by site."""
    return {
        _host(name) if _is_hooked(module) else name: module
        for name, module in model.named_modules()
        if isinstance(module, MEmeL)
    }


def plug_in(
    model: nn.Module,
    sites: str | Iterable[str],
    *,
    dry_run: Callable[[nn.Module], object] | None = None,
    mask: FindMask | None = None,
    **settings: Any,
) -> dict[str, MEmeL]:
    """Put a MEmeL layer at each site, in place.

    Args:
        model: the host. Plug in before it is wrapped (DDP) or compiled.
        sites: names as in `model.named_modules()`, or shell patterns. A pattern matches sockets,
            e.g. ``*.candidate``; where it matches none, other modules part by part between the
            dots, e.g. ``bert.encoder.layer.[4-7]``. The first tensor of a tuple or list is taken.
        dry_run: called with the model in evaluation mode and without gradients; passes one batch
            through it, from which each layer reads its neurons' shape. Without it a layer takes
            its shape from the first training batch or from the state that is loaded.
        mask: finds in the positional and the named arguments of every call of `model` the mask
            that its layers get, see `MEmeL.forward`, or None for none: e.g.
            ``lambda args, named: named["attention_mask"]``. Let the dry run's batch be as long as
            any, and have a mask. A layer that is called outside of `model` gets none.
        settings: handed to every `MEmeL`.

    Returns:
        site -> its layer.

    Raises:
        ValueError: a site that matches nothing (the nearest names are given), has a layer already
            or is never called by itself; a dry run that did not pass through one. The model is
            then as it was.
    """
    names = _matching(model, [sites] if isinstance(sites, str) else sites)
    layers: dict[str, MEmeL] = {}
    try:
        for name in names:
            place = model.get_submodule(name)
            inplace = isinstance(place, Socket) and place.inplace
            layers[name] = MEmeL(None, **{"inplace": inplace} | settings)
            layers[name].site = name
            _put(model, name, layers[name])
        if mask is not None:
            CallMask(mask).connect(model, layers.values())
        if dry_run is not None:
            _prepare(model, layers, dry_run)
    except BaseException:
        _take_out(model, layers.values())
        raise
    return layers


def unplug(model: nn.Module) -> list[str]:
    """Take out every MEmeL layer that `plug_in` put in; the model is what it was before.

    Returns:
        the sites that had one.
    """
    return _take_out(model, [layer for layer in plugged(model).values() if layer.site])


def matching_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict for a model with other MEmeL layers than the one it was saved from.

    ``model.load_state_dict(matching_state(model, state))`` loads weights trained with MEmeL into a
    model without it, and the other way round. Statistics are kept where both have a layer, left
    out where only `state` has one, and fresh where only the model has one; so is what the method
    of one of two layers keeps and that of the other does not. All else is untouched, so that the
    strict load still finds what is missing or unknown.
    """
    own = model.state_dict()
    layers = _layers(own) | _layers(state)
    kept = {name: x for name, x in state.items() if name in own or _host(name) not in layers}
    fresh = {name: x for name, x in own.items() if name not in state and _host(name) in layers}
    return kept | fresh


def _layers(state: Mapping[str, Tensor]) -> set[str]:
    """Names of the MEmeL layers in a state dict; no other layer counts samples."""
    return {_host(name) for name in state if name.endswith(".num_samples_tracked")}


def _host(name: str) -> str:
    return name.rpartition(".")[0]


def find_sites(model: nn.Module, sites: str | Iterable[str]) -> list[str]:
    """The modules that names or patterns mean, as `plug_in` takes them, filled or not.

    Raises:
        ValueError: one that matches nothing; the nearest names are given.
    """
    filled = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Identity) or (isinstance(module, MEmeL) and not _is_hooked(module))
    ]
    return _found(model, [sites] if isinstance(sites, str) else sites, filled)


def _found(model: nn.Module, sites: Iterable[str], places: list[str]) -> list[str]:
    """`find_sites`, with the sockets that patterns mean."""
    every = [
        name
        for name, module in model.named_modules()
        if name and not (isinstance(module, MEmeL) and _is_hooked(module))
    ]
    found: list[str] = []
    for site in sites:
        matches = (
            [name for name in every if name == site]
            or [name for name in places if fnmatchcase(name, site)]
            or [name for name in every if _matches_by_part(name, site)]
        )
        if not matches:
            near = difflib.get_close_matches(site, places or every, n=3, cutoff=0.0)
            near += [name for name in difflib.get_close_matches(site, every) if name not in near]
            raise ValueError(f"no module matches the site {site!r}; nearest: {', '.join(near)}")
        found += [name for name in matches if name not in found]
    return found


def _matching(model: nn.Module, sites: Iterable[str]) -> list[str]:
    found = _found(model, sites, sockets(model))
    for name in found:
        module = model.get_submodule(name)
        if isinstance(module, MEmeL) or hasattr(module, CHILD):
            raise ValueError(f"{name} has a MEmeL layer already; unplug(model) takes all out")
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            raise ValueError(f"{name} only holds modules and is never called; name one within it")
    return found


def _matches_by_part(name: str, site: str) -> bool:
    parts, patterns = name.split("."), site.split(".")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _put(model: nn.Module, name: str, layer: MEmeL) -> None:
    module = model.get_submodule(name)
    layer.train(module.training)
    if isinstance(module, nn.Identity):
        layer.socket = (module,)
        model.set_submodule(name, layer)
        return
    module.add_module(CHILD, layer)
    if type(module).forward is not nn.Sequential.forward:  # which calls its last child itself
        module.register_forward_hook(_through_layer)


def _take_out(model: nn.Module, layers: Iterable[MEmeL]) -> list[str]:
    wanted = set(layers)
    taken = [site for site, layer in plugged(model).items() if layer in wanted]
    for host in list(model.modules()):
        for name, layer in list(host._modules.items()):
            if not isinstance(layer, MEmeL) or layer not in wanted:
                continue
            if layer.socket:
                host._modules[name] = layer.socket[0].train(layer.training)
                continue
            del host._modules[name]
            for key, hook in list(host._forward_hooks.items()):
                if hook is _through_layer:
                    del host._forward_hooks[key]
    disconnect(model, wanted)
    return taken


def _is_hooked(layer: MEmeL) -> bool:
    return bool(layer.site) and not layer.socket


def _through_layer(module: nn.Module, _: Any, output: Any) -> Any:
    layer = module.get_submodule(CHILD)
    return through(layer, output, str(getattr(layer, "site", CHILD)))


def through(change: Callable[[Tensor], Tensor], output: Any, site: str) -> Any:
    """A module's output with its tensor, or the first one of a tuple or list, changed.

    Raises:
        TypeError: there is none; `site` is named.
    """
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        parts = [change(output[0]), *output[1:]]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    raise TypeError(
        f"MEmeL at {site}: expected a tensor, or a tuple or list that begins with one, found "
        f"{type(output).__name__}; name a module within it"
    )


@contextmanager
def passed(
    model: nn.Module, passes: Mapping[str, Pass], mask: FindMask | None = None
) -> Iterator[None]:
    """Pass the output of each site through a function of its own while the block runs.

    Args:
        model: the host.
        passes: by site; each is given the first tensor of an output, as a layer would be.
        mask: as `plug_in` takes it.
    """
    masks = CallMask(mask or (lambda *_: None))

    def hook(site: str) -> Callable[..., Any]:
        def change(values: Tensor) -> Tensor:
            return passes[site](values, masks.mask)

        return lambda _, __, output: through(change, output, site)

    with ExitStack() as stack:
        for site in passes:
            handle = model.get_submodule(site).register_forward_hook(hook(site))
            stack.callback(handle.remove)
        stack.callback(disconnect, model, ())
        masks.connect(model, ())
        yield


def _prepare(
    model: nn.Module, layers: Mapping[str, MEmeL], dry_run: Callable[[nn.Module], object]
) -> None:
    """Let every layer read its shape off one batch."""
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: layer.prepare(*inputs))
        for layer in layers.values()
    ]
    try:
        with in_mode(model, training=False), torch.no_grad():
            dry_run(model)
    finally:
        for hook in hooks:
            hook.remove()
    missed = [name for name, layer in layers.items() if layer.neuron_shape is None]
    if missed:
        raise ValueError(f"the dry run passed no data through {', '.join(missed)}")
