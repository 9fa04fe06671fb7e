"""A forecaster by its name: weights that ship, a run's folder, Hugging Face, or a baseline."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from nowcast import hub, registry
from nowcast.api.settings import settings_of
from nowcast.core.errors import ConfigError
from nowcast.core.settings import RunSettings
from nowcast.core.storage.labels import labels
from nowcast.core.storage.runs import Run
from nowcast.core.training.trainer import trained_model
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.baselines import BASELINES, Setting, baseline
from nowcast.precipitation.forecasters.scale import Scale
from nowcast.precipitation.forecasting.forecast import Choice
from nowcast.precipitation.forecasting.released.weights import SINGLE, located, meant, shipped
from nowcast.precipitation.forecasting.trained import trained_forecaster
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B, Calibration

if TYPE_CHECKING:
    from nowcast.api.forecast import Nowcast

HKO7 = Description("HKO-7", "Hong Kong Observatory", 6, 480, 480, HKO7_ZR_A, HKO7_ZR_B)


@dataclass(frozen=True)
class LoadedForecaster:
    """A forecaster with its settings and weights; made by `load`.

    Args:
        name: what it was asked for by; of a run's folder the folder's name.
        source: the name or path it was asked for by.
        settings: of the run; of a baseline the defaults.
        run: the folder of its weights; None for a baseline.
    """

    name: str
    source: str
    settings: RunSettings
    run: Run | None

    @cached_property
    def module(self) -> nn.Module:
        """The network with its best weights, on the CPU, in evaluation mode; MEmeL is in it only
        where it acts in evaluation.

        A precipitation forecaster maps frames ``batch in_len 1 height width`` (pixels in [0, 1])
        and a mask of the same shape (True = data) to ``batch out_len 1 height width``, with the
        lead times that it was trained for and HKO-7's Z-R relation; see `model` for others. Models
        of other tasks need their data set (``data.root``) to be built.

        Raises:
            RunError: the weights cannot be loaded.
        """
        if isinstance(self.settings, PrecipitationSettings):
            return self.model(self.settings.data.out_len)
        assert self.run is not None
        return trained_model(registry.build(self.settings), self.settings, self.run).eval()

    def model(
        self, out_len: int, calibration: Calibration | None = None, scale: Scale | None = None
    ) -> nn.Module:
        """As `module`, for other lead times or another radar.

        Args:
            out_len: frames to forecast.
            calibration: Z-R relation of the frames; None: HKO-7's.
            scale: their step and pixels; None: not known.

        Raises:
            ConfigError: it does not forecast radar.
            RunError: the weights cannot be loaded.
        """
        settings = self.radar_settings
        if self.run is None:
            radar = calibration or Calibration()
            description = replace(HKO7, zr_a=radar.zr_a, zr_b=radar.zr_b)
            return baseline(self.name, Setting(out_len, description)).eval()
        return trained_forecaster(self.run, settings, out_len, calibration, scale)

    @property
    def radar_settings(self) -> PrecipitationSettings:
        """Its settings; raises ConfigError unless it forecasts radar."""
        if not isinstance(self.settings, PrecipitationSettings):
            raise ConfigError(
                f"weights: expected a run that forecasts radar, found {self.source}, a run of "
                f"the task {self.settings.task}; choose another"
            )
        return self.settings

    @property
    def choice(self) -> Choice:
        """As the forecasting modules take it; raises as `radar_settings`."""
        return Choice(self.name, self.radar_settings, self.run)

    def forecast(self, frames: Any, times: Any = None, **options: Any) -> "Nowcast":
        """Forecast with it; see `Nowcast.of` for the arguments and errors."""
        from nowcast.api.forecast import Nowcast

        return Nowcast.of(frames, self, times=times, **options)

    def push(self, name: str, *, private: bool = False, licence: str | None = None) -> str:
        """Upload best weights, config and model card to Hugging Face; see `nowcast.hub.push`.

        The config is uploaded with the paths that it has on this machine.

        Args:
            name: ``hf://OWNER/NAME``, with ``@REVISION`` for a branch that is there.
            private: make a new repository private.
            licence: of the weights, for the card, e.g. ``bsd-3-clause``.

        Returns:
            the address of the upload.

        Raises:
            ConfigError: a baseline, huggingface_hub is not installed, or the upload is refused.
        """
        if self.run is None:
            raise ConfigError(
                f"push: expected a trained forecaster, found the baseline {self.name}"
            )
        return hub.push(self.run, name, private=private, licence=licence)


def run_of(name: str) -> Run:
    """The run of a name: at Hugging Face, among the weights that ship, or a folder.

    Raises:
        ConfigError: there is none, or it has no weights.
    """
    return hub.fetched(name) if hub.is_at_hub(name) else located(name)


def load(name: str | Path | Run | LoadedForecaster = SINGLE) -> LoadedForecaster:
    """A forecaster, ready to use.

    Args:
        name: of weights that come with nowcast (``comoving-memel``); the folder of a run;
            ``hf://OWNER/NAME[@REVISION]`` at Hugging Face; or a baseline of precipitation
            (``persistence``, ``flow``, ...).

    Raises:
        ConfigError: there is no such forecaster; near names are offered.
    """
    if isinstance(name, LoadedForecaster):
        return name
    name = str(name.folder if isinstance(name, Run) else name)
    if not hub.is_at_hub(name) and name not in shipped():
        if name.partition(":")[0] in BASELINES and not Path(name).is_dir():
            return LoadedForecaster(name, name, PrecipitationSettings(), None)
        if not Run(Path(name)).best_weights.is_file():
            raise ConfigError(
                f"weights: expected weights that come with nowcast ({', '.join(shipped())}), the "
                "folder of a run that has been validated, hf://OWNER/NAME, or a baseline "
                f"({', '.join(BASELINES)}); found {name!r}{meant(name, BASELINES)}"
            )
    run = run_of(name)
    # Another machine than the one that trained it may have no GPU.
    settings = settings_of(run.config(), name, {"train.device": "auto"}, evaluating=True)
    is_folder = not hub.is_at_hub(name) and name not in shipped()
    label = next(iter(labels([(None, str(run.folder))]))) if is_folder else name
    return LoadedForecaster(label, name, settings, run)
