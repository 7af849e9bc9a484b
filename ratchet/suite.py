"""What a recipe asks of a batch."""

from dataclasses import dataclass

from ratchet.bounds import Index, Positive, Share


@dataclass(frozen=True)
class Suite:
    """What a batch must satisfy to be admitted."""

    min_rows: Index = 100
    min_class_share: Share = 0.02
    """Minimum share of the batch for every class that it has."""
    missing_classes: Index = 0
    """Classes that a batch may lack, as a small batch of many classes does."""
    max_duplicates: Share = 0.01
    """Maximum share of records whose input is already in the batch or in an admitted one."""
    max_age_days: Positive = 365.0
    max_gaps: Share = 0.01
    """Maximum share of a series' values that do not follow one step after the value before."""
