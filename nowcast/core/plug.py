"""Plug MEmeL into a model: named nn.Identity sockets are filled, no parameter is renamed."""

import difflib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from nowcast.core.memel import MEmeL


def sockets(model: nn.Module) -> list[str]:
    """Names of all sockets of a model: its `nn.Identity` modules."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Identity)]


def plug_in(
    model: nn.Module,
    sites: Iterable[str],
    *,
    dry_run: Callable[[nn.Module], object],
    **settings: Any,
) -> dict[str, MEmeL]:
    """Fill the sockets that match with MEmeL layers, in place.

    Args:
        model: the host; its parameters keep their names and values.
        sites: socket names or shell patterns, e.g. ``*.candidate``.
        dry_run: called with the model in evaluation mode and without gradients; must pass one
            batch through it, from which each site's neuron shape is read.
        settings: handed to every `MEmeL`.

    Returns:
        name of each filled socket -> its layer.

    Raises:
        ValueError: a site matches no socket (the nearest names are given), or the dry run did not
            pass through one.
    """
    filled = _matching(model, sites)
    shapes = _shapes(model, filled, dry_run)
    layers: dict[str, MEmeL] = {}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for name in filled:
        layer = MEmeL(shapes[name], **settings).to(device)
        layers[name] = layer.train(model.get_submodule(name).training)
        model.set_submodule(name, layers[name])
    return layers


def _matching(model: nn.Module, sites: Iterable[str]) -> list[str]:
    names = sockets(model)
    filled: list[str] = []
    for site in sites:
        matches = [name for name in names if fnmatchcase(name, site)]
        if not matches:
            near = difflib.get_close_matches(site, names, n=3, cutoff=0.0)
            raise ValueError(f"no socket matches the site {site!r}; nearest: {', '.join(near)}")
        filled += [name for name in matches if name not in filled]
    return filled


def _shapes(
    model: nn.Module, names: list[str], dry_run: Callable[[nn.Module], object]
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def reader(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def read(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            shapes[name] = tuple(output.shape[1:])

        return read

    hooks = [model.get_submodule(name).register_forward_hook(reader(name)) for name in names]
    was_training = model.training
    try:
        with torch.no_grad():
            dry_run(model.eval())
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    missed = [name for name in names if name not in shapes]
    if missed:
        raise ValueError(f"the dry run passed no data through {', '.join(missed)}")
    return shapes
