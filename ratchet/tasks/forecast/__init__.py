"""Forecast: the next values of a series."""

from ratchet.tasks.forecast.answers import Forecast

__all__ = ["Forecast"]
ANSWERS = Forecast
