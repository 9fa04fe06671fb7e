"""How a trained network goes on learning between forecasts: as the HKO-7 benchmark has it.

Published settings (github.com/sxjscience/HKO-7, experiments/hko/hko_main.py, nowcasting/config.py
and encoder_forecaster.py; Shi et al. 2017, section 5):

- A buffer holds the newest ``in_len + out_len`` frames (5 + 20, as five arrivals of five). Once
  full it is one clip of which all is past, and before every forecast there is one AdaGrad step on
  it, with the training loss and all hidden states from zero.
- That step comes before the new frames are taken in, so it is on the frames of the forecast
  before: the newest five are input at once and truth only one forecast later.
- A new episode empties the buffer, after that step. Weights and AdaGrad's sums stay.
- Rate 1e-4 (its README's command; the configuration file of ConvGRU says 1e-3), epsilon 1e-8
  under the root, no weight decay, gradients clipped to norm 50. It clips encoder and forecaster
  apart, here they are one network. Its least B-MSE for a step is 0: a clip without error gives no
  gradient here either.
"""

from copy import deepcopy

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.memel.modes import in_mode
from nowcast.core.training.sampling import draws
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.online.arrival import Arrival
from nowcast.precipitation.settings import OnlineSettings
from nowcast.precipitation.task import PrecipitationTask

WINDOW_STREAM = 3  # of `core.sampling.draws`; training takes 0 to 2


class OnlineLearner(nn.Module):
    """A copy of a network that learns as frames become past; implements `arrival.Observer`.

    It learns on what the run was trained on: windows of `data.random_crop` where there is one,
    drawn anew for each step, else whole frames, padded with masked pixels to a multiple of the
    model's strides. MEmeL layers in the network are in training mode in a step, as in training.

    Args:
        model: is copied and stays as it is.
        task: whose loss is lowered, and whose data settings say what a clip is.
        settings: `updates` at least 1.
        seed: windows are a function of it.
    """

    def __init__(
        self, model: nn.Module, task: PrecipitationTask, settings: OnlineSettings, seed: int
    ) -> None:
        super().__init__()
        self.network = deepcopy(model)
        self.task = task
        self.settings = settings
        self.seed = seed
        self.optimiser = torch.optim.Adagrad(
            [parameter for parameter in self.network.parameters() if parameter.requires_grad],
            lr=settings.lr,
            eps=settings.eps,
        )
        self.past: Arrival | None = None
        """The newest frames, at most a clip of them."""
        self.steps = 0

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """What the network forecasts, as it is now."""
        prediction: Tensor = self.network(frames, mask)
        return prediction

    def observe(self, arrived: Arrival) -> None:
        """Learn from the buffer, if it is full, and then take in what has arrived.

        Raises:
            RunError: the loss is not finite.
            ConfigError: MEmeL's statistics are of frames of another size.
        """
        data = self.task.settings.data
        length = data.in_len + data.out_len
        past = self.past
        if past is not None and len(past) == length:
            batch = RadarBatch(
                past.levels[None],
                past.mask[None],
                past.times[None],
                past.missing[None],
                data.in_len,
            )
            for _ in range(self.settings.updates):
                self._step(batch)
        joined = arrived if past is None or arrived.new_episode else past.followed_by(arrived)
        self.past = joined.newest(length)

    def _step(self, batch: RadarBatch) -> None:
        """One AdaGrad step on one clip."""
        clip = self._window(batch).to(next(self.network.parameters()).device)
        with in_mode(self.network, training=True):
            self._update(batch, clip)
        self.steps += 1

    def _update(self, batch: RadarBatch, clip: RadarBatch) -> None:
        try:
            loss = self.task.loss(self.network, clip)
        except ValueError as error:
            raise ConfigError(
                f"--online: cannot learn on {clip.levels.shape[3]}x{clip.levels.shape[4]} pixels: "
                f"{error}. Set data.random_crop to the size the run was trained on, memel=null to "
                "learn without MEmeL, or online.updates=0 to learn nothing"
            ) from error
        if not torch.isfinite(loss):
            raise RunError(
                f"--online: the loss is {loss.item()} on the frames up to the init time "
                f"{batch.names()[0]} and those after it; lower online.lr or online.clip_norm"
            )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        self.optimiser.step()

    def _window(self, batch: RadarBatch) -> RadarBatch:
        """What a step learns on of a clip of whole frames."""
        levels, mask = batch.levels, batch.mask
        size = self.task.settings.data.random_crop
        if size is not None:
            room = [have - want + 1 for have, want in zip(levels.shape[3:], size, strict=True)]
            ((row, column),) = draws(self.seed, self.steps, 1, room, WINDOW_STREAM).tolist()
            part = (..., slice(row, row + size[0]), slice(column, column + size[1]))
            levels, mask = levels[part], mask[part]
        multiple = self.task.settings.model.multiple
        short = (0, -levels.shape[4] % multiple, 0, -levels.shape[3] % multiple)
        if any(short):
            levels, mask = functional.pad(levels, short), functional.pad(mask, short)
        return RadarBatch(levels, mask, batch.times, batch.missing, batch.in_len)
