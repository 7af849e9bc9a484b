"""What a recipe says about the predictions that callers got: what is kept of them, and when it is retrained."""

from dataclasses import dataclass
from typing import Literal

from ratchet.bounds import Count, NotNegative, Positive, Share

Kind = Literal["harm", "labels", "batch", "drift"]
"""What may start a retraining: harmful drift or a measured loss, new labels, a batch in the inbox, or any drift."""


@dataclass(frozen=True)
class Log:
    """What is kept of each prediction, beside its time, revision, outcome and the statistics of its input."""

    sample: Share = 1.0
    """The share of requests that are logged, chosen by their id; 0 logs nothing."""
    inputs: bool = False
    """Whether the input itself is kept, without which a label cannot become training data."""
    redact: tuple[str, ...] = ()
    """What is removed from an input first: columns of a table, or regular expressions for a text."""
    days: Positive = 90.0
    """The age at which a row is deleted."""


@dataclass(frozen=True)
class Watch:
    """When what serves counts as harmed, and what then happens."""

    causes: tuple[Kind, ...] = ("harm", "labels", "batch")
    """What starts a retraining by itself; empty if a person does."""
    tolerance: NotNegative = 0.02
    """How much larger than its evaluation promised a revision's loss may be, as a share of the loss's range."""
    window: Count = 1000
    """Predictions that are compared at once with what the revision was trained on."""
    layer: str = ""
    """A layer of the model whose outputs are compared as well, for inputs that are kept; empty for none."""
    season_days: NotNegative = 0.0
    """The length of a season, such as 7 or 365: inputs are compared with batches of the same part; 0 for none."""
    labels: Count = 1000
    """Labelled inputs that are enough for a retraining."""
    label_days: Positive = 30.0
    """How long a label waits for its prediction."""
    cool_down_hours: NotNegative = 6.0
    """Between the starts of two retrainings."""
    runs_a_week: Count = 7
    seconds_a_week: Positive = 86_400.0
    """Of training runs, from start to end."""
