"""What the modules of a kind hold, besides its contract. They load only where they are used.

`sources` reads what people have; `records` keeps it in the lake and says what a batch must be; `network` is the
beginning of a network; `evaluation` perturbs and slices; `endpoint` is BentoML's own API; `show` is for people;
`scaffold` outlines a recipe. Of these `endpoint` alone travels in a bento, with the contract.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.endpoints import PREDICT

Perturbation = Callable[[np.ndarray], np.ndarray]
"""Inputs [N, ...] with something done to them."""
Property = Callable[[np.ndarray], np.ndarray]
"""A number for each input [N, ...]; its lowest, middle and highest third are slices."""


@dataclass(frozen=True)
class Start:
    """The beginning of a network, in Keras's tensors."""

    entry: Any
    """The input, as `Contract.features` makes it."""
    hidden: Any
    """What the family continues with: [N, height, width, channels] or [N, steps, size]."""
    forecast: Callable[[Any, int], Any] | None = None
    """The output [N, width] from the family's features [N, any]; None if it is probabilities."""


def curl_json(input: np.ndarray, body: Path, base: str) -> str:
    """The command that sends the JSON in the file `body`."""
    return f"curl -H 'content-type: application/json' -d @{body} {base}{PREDICT}"
