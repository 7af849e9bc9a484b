"""A replay as one picture: how wrong the answers were, what was noticed, what was released, and what it cost."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from replays.offline import Outcome
from replays.play import Period, Replay

_COLOURS = {"harmful": "#c0392b", "unknown": "#e6b422", "benign": "#27864a"}
_POLICIES = {
    "never": "#888888",
    "nightly": "#1f77b4",
    "always fire": "#9467bd",
    "cost-aware": "#8c564b",
    "loop": "#111111",
}
_RELEASED, _REJECTED = "#27864a", "#c0392b"
_TIERS = ("measured", "estimated", "changed")
_WIDTH = 46
"""Letters of a line beside the picture."""


def draw(path: Path, title: str, unit: str, replay: Replay | None, outcomes: Sequence[Outcome]) -> None:
    """Writes a PNG. `unit` names the loss."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    heights = [3.6, 1.0, 2.4] if replay else [3.2, 2.6]
    figure = Figure(figsize=(13, 9.5 if replay else 7), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the environment is
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    if replay:
        _losses(axes[0], replay, outcomes, unit)
        _noticed(axes[1], replay)
    else:
        _by_policy(axes[0], outcomes, unit)
    _added_up(axes[-1], outcomes, unit)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(axes[-1].xaxis.get_major_locator()))
    figure.savefig(path, dpi=110)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _means(wrong: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return wrong / np.maximum(answers, 1)


def _losses(axis: Any, replay: Replay, outcomes: Sequence[Outcome], unit: str) -> None:
    """The true loss of each period, what labels and certainty said of it, and each release."""
    periods = replay.periods
    ends = [_time(period.ends) for period in periods]
    if never := next((each for each in outcomes if each.policy == "never"), None):
        axis.plot([_time(at) for at in never.ends], _means(never.wrong, never.answers), color=_POLICIES["never"],
                  linestyle=":", label="without any retraining")  # fmt: skip
    axis.plot(ends, [period.wrong / max(period.answered, 1) for period in periods], color="black", marker="o", ms=3,
              label=f"{unit}, true")  # fmt: skip
    for name, colour in (("measured", "#1f77b4"), ("estimated", "#ff7f0e")):
        known = [(end, level) for end, period in zip(ends, periods, strict=True) if (level := getattr(period, name))]
        if known:
            values = [level.loss for _, level in known]
            bars = [[level.loss - level.low for _, level in known], [level.high - level.loss for _, level in known]]
            how = "by the labels that came back" if name == "measured" else "by the certainty of the answers"
            axis.errorbar([end for end, _ in known], values, yerr=bars, fmt="none" if name == "measured" else ".",
                          color=colour, alpha=0.5, capsize=2, label=f"{name} {how}")  # fmt: skip
    axis.step(ends, [period.limit for period in periods], where="mid", color="#c0392b", linewidth=1, label="limit")
    _releases(axis, periods, replay.first)
    _marks(axis, replay)
    axis.set_ylabel(unit)
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _marks(axis: Any, replay: Replay) -> None:
    """What changes, and what people do: a number at its moment, and the sentence beside the picture."""
    starts = [replay.periods[0].ends, *(period.ends for period in replay.periods[:-1])]
    acts = [(begins, period.acted) for begins, period in zip(starts, replay.periods, strict=True) if period.acted]
    marks = sorted(
        [*((at, text, "#b5651d") for at, text in replay.marks), *((at, text, "#444444") for at, text in acts)]
    )
    lines = list[str]()
    for number, (at, text, colour) in enumerate(marks, 1):
        axis.axvline(_time(at), color=colour, linewidth=1, linestyle="--")
        axis.annotate(str(number), (_time(at), 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                      color="white", fontsize=8, bbox={"boxstyle": "circle", "color": colour}, xytext=(0, 3),
                      textcoords="offset points")  # fmt: skip
        lines += textwrap.wrap(f"{number}  {text}", _WIDTH, max_lines=3, placeholder=" …", subsequent_indent="    ")
    axis.annotate("\n".join(lines), (1.01, 0.0), xycoords="axes fraction", va="bottom", fontsize=8)


def _releases(axis: Any, periods: Sequence[Period], first: str) -> None:
    """A line for each period after which another version serves, and a cross for each retraining without a release."""
    before, released, crosses = first, list[datetime](), list[datetime]()
    for period in periods:
        at = _time(period.ends)
        if period.champion != before:
            released.append(at)
            axis.axvline(at, color=_RELEASED, linewidth=1)
            axis.annotate(f"v{period.champion}", (at, 0.02), xycoords=("data", "axes fraction"), color=_RELEASED,
                          fontsize=9, xytext=(2, 0), textcoords="offset points")  # fmt: skip
        elif period.started:
            crosses.append(at)
        before = period.champion
    if released:
        axis.plot([], [], color=_RELEASED, label="another version is released")
    if crosses:
        axis.plot(crosses, [0.06] * len(crosses), "x", color=_REJECTED, transform=axis.get_xaxis_transform(),
                  label="a retraining that released nothing")  # fmt: skip


def _noticed(axis: Any, replay: Replay) -> None:
    """A row for each tier, coloured by the worst effect that was noticed in a period."""
    severity = list(_COLOURS)
    width = (replay.periods[-1].ends - replay.periods[0].ends) / max(len(replay.periods) - 1, 1) / 86400
    for period in replay.periods:
        for row, tier in enumerate(_TIERS):
            effects = {seen.effect for seen in period.findings if seen.tier == tier}
            worst = min(effects, key=severity.index, default=None)
            colour = _COLOURS[worst] if worst else "#eeeeee"
            axis.barh(
                len(_TIERS) - 1 - row, width * 0.92, left=_time(period.ends - width * 86400), height=0.8, color=colour
            )
    axis.set_yticks(range(len(_TIERS)), reversed(_TIERS))
    axis.set_ylabel("noticed")
    for effect, colour in (*_COLOURS.items(), ("nothing", "#eeeeee")):
        axis.bar(_time(replay.periods[0].ends), 0, color=colour, label=effect)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _by_policy(axis: Any, outcomes: Sequence[Outcome], unit: str) -> None:
    for each in outcomes:
        axis.plot([_time(at) for at in each.ends], _means(each.wrong, each.answers), color=_POLICIES.get(each.policy),
                  label=each.policy, linewidth=1)  # fmt: skip
    axis.set_ylabel(unit)
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _added_up(axis: Any, outcomes: Sequence[Outcome], unit: str) -> None:
    """For each policy the sum of the losses so far, with its total and its training time in the legend."""
    for each in sorted(outcomes, key=lambda outcome: -float(outcome.wrong.sum())):
        total, count = float(each.wrong.sum()), len(each.retrainings)
        label = f"{each.policy}: {total:,.0f}; {count} trainings, {each.seconds:,.0f} s"
        axis.plot([_time(at) for at in each.ends], np.cumsum(each.wrong), color=_POLICIES.get(each.policy), label=label,
                  linewidth=2 if each.policy == "loop" else 1)  # fmt: skip
    axis.set_ylabel(f"{unit},\nadded up, by policy")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
