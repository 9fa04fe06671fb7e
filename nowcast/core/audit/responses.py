"""How the neurons of a model respond to a sample, and the model with one of them held still.

A site is a socket, a MEmeL layer or any other module whose output is a tensor, or begins with one,
as a transformer's block: the same that `plug_in` takes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.masks import FindMask
from nowcast.core.memel.plug import Pass, find_sites, passed

Unit = Literal["channel", "position"]


def matching_sites(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The modules that patterns name, see `plug_in`; ConfigError names the nearest."""
    try:
        return find_sites(model, patterns)
    except ValueError as error:
        known = ", ".join(find_sites(model, "*"))
        raise ConfigError(f"--site: {error}; sites are {known}, and any other module") from error


@contextmanager
def responses(
    model: nn.Module, sites: Sequence[str], unit: Unit, mask: FindMask | None = None
) -> Iterator[dict[str, list[NDArray[np.float64]]]]:
    """The response of every neuron of every site at each call while the block runs.

    Args:
        model: called with one sample at a time.
        sites: names of its modules.
        unit: a channel is the mean over its positions: of ``batch channel *space`` where space has
            two dimensions or more, of ``batch position channel`` as transformers have it; or every
            position of every channel is a neuron.
        mask: as `plug_in` takes it: positions of a sequence that are not there have no part in the
            mean.
    """
    seen: dict[str, list[NDArray[np.float64]]] = {site: [] for site in sites}

    def look(site: str) -> Pass:
        def respond(output: Tensor, present: Tensor | None) -> Tensor:
            is_sequence = output.dim() == 3 and unit == "channel"
            if is_sequence and present is not None:
                values = output[present.bool()].double().mean(0)
            else:
                values = output.double().mean(0)
                if unit == "channel" and values.dim() > 1:
                    values = values.mean(0) if is_sequence else values.flatten(1).mean(1)
            seen[site].append(values.flatten().cpu().numpy())
            return output

        return respond

    with passed(model, {site: look(site) for site in sites}, mask):
        yield seen


@contextmanager
def silenced(model: nn.Module, site: str, neuron: int, level: float, unit: Unit) -> Iterator[None]:
    """The model with one neuron held at a level while the block runs."""

    def silence(output: Tensor, _: Tensor | None) -> Tensor:
        changed = output.clone(memory_format=torch.contiguous_format)
        if unit == "position":
            changed.flatten(1)[:, neuron] = level
        elif output.dim() == 3:
            changed[..., neuron] = level
        else:
            changed[:, neuron] = level
        return changed

    with passed(model, {site: silence}):
        yield
