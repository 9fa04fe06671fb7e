"""How the rain moves: OpenCV's optical flow between radar frames, blind to where data end."""

from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from nowcast.precipitation.units import PIXEL_LEVELS

Method = Literal["dis", "farneback"]

FILL_PX = 15.0  # sigma of the Gaussian that fills no data from the data around
MARGIN_PX = 4  # flow this near to no data may see its edge
# Sigma of the blur before the estimate, by validation: see docs/results.md, "Baselines".
BLUR_PX: dict[Method, float] = {"dis": 3.0, "farneback": 1.0}
LEAST_SIDE_PX = 32  # smaller frames are padded: DIS refuses sides below 12


def motion_field(
    frames: Float[np.ndarray, "time height width"],
    masks: Bool[np.ndarray, "time height width"],
    method: Method = "dis",
    pairs: int = 2,
    blur_px: float | None = None,
) -> Float[np.ndarray, "2 height width"]:
    """Motion of the rain at the last frame: the mean flow of the last pairs of frames.

    The flow is estimated backwards in time, from the newer frame of a pair to the older, and
    negated: so it lies where the rain is now, and not where it was. What it sees is the pixel, a
    logarithm of the rain rate, in 8 bits and blurred, as in ROVER (Woo & Wong 2017,
    doi:10.3390/atmos8030048). No data is filled with the blurred data around it for the estimate,
    and afterwards the flow there and nearby, and where neither frame has rain, with the blurred
    flow around: rain that moves into a dry place goes on as it came.

    - ``dis``: Kroeger et al. 2016 (arXiv 1603.03590), OpenCV's fast preset.
    - ``farneback``: Farneback 2003 (doi:10.1007/3-540-45103-X_50), 5 levels of a pyramid of scale
      0.5, windows of 33 pixels, 3 iterations, neighbourhoods of 7 pixels with sigma 1.5.

    Args:
        frames: pixels in [0, 1], evenly spaced in time.
        masks: True where there is data. A frame without any is passed over, and the flow between
            those around it divided by the steps between them.
        method: of optical flow.
        pairs: of neighbouring frames with data, at most.
        blur_px: sigma of the blur of frames before the estimate, 0 for none; None: `BLUR_PX`.

    Returns:
        Pixels per step; 0 to the right (columns), 1 downwards (rows). Pairs with a dry frame do
        not count; zero where no pair is left.
    """
    sigma = BLUR_PX[method] if blur_px is None else blur_px
    present = np.flatnonzero(masks.any(axis=(1, 2)))[-pairs - 1 :]
    shape = frames.shape[1:]
    padding = [(0, max(0, LEAST_SIDE_PX - side)) for side in shape]
    flows = []
    levels = {
        frame: np.pad(_levels(frames[frame], masks[frame], sigma), padding) for frame in present
    }
    for older, newer in pairwise(present):
        pair = [older, newer]
        rain = (frames[pair] > 0) & masks[pair]
        if not rain.any(axis=(1, 2)).all():
            continue  # a dry frame says nothing of motion
        found = -_flow(levels[newer], levels[older], method)[: shape[0], : shape[1]]
        flow = _filled(found, rain.any(axis=0) & _inside(masks[older] & masks[newer]))
        flows.append(flow / (newer - older))
    if not flows:
        return np.zeros((2, *shape), np.float32)
    mean: NDArray[np.float32] = np.stack(flows).mean(axis=0, dtype=np.float32)
    return np.moveaxis(mean, 2, 0)


def newest_with_data(masks: Bool[np.ndarray, "time height width"]) -> int:
    """Index of the newest frame with data; of the last where none has."""
    present = np.flatnonzero(masks.any(axis=(1, 2)))
    return int(present[-1]) if len(present) else len(masks) - 1


def _levels(
    frame: NDArray[np.float32], mask: NDArray[np.bool_], blur_px: float
) -> UInt8[np.ndarray, "height width"]:
    import cv2

    filled = _filled(frame[..., None], mask)[..., 0]
    blurred = cv2.GaussianBlur(filled, (0, 0), blur_px) if blur_px else filled
    return np.rint(np.clip(blurred, 0, 1) * PIXEL_LEVELS).astype(np.uint8)


def _flow(
    first: NDArray[np.uint8], second: NDArray[np.uint8], method: Method
) -> Float[np.ndarray, "height width 2"]:
    import cv2

    start = np.zeros((*first.shape, 2), np.float32)
    if method == "dis":
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        return np.asarray(dis.calc(first, second, start))
    return np.asarray(
        cv2.calcOpticalFlowFarneback(first, second, start, 0.5, 5, 33, 3, 7, 1.5, 0),
    )


def _inside(mask: NDArray[np.bool_]) -> Bool[np.ndarray, "height width"]:
    import cv2

    kernel = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)
    # The frame's own edge is no edge of data: nothing beyond it is seen.
    return cv2.erode(mask.astype(np.uint8), kernel, borderValue=1).astype(bool)


def _filled(
    values: Float[np.ndarray, "height width channels"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width channels"]:
    """Values where the mask is True; elsewhere their mean around, and 0 far from any."""
    import cv2

    if mask.all():
        return values
    known = np.where(mask[..., None], values, 0).astype(np.float32)
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), FILL_PX)[..., None]
    around = cv2.GaussianBlur(known, (0, 0), FILL_PX).reshape(known.shape)
    return np.where(mask[..., None], values, around / np.maximum(weight, 1e-6)).astype(np.float32)
