"""The forecaster that a config's `model` section describes, with no archive at hand."""

from torch import nn

from nowcast.precipitation.forecasters.comoving.network import Comoving
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecaster
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.settings import ModelSettings
from nowcast.precipitation.units import Calibration


def forecaster(
    model: ModelSettings, out_len: int, calibration: Calibration | None = None
) -> nn.Module:
    """The forecaster, whose initial weights come from torch's global generator.

    Args:
        model: the section of the config.
        out_len: frames to forecast; the weights do not depend on it.
        calibration: Z-R relation of the frames it will see, HKO-7's if None; the comoving
            forecaster alone needs it.
    """
    if model.comoving is not None:
        return Comoving(out_len, calibration, model.comoving.widths())
    network = EncoderForecaster(
        [stage.stage() for stage in model.stages],
        out_len,
        model.activate_convolutions,
        model.cell,
        guided=model.lagrangian,
        channels_out=Lagrangian.CHANNELS if model.lagrangian else 1,
    )
    return Lagrangian(network) if model.lagrangian else network
