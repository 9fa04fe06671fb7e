"""Which values are present: a mask put to a layer's input, and how it comes to a model's layers.

A batch of sentences is padded to one length. What stands in the padding is not a sample of
anything, and only the caller of the model knows where it is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

FindMask = Callable[[tuple[Any, ...], dict[str, Any]], Tensor | None]


def aligned(mask: Tensor, values: Tensor, neuron_dims: Sequence[int] | None) -> Tensor:
    """A mask as bool with the dimensions of `values`, of size 1 where it says nothing of a neuron.

    Args:
        mask: True where `values` are present; has their leading dimensions, and may go on with 1s.
        values: with the batch first.
        neuron_dims: of `values`, that make up a neuron; None for all after the batch.

    Raises:
        ValueError: other dimensions, or numbers that are no truth values.
    """
    given = tuple(mask.shape)
    while len(given) > 1 and given[-1] == 1:
        given = given[:-1]
    if not given or given != tuple(values.shape[: len(given)]):
        raise ValueError(
            f"expected a mask with the leading dimensions of the values {tuple(values.shape)}, "
            f"e.g. {tuple(values.shape[:2])}; found {tuple(mask.shape)}"
        )
    if mask.is_floating_point() or mask.is_complex():
        raise ValueError(
            f"expected a mask of bool or 0 and 1, True where a value is present; found {mask.dtype}"
        )
    sizes = given + (1,) * (values.dim() - len(given))
    whole = mask.bool().view(sizes)
    if neuron_dims is None:
        return whole
    neurons = {dim % values.dim() for dim in neuron_dims}
    return whole.expand(
        [size if dim in neurons else values.shape[dim] for dim, size in enumerate(sizes)]
    )


def fits(samples: Tensor, present: Tensor, neuron_shape: Sequence[int]) -> bool:
    """Whether samples are of the neurons' shape, or shorter only where a mask has told lengths."""
    sizes = zip(samples.shape[1:], present.shape[1:], neuron_shape, strict=False)
    return samples.dim() == len(neuron_shape) + 1 and all(
        size == whole or (size == told and size < whole) for size, told, whole in sizes
    )


def place_shape(samples: Tensor, present: Tensor, neuron_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the places that a mask tells apart: that of the neurons, or 1."""
    sizes = zip(samples.shape[1:], present.shape[1:], neuron_shape, strict=True)
    return tuple(whole if told == size else 1 for size, told, whole in sizes)


class CallMask:
    """The mask of that call of a model which is under way, handed to layers within it.

    Its hooks are its methods, so that a deep copy of the model has a mask of its own.

    Args:
        find: gives the mask, or None, from the positional and the named arguments of the call.
    """

    def __init__(self, find: FindMask) -> None:
        self.find = find
        self.mask: Tensor | None = None

    def connect(self, model: nn.Module, layers: Iterable[nn.Module]) -> None:
        """Take the mask from every call of `model`, and give it to each call of a layer within."""
        model.register_forward_pre_hook(self._take, with_kwargs=True)
        model.register_forward_hook(self._forget, always_call=True)
        for layer in layers:
            layer.register_forward_pre_hook(self._give)

    def _take(self, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.mask = self.find(arguments, named)

    def _give(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        # A model that gives its layer a mask itself knows better.
        return None if self.mask is None or len(inputs) > 1 else (*inputs, self.mask)

    def _forget(self, *_: object) -> None:
        self.mask = None


def disconnect(model: nn.Module, layers: Iterable[nn.Module]) -> None:
    """Undo `CallMask.connect` for some of its layers, and for the model once none is left.

    Args:
        model: or what holds it.
        layers: no longer in it.
    """
    for layer in layers:
        _remove(layer, _hooks(layer))
    hooks = {module: _hooks(module) for module in model.modules()}
    given = {
        id(mask)
        for module, masks in hooks.items()
        for number, mask in masks.items()
        if module._forward_pre_hooks.get(number) == mask._give
    }
    for module, masks in hooks.items():
        _remove(module, [number for number, mask in masks.items() if id(mask) not in given])


def _hooks(module: nn.Module) -> dict[int, CallMask]:
    """The hooks of a module that are a mask's, by their number."""
    every = {**module._forward_pre_hooks, **module._forward_hooks}
    masks = {number: getattr(hook, "__self__", None) for number, hook in every.items()}
    return {number: mask for number, mask in masks.items() if isinstance(mask, CallMask)}


def _remove(module: nn.Module, numbers: Iterable[int]) -> None:
    for number in numbers:
        module._forward_pre_hooks.pop(number, None)
        module._forward_pre_hooks_with_kwargs.pop(number, None)
        module._forward_hooks.pop(number, None)
        module._forward_hooks_always_called.pop(number, None)
