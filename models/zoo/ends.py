"""The output of a network, which its task makes."""

from typing import Any

import keras

from ratchet.answers import Answers
from ratchet.kinds.parts import Start
from ratchet.tasks import parts


def model(start: Start, x: Any, answers: Answers, name: str) -> keras.Model:
    """The whole network, from its beginning and its features `x` [N, any]: outputs [N, width]."""
    return keras.Model(start.entry, parts.training(answers.task).end(answers, start, x), name=name)
