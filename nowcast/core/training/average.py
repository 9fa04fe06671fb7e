"""The mean of a model's weights over its last steps, which is less noisy than the last of them.

Polyak and Juditsky 1992, doi:10.1137/0330046; with exponential weights as Kingma and Ba 2015,
section 7.2, doi:10.48550/arXiv.1412.6980.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential mean of a model's parameters; buffers stay the model's own.

    Args:
        model: whose parameters change in place.
        steps: about so many of the last steps count: each new one for ``1 / steps``, or for
            ``1 / n`` at the n-th, whichever is more, so that the first ones are a plain mean.
    """

    def __init__(self, model: nn.Module, steps: int) -> None:
        self._parameters = dict(model.named_parameters())
        self._means = {name: each.detach().clone() for name, each in self._parameters.items()}
        self._steps = steps
        self._count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self._count += 1
        share = max(1 / self._steps, 1 / self._count)
        for name, mean in self._means.items():
            mean.lerp_(self._parameters[name], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the model has the mean for its weights."""
        held = {name: each.detach().clone() for name, each in self._parameters.items()}
        self._copy(self._means)
        try:
            yield
        finally:
            self._copy(held)

    def state_dict(self) -> dict[str, Tensor]:
        """What `load_state_dict` needs: the means by name, and how many steps they have seen."""
        return {**self._means, _COUNT: torch.tensor(self._count)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict`; raises KeyError if it is of another model."""
        self._count = int(state[_COUNT])
        for name, mean in self._means.items():
            mean.copy_(state[name])

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


_COUNT = "(steps)"  # no parameter's name
