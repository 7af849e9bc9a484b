"""Regression: one number."""

from ratchet.tasks.regression.answers import Regression

__all__ = ["Regression"]
ANSWERS = Regression
