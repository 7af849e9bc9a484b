"""What a replay plays, and how."""

from dataclasses import dataclass, fields
from typing import Any

from ratchet.watch_plan import Kind
from replays import POLICIES, year


@dataclass(frozen=True)
class Options:
    recipe: str
    scenario: str = "none"
    records: int = 0
    """Those that the first version is trained on; 0 for the recipe's whole first batch."""
    rows: int = 20_000
    """Records that are sent, at most."""
    days: float = 7.0
    """Between two looks at what serves."""
    label_days: float = 1.0
    """In which half of the labels come back."""
    window: int = 0
    causes: tuple[Kind, ...] | None = None
    """Instead of those of the recipe's `watch`."""
    policies: tuple[str, ...] = POLICIES
    retraining_cost: float = 50.0
    """In wrong answers, or in the task's loss: what a retraining costs by the cost-aware policy."""
    tolerance: float | None = None
    recent: int = 0
    replay: int = 0
    epochs: int = 0
    """Instead of those of the recipe's `training`."""
    seed: int = 7
    budget: int = 0
    """Retrainings a week in a what-if, instead of those of the recipe's `watch`."""
    source: str = ""
    """The home whose requests a what-if plays."""

    @property
    def played(self) -> dict[str, Any]:
        """The arguments of `replays.recipe.played`."""
        own = {"records": self.records, "window": self.window, "causes": self.causes}
        training = {"recent": self.recent, "replay": self.replay, "epochs": self.epochs}
        return {**own, "tolerance": self.tolerance, **training}


def given(options: Options) -> str:
    """The options that are not the defaults, for people, such as `rows 3000, tolerance 0.1`."""
    defaults, left_out = Options(options.recipe), ("recipe", "scenario", "policies", "seed")
    chosen = {each.name: getattr(options, each.name) for each in fields(options) if each.name not in left_out}
    named = {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
    shown = {name: "+".join(value) if isinstance(value, tuple) else value for name, value in named.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def year_of(recipe: str) -> Options:
    """A year in which everything happens once, in which a month has some 300 records."""
    return Options(
        recipe,
        year.NAME,
        records=4000,
        rows=5000,
        window=300,
        causes=("harm",),
        tolerance=0.1,
        recent=1500,
        replay=1500,
        epochs=3,
        policies=("never", "always fire", "cost-aware", "loop"),
    )
