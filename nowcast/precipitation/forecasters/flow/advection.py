"""Rain carried along its motion: backward semi-Lagrangian, every lead time from one frame."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.graph import indices

ITERATIONS = 3  # fixed-point iterations of a step; Germann & Zawadzki 2002, section 3b
SEEN = 0.5  # least bilinear weight on pixels with data; below, a source is no data


def advect(
    frame: Float[Tensor, "batch 1 height width"],
    mask: Bool[Tensor, "batch 1 height width"],
    motion: Float[Tensor, "batch 2 height width"],
    leads: Sequence[int],
) -> tuple[
    Float[Tensor, "batch leads 1 height width"],
    Bool[Tensor, "batch leads 1 height width"],
]:
    """A frame carried along a steady motion, and where its source is known.

    Each pixel is traced back from its place in the forecast to its source in the frame (Germann &
    Zawadzki 2002, doi:10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2), so whatever the number of
    steps, the frame is interpolated (bilinearly) once. A step of the trajectory that ends at x is
    the displacement a that solves ``a = motion(x - a / 2)``, by `ITERATIONS` iterations;
    outside the frame the motion is that of the nearest edge.

    Args:
        frame: pixels; what stands where the mask is False does not matter.
        mask: True where the frame has data.
        motion: pixels per step; 0 to the right (columns), 1 downwards (rows).
        leads: steps ahead, ascending, from 0 on.

    Returns:
        The forecasts, and True where at least half the weight of the interpolation is on pixels
        with data inside the frame; the forecast is the mean of those. Where it is False the
        forecast is 0.
    """
    here = pixel_places(frame)
    data = torch.cat([frame.where(mask, 0.0), mask.to(frame.dtype)], dim=1)
    values, known = [], []
    for displacement in displacements(motion, leads):
        rain, weight = at(data, here - displacement, "zeros").chunk(2, dim=1)
        known.append(weight >= SEEN)
        values.append((rain / weight.clamp(min=SEEN)).where(known[-1], 0.0))
    return torch.stack(values, dim=1), torch.stack(known, dim=1)


def displacements(
    motion: Float[Tensor, "batch 2 height width"], leads: Sequence[int]
) -> list[Float[Tensor, "batch 2 height width"]]:
    """How far what arrives at each pixel has come, in pixels, for each of the leads (ascending);
    see `advect`."""
    here = pixel_places(motion)
    displacement, step = torch.zeros_like(motion), motion
    found, done = [], 0
    for lead in leads:
        for _ in range(lead - done):
            for _ in range(ITERATIONS):
                step = at(motion, here - displacement - step / 2, "border")
            displacement = displacement + step
        done = lead
        found.append(displacement)
    return found


def pixel_places(frame: Tensor) -> Float[Tensor, "1 2 height width"]:
    """Column and row of every pixel."""
    height, width = frame.shape[-2:]
    rows, columns = torch.meshgrid(
        indices(height, frame).to(frame.dtype),
        indices(width, frame).to(frame.dtype),
        indexing="ij",
    )
    return torch.stack([columns, rows])[None]


def at(
    field: Float[Tensor, "batch channels height width"],
    places: Float[Tensor, "batch 2 height width"],
    padding: str,
) -> Float[Tensor, "batch channels height width"]:
    """A field at places in pixels, column then row, bilinearly."""
    height, width = field.shape[-2:]
    # Without aligned corners the centres of pixels 0 and side - 1 are at -1 + 1 / side and
    # 1 - 1 / side, which holds for a side of 1 too.
    across, down = (2 * places + 1).unbind(1)
    grid = torch.stack([across / width - 1, down / height - 1], dim=-1)
    return functional.grid_sample(
        field, grid, mode="bilinear", padding_mode=padding, align_corners=False
    )
