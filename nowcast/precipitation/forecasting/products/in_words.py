"""The rain of a forecast as a line of text."""

import numpy as np

from nowcast.precipitation.forecasting.products.result import Forecast


def rain_in_words(forecast: Forecast, position: int) -> str:
    """Mean and largest rain rate at one lead time, the first is 0."""
    rate = np.where(forecast.mask, forecast.rate_at(position), np.nan)
    lead = f"+{(position + 1) * forecast.description.step_minutes} min"
    if not forecast.mask.any():
        return f"{lead}: no data"
    row, column = np.unravel_index(np.nanargmax(rate), rate.shape)
    if rate[row, column] == 0:
        return f"{lead}: dry"
    return (
        f"{lead}: mean {np.nanmean(rate):.2f} mm/h, largest {rate[row, column]:.1f} mm/h in row "
        f"{row}, column {column}"
    )
