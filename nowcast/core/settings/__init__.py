"""What a config may say, for the parts that all tasks share: types, ranges and defaults."""

from nowcast.core.settings.comparison import CompareSettings, VariantSettings
from nowcast.core.settings.run import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.settings.search import (
    PAPERS_VALUES,
    Choice,
    Choices,
    RangeSettings,
    Searched,
    TuneSettings,
)
from nowcast.core.settings.section import Count, Place, Positive, Precision, Section

__all__ = [
    "PAPERS_VALUES",
    "Choice",
    "Choices",
    "CompareSettings",
    "Count",
    "MEmeLSettings",
    "OptimSettings",
    "Place",
    "Positive",
    "Precision",
    "RangeSettings",
    "RunSettings",
    "Searched",
    "Section",
    "TrainSettings",
    "TuneSettings",
    "VariantSettings",
]
