"""Asks for one forecast after another: the past is handed out, truth and scores are kept back.

Shi et al. 2017, Deep Learning for Precipitation Nowcasting, section 5: every `stride` frames (five)
the next `out_len` are to be forecast, and what has become past may be learnt from before. Clips,
masks and scores are those of the offline setting, so both settings can be compared.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nowcast.core.errors import RunError
from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.online.arrival import Arrival
from nowcast.precipitation.task import PrecipitationTask


@dataclass(frozen=True)
class Request:
    """A forecast that is asked for.

    Args:
        init_time: of the last input frame, e.g. ``2018-05-19T14:05``.
        arrived: what has become past since the last request, the input frames among it.
        frames: the input, pixels in [0, 1].
        mask: of the input, True = use.
    """

    init_time: str
    arrived: Arrival
    frames: Float[Tensor, "1 in_len 1 height width"]
    mask: Bool[Tensor, "1 in_len 1 height width"]


class Stream:
    """Hands out the past of a split step by step, and keeps the truth and the scores to itself.

    Args:
        task: whose clips of the split are forecast, and whose scores are taken.
        split: ``train``, ``valid`` or ``test``.
    """

    def __init__(self, task: PrecipitationTask, split: str) -> None:
        self._task = task
        self._clips = task.clips(split)
        self._episodes = self._clips.episode_starts()
        self._asked = 0
        self._sums: list[Sums] = []

    def __len__(self) -> int:
        """How many forecasts are expected."""
        return len(self._clips)

    def next(self) -> Request:
        """The next request; no tensor of it shares memory with frames that are yet to come.

        Raises:
            RunError: the forecast of the request before is missing, or there is no other request.
            DataError: as `Clips.batch`.
        """
        self._expect_none_due("asked for the next frames")
        if self._asked == len(self):
            raise RunError(f"expected {len(self)} requests of this stream, found one more; finish")
        arrived = self._arrival(self._asked)
        batch = self._clips.batch([Draw(self._asked)])
        request = Request(
            self._init_time(self._asked),
            arrived,
            batch.inputs,
            batch.mask[:, : batch.in_len].clone(),
        )
        self._asked += 1
        return request

    def submit(
        self, init_time: str, prediction: Float[Tensor, "batch out_len channel height width"]
    ) -> None:
        """Score a forecast in [0, 1]; each request takes one, of ``1 out_len 1 height width``.

        Raises:
            RunError: another forecast is due, or none; it has another shape.
        """
        if len(self._sums) == self._asked:
            raise RunError(
                f"init time {init_time}: found a forecast that nobody has asked for, or a second "
                "one; submit one after each request"
            )
        due = self._asked - 1
        if init_time != self._init_time(due):
            raise RunError(
                f"expected the forecast of init time {self._init_time(due)}, found that of "
                f"{init_time}; submit them in the order in which they are asked for"
            )
        batch = self._clips.batch([Draw(due)])
        if prediction.shape != batch.truth.shape:
            raise RunError(
                f"init time {init_time}: expected a forecast of {tuple(batch.truth.shape)}, found "
                f"{tuple(prediction.shape)}"
            )
        self._sums.append(self._task.score(_Submitted(prediction), batch.to(prediction.device)))

    def finish(self) -> Sums:
        """The sums over the whole split, as the offline setting has them.

        Raises:
            RunError: a forecast is missing; its init time is named.
        """
        self._expect_none_due("finished")
        if self._asked < len(self):
            raise RunError(
                f"expected {len(self)} forecasts, found {self._asked}: that of init time "
                f"{self._init_time(self._asked)} is missing; go on to the end of the stream"
            )
        total = self._sums[0]
        for sums in self._sums[1:]:
            total = total + sums
        return total

    def _expect_none_due(self, what: str) -> None:
        if len(self._sums) < self._asked:
            raise RunError(
                f"{what} while the forecast of init time {self._init_time(self._asked - 1)} is "
                "missing; submit it first"
            )

    def _arrival(self, clip: int) -> Arrival:
        """From the frame after the last init time on, or from the start of the episode's clips."""
        new = clip == 0 or self._episodes[clip] != self._episodes[clip - 1]
        # Read from a clip's start, where offline reading starts too: a missing frame repeats the
        # one before it.
        first = self._clips.starts[clip if new else clip - 1]
        seen = self._clips.between(first, self._init(clip))
        arrival = Arrival(
            torch.from_numpy(seen.levels),
            torch.from_numpy(seen.mask),
            torch.from_numpy(seen.times),
            torch.from_numpy(seen.missing),
            bool(new),
        )
        return arrival if new else arrival.newest(self._clips.stride)

    def _init(self, clip: int) -> np.datetime64:
        step = self._clips.archive.step
        return np.datetime64(self._clips.starts[clip] + step * (self._clips.settings.in_len - 1))

    def _init_time(self, clip: int) -> str:
        return str(self._init(clip))


class _Submitted(nn.Module):
    """Gives the forecast that was submitted, so that the task scores it like any model's."""

    def __init__(self, prediction: Tensor) -> None:
        super().__init__()
        self.prediction = prediction

    def forward(self, *_: Tensor) -> Tensor:
        return self.prediction
