from nowcast.api.compare import compare as compare
from nowcast.api.evaluate import evaluate as evaluate
from nowcast.api.forecast import Nowcast as Nowcast
from nowcast.api.forecast import forecast as forecast
from nowcast.api.forecasters import load as load
from nowcast.api.train import train as train
from nowcast.core.memel.layer import MEmeL as MEmeL
from nowcast.core.memel.plug import plug_in as plug_in
from nowcast.core.memel.plug import unplug as unplug
from nowcast.precipitation.forecasting.probabilities.request import (
    ProbabilityRequest as ProbabilityRequest,
)

__version__: str
