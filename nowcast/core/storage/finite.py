"""NaN and infinity are refused where they first appear, in weights and in answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nowcast.core.errors import RunError

SHOWN = 5


def check_weights(place: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights with NaN or infinity.

    Args:
        place: the file or folder that they were read from, for the message.
        tensors: by name; whole numbers may be among them.

    Raises:
        RunError: some values are not finite; the tensors are named.
    """
    wrong = {
        name: int((~torch.isfinite(tensor)).sum())
        for name, tensor in sorted(tensors.items())
        if not bool(torch.isfinite(tensor).all())
    }
    if wrong:
        shown = [f"{name}: {count} of {tensors[name].numel()}" for name, count in wrong.items()]
        more = ["..."] * (len(shown) > SHOWN)
        raise RunError(
            f"{place}: expected finite numbers, found NaN or infinity in {len(wrong)} of "
            f"{len(tensors)} tensors:\n  " + "\n  ".join(shown[:SHOWN] + more) + "\n"
            "choose other weights, or train again in another folder"
        )


def check_answers(answers: Tensor, names: Sequence[str]) -> None:
    """Refuse a model's answers with NaN or infinity, which argmax would turn into a class.

    Args:
        answers: ``batch *any``.
        names: of the samples, for the message.

    Raises:
        RunError: NaN or infinity; the first sample is named.
    """
    wrong = ~torch.isfinite(answers).flatten(1).all(1)
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0, 0])
        raise RunError(
            f"expected answers that are numbers, found NaN or infinity in {int(wrong.sum())} of "
            f"{len(answers)}, e.g. for {names[first]}; look at the model's weights and at that "
            "sample. Nothing is scored"
        )
