"""A replay as one picture: how wrong the answers were, what served, what was noticed, and what each policy cost."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.types import Level
from replays import OWN, STACK
from replays.offline import Outcome
from replays.play import EFFECTS, Replay
from replays.whatif import rows

_COLOURS = dict(zip(EFFECTS, ("#c0392b", "#e6b422", "#7fb58c"), strict=True))
_NOTHING = "#eeeeee"
_TIERS = {
    "measured": "by labels that came back",
    "estimated": "by certainty of answers",
    "changed": "inputs or answers differ",
}
_POLICIES = {
    "never": ("never retrain", "#999999"),
    "nightly": ("retrain every night", "#1f77b4"),
    "always fire": ("retrain at every look", "#9467bd"),
    "cost-aware": ("retrain where it is expected to pay", "#8c564b"),
    "loop": ("Ratchet's policy, offline", "#2c7a7b"),
    OWN: ("Ratchet's policy as the recipe has it", "#e67e22"),
    STACK: ("Ratchet on the real stack", "#111111"),
}
"""What each is called, and its colour."""
_LIMIT, _DATA, _PERSON = "#c0392b", "#00796b", "#444444"
_SIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "fontsize": 8, "frameon": False}
_WIDTH = 46
"""Letters of a line beside the picture."""


def draw(path: Path, title: str, counts: bool, replay: Replay | None, outcomes: Sequence[Outcome]) -> None:
    """Writes a PNG. `counts` says whether a loss is 1 for a wrong answer and 0 for any other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    heights = {"loss": 4.0, "served": 0.6, "noticed": 1.1} if replay else {"loss": 4.0}
    figure = Figure(figsize=(13, 10 if replay else 7), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the environment is
    layout = [*([row, row] for row in heights), ["wrong", "seconds"]]
    axes: dict[str, Any] = figure.subplot_mosaic(layout, height_ratios=[*heights.values(), 0.8 + 0.3 * len(outcomes)])
    figure.suptitle(f"{title}\n{_worth(replay, outcomes, counts)}".strip(), fontsize=13, fontweight="bold")
    for row in heights:
        axes[row].xaxis.set_major_formatter(ConciseDateFormatter(axes[row].xaxis.get_major_locator()))
        if row != "loss":
            axes[row].sharex(axes["loss"])
        if row != list(heights)[-1]:
            axes[row].tick_params(labelbottom=False)
    if replay:
        _losses(axes["loss"], replay, outcomes)
        _served(axes["served"], replay)
        _noticed(axes["noticed"], replay)
    else:
        _by_policy(axes["loss"], outcomes)
    axes["loss"].set_ylabel("wrong answers, share" if counts else "mean loss")
    bars = _bars(replay, outcomes)
    _draw_bars(axes["wrong"], [bar.wrong for bar in bars], [f"{bar.wrong:,.0f}" for bar in bars],
               color=[bar.colour for bar in bars])  # fmt: skip
    _draw_bars(axes["seconds"], [bar.seconds for bar in bars], [bar.text for bar in bars],
               color=[bar.colour for bar in bars], hatch=[bar.hatch for bar in bars], edgecolor="white")  # fmt: skip
    axes["wrong"].set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes["wrong"].set_title("wrong answers in all this time" if counts else "loss in all this time", fontsize=10)
    axes["seconds"].set_title("CPU seconds of training; hatched: seconds of whole runs", fontsize=10)
    figure.savefig(path, dpi=110)


def _worth(replay: Replay | None, outcomes: Sequence[Outcome], counts: bool) -> str:
    """What retraining was worth, in a line."""
    totals = {each.policy: (float(each.wrong.sum()), int(each.answers.sum())) for each in outcomes}
    if replay:
        own, where = (replay.wrong, replay.answered), "on the real stack"
    elif "loop" in totals:
        own, where = totals["loop"], "by Ratchet's policy"
    else:
        return ""

    def said(total: tuple[float, int]) -> str:
        return f"{total[0]:,.0f} of {total[1]:,} answers wrong" if counts else f"mean loss {total[0] / total[1]:.4g}"

    without = f"; offline, without any retraining, {said(totals['never'])}" if "never" in totals else ""
    return f"{said(own)} {where}{without}"


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _steps(axis: Any, ends: Sequence[float], values: Sequence[float], begins: float, **style: Any) -> None:
    """A level for each period, over its whole time."""
    axis.step([_time(begins), *map(_time, ends)], [values[0], *values], where="pre", **style)


def _losses(axis: Any, replay: Replay, outcomes: Sequence[Outcome]) -> None:
    """The true loss of each period, and what labels and certainty said of it."""
    periods, begins = replay.periods, replay.periods[0].begins
    ends, true = [period.ends for period in periods], [period.loss for period in periods]
    limits = [np.nan if period.limit is None else period.limit for period in periods]
    highest = max(true)
    if never := next((each for each in outcomes if each.policy == "never"), None):
        means = list(never.wrong / np.maximum(never.answers, 1))
        _steps(axis, list(never.ends), means, begins, color="#777777", ls=":", label="without any retraining (offline)")
        highest = max(highest, *means)
    _steps(axis, ends, true, begins, color=_POLICIES[STACK][1], lw=2, label="the real stack, by the true labels")
    _steps(axis, ends, limits, begins, color=_LIMIT, lw=1, label="limit: as promised by its evaluation, plus tolerance")
    top = 1.2 * np.nanmax([highest, *limits]) or 1.0
    for name, colour, place in (("measured", "#1f77b4", 0.42), ("estimated", "#ff7f0e", 0.58)):
        levels = [(period.begins + place * (period.ends - period.begins), level) for period in periods
                  if (level := getattr(period, name))]  # fmt: skip
        _intervals(axis, levels, top, color=colour, label=f"{name} {_TIERS[name]}, 95 %")
    _marks(axis, replay)
    axis.set_ylim(0, top)
    axis.set_xlim(_time(begins), _time(ends[-1]))
    axis.legend(**_SIDE)


def _intervals(axis: Any, levels: list[tuple[float, Level]], top: float, **style: Any) -> None:
    """Levels with their intervals; one above the picture is an arrow with its figure."""
    within = [(at, level) for at, level in levels if level.loss <= top]
    values = [level.loss for _, level in within]
    errors = [[level.loss - level.low for _, level in within], [level.high - level.loss for _, level in within]]
    if within:
        axis.errorbar([_time(at) for at, _ in within], values, yerr=errors, fmt=".", capsize=2, **style)
    for at, level in levels:
        if level.loss > top:
            text = f"{style['label'].partition(' ')[0]}: {level.loss:.2f}"
            arrow = {"arrowstyle": "->", "color": style["color"]}
            axis.annotate(text, (_time(at), top), xytext=(_time(at), 0.9 * top), ha="center", color=style["color"],
                          arrowprops=arrow)  # fmt: skip


def _marks(axis: Any, replay: Replay) -> None:
    """What changes, and what people do: a number at its moment, and the sentence beside the picture."""
    acts = [(period.begins, f"{period.acted.what}: {_short(period.acted.outcome)}", _PERSON)
            for period in replay.periods if period.acted]  # fmt: skip
    marks = sorted([*((at, f"data, {text}", _DATA) for at, text in replay.marks), *acts])
    lines = list[str]()
    for number, (at, text, colour) in enumerate(marks, 1):
        axis.axvline(_time(at), color=colour, linewidth=1, linestyle="--")
        axis.annotate(str(number), (_time(at), 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                      color="white", fontsize=8, bbox={"boxstyle": "circle", "color": colour}, xytext=(0, 3),
                      textcoords="offset points")  # fmt: skip
        lines += textwrap.wrap(f"{number}  {text}", _WIDTH, subsequent_indent="    ")
    axis.annotate("\n".join(lines), (1.01, 0.0), xycoords="axes fraction", va="bottom", fontsize=8)


def _short(sentence: str) -> str:
    """Its beginning, without figures."""
    return sentence.partition(":")[0]


def _served(axis: Any, replay: Replay) -> None:
    """The version of each period, and a mark for each retraining at the end of its period."""
    for number, (version, stretch) in enumerate(groupby(replay.periods, key=lambda period: period.served)):
        periods = list(stretch)
        begins, ends = periods[0].begins, periods[-1].ends
        axis.axvspan(_time(begins), _time(ends), color="#cfd8dc" if number % 2 else "#90a4ae", lw=0)
        axis.text(_time((begins + ends) / 2), 0.5, f"v{version}", ha="center", va="center", fontsize=9)
    for released, marker, colour in ((True, "^", "#1e6b34"), (False, "X", _LIMIT)):
        at = [
            _time(period.ends - number * (period.ends - period.begins) / 6)
            for period in replay.periods
            for number, run in enumerate(period.started)
            if run.released == released
        ]
        if at:
            label = f"automatic retraining: {'released' if released else 'not released'}"
            axis.plot(at, [0.5] * len(at), marker, color=colour, ms=8, ls="", label=label, clip_on=False)  # fmt: skip
    axis.set_ylim(0, 1)
    axis.set_yticks([0.5], ["serves"])
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**_SIDE)


def _noticed(axis: Any, replay: Replay) -> None:
    """A row for each tier, coloured by the worst effect that was noticed in a period."""
    for period in replay.periods:
        for row, tier in enumerate(_TIERS):
            effects = {seen.effect for seen in period.findings if seen.tier == tier}
            if not effects and tier != "changed" and getattr(period, tier) is None:
                continue
            colour = next((_COLOURS[effect] for effect in EFFECTS if effect in effects), _NOTHING)
            days = (period.ends - period.begins) / 86400
            axis.barh(-row, 0.94 * days, left=_time(period.begins), height=0.8, color=colour)
    names = [f"{tier}:\n{how}" for tier, how in _TIERS.items()]
    axis.set_yticks([-row for row in range(len(_TIERS))], names, fontsize=7)
    shown = {seen.effect for period in replay.periods for seen in period.findings}
    for what, colour in (*_COLOURS.items(), ("nothing", _NOTHING)):
        if what in shown or what == "nothing":
            axis.barh(0, 0, color=colour, label=f"noticed: {what}")
    axis.barh(0, 0, color="white", edgecolor="#999999", label="no figure: too few records, or switched off")
    axis.legend(**_SIDE)


def _by_policy(axis: Any, outcomes: Sequence[Outcome]) -> None:
    for each in outcomes:
        name, colour = _POLICIES[each.policy]
        first = float(each.ends[0] - min(np.diff(each.ends), default=86400.0))
        _steps(axis, list(each.ends), list(each.wrong / np.maximum(each.answers, 1)), first, color=colour, label=name)
    axis.set_ylim(bottom=0)
    if outcomes:
        axis.legend(**_SIDE)


@dataclass(frozen=True)
class _Bar:
    name: str
    wrong: float
    seconds: float
    text: str
    colour: str
    hatch: str = ""


def _bars(replay: Replay | None, outcomes: Sequence[Outcome]) -> list[_Bar]:
    """One for the real stack and for each policy, the best last, which is above."""
    bars = []
    for row in rows(replay, outcomes):
        name, colour = _POLICIES[row.name]
        text = _cost(row.seconds, row.retrainings, row.released)
        bars.append(_Bar(name, row.wrong, row.seconds, text, colour, "//" if row.name == STACK else ""))
    return sorted(bars, key=lambda bar: -bar.wrong)


def _cost(seconds: float, count: int, released: int) -> str:
    return f"{seconds:,.0f} s: {count} retraining{'' if count == 1 else 's'}, {released} released"


def _draw_bars(axis: Any, values: Sequence[float], texts: Sequence[str], **style: Any) -> None:
    """Each value as long as it is, with its text beside it."""
    shapes = axis.barh(range(len(values)), values, height=0.7, **style)
    axis.bar_label(shapes, texts, padding=3, fontsize=8)
    axis.set_yticks([])
    room = 1.15 if max(map(len, texts), default=0) < 12 else 2.2
    axis.set_xlim(0, room * max([*values, 1e-9]))
