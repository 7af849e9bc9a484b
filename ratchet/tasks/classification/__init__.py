"""Classification: one of some classes."""

from ratchet.tasks.classification.answers import Classification

__all__ = ["Classification"]
ANSWERS = Classification
