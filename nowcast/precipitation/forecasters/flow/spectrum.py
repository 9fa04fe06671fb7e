"""Fourier transforms of real fields, in a graph as matrix products: ONNX has no complex numbers.

A half spectrum is ``batch height half 2``: real and imaginary parts, ``half = width // 2 + 1``.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.compiler import is_exporting

from nowcast.precipitation.forecasters.graph import Side, indices


def spectrum(field: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height half 2"]:
    """`torch.fft.rfft2`."""
    if not is_exporting():
        return torch.view_as_real(torch.fft.rfft2(field))
    return spectrum_by_products(field)


def spectrum_by_products(
    field: Float[Tensor, "batch height width"],
) -> Float[Tensor, "batch height half 2"]:
    """`spectrum` in products with cosines and sines."""
    height, width = field.shape[-2:]
    across, down = _angles(width // 2 + 1, width, field).T, _angles(height, height, field)
    real, imaginary = field @ across.cos(), -(field @ across.sin())
    cosine, sine = down.cos(), down.sin()
    return torch.stack([cosine @ real + sine @ imaginary, cosine @ imaginary - sine @ real], dim=-1)


def field(
    spectrum: Float[Tensor, "batch height half 2"], height: Side, width: Side
) -> Float[Tensor, "batch height width"]:
    """`torch.fft.irfft2`."""
    if not is_exporting():
        found: Tensor = torch.fft.irfft2(torch.view_as_complex(spectrum), s=(height, width))
        return found
    return field_by_products(spectrum, height, width)


def field_by_products(
    spectrum: Float[Tensor, "batch height half 2"], height: Side, width: Side
) -> Float[Tensor, "batch height width"]:
    """`field` in products with cosines and sines."""
    real, imaginary = spectrum.unbind(-1)
    across, down = _angles(width // 2 + 1, width, real), _angles(height, height, real)
    cosine, sine = down.cos(), down.sin()
    real, imaginary = cosine @ real - sine @ imaginary, cosine @ imaginary + sine @ real
    weight = twice(width, spectrum)[:, None] / (height * width)
    found: Tensor = real @ (across.cos() * weight) - imaginary @ (across.sin() * weight)
    return found


def twice(width: Side, like: Tensor) -> Float[Tensor, " half"]:
    """How often each column of a half spectrum stands in the whole one, where `like` is."""
    columns = indices(width // 2 + 1, like)
    return torch.where((columns == 0) | (2 * columns == width), 1.0, 2.0)


def _angles(waves: Side, side: Side, like: Tensor) -> Float[Tensor, "waves side"]:
    """The phase of each wave at each pixel; whole turns are taken off before they cost digits."""
    # A tensor, since ONNX has no remainder by a size.
    whole = like.new_full((), side, dtype=torch.int64)
    turned = indices(waves, like)[:, None] * indices(side, like) % whole
    phase: Tensor = turned.float() * (2 * torch.pi / side)
    return phase
