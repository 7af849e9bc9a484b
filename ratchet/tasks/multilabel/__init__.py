"""Multi-label classification: any number of some labels."""

from ratchet.tasks.multilabel.answers import MultiLabel

__all__ = ["MultiLabel"]
ANSWERS = MultiLabel
