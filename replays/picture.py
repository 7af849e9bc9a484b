"""A replay as one picture: how wrong the answers were, what served, what was noticed, and what each policy cost."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.types import Level
from replays.offline import Outcome
from replays.play import Period, Replay

_EFFECTS = {"harmful": "#c0392b", "unknown": "#e6b422", "benign": "#7fb58c"}
"""The worst first."""
_NOTHING = "#eeeeee"
_TIERS = {
    "measured": "by labels that came back",
    "estimated": "by certainty of answers",
    "changed": "inputs or answers differ",
}
_POLICIES = {
    "never": "#999999",
    "nightly": "#1f77b4",
    "always fire": "#9467bd",
    "cost-aware": "#8c564b",
    "loop": "#2c7a7b",
}
_NAMES = {
    "never": "never retrain",
    "nightly": "retrain every night",
    "always fire": "retrain at every look",
    "cost-aware": "retrain where it is expected to pay",
    "loop": "Ratchet's policy, offline",
}
_STACK, _LIMIT, _DATA, _PERSON = "#111111", "#c0392b", "#00796b", "#444444"
_SIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "fontsize": 8, "frameon": False}
_WIDTH = 46
"""Letters of a line beside the picture."""


def draw(path: Path, title: str, unit: str, replay: Replay | None, outcomes: Sequence[Outcome]) -> None:
    """Writes a PNG. `unit` names what is counted: wrong answers, or a loss."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    rows = {"loss": 4.0, "served": 0.6, "noticed": 1.1} if replay else {"loss": 4.0}
    figure = Figure(figsize=(13, 10 if replay else 7), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the environment is
    layout = [*([row, row] for row in rows), ["wrong", "seconds"]]
    axes: dict[str, Any] = figure.subplot_mosaic(
        layout, height_ratios=[*rows.values(), 0.5 + 0.3 * (len(outcomes) + 1)]
    )
    figure.suptitle(f"{title}\n{_worth(replay, outcomes, unit)}".strip(), fontsize=13, fontweight="bold")
    for row in rows:
        axes[row].xaxis.set_major_formatter(ConciseDateFormatter(axes[row].xaxis.get_major_locator()))
        if row != "loss":
            axes[row].sharex(axes["loss"])
        if row != list(rows)[-1]:
            axes[row].tick_params(labelbottom=False)
    if replay:
        _losses(axes["loss"], replay, outcomes, unit)
        _served(axes["served"], replay)
        _noticed(axes["noticed"], replay)
    else:
        _by_policy(axes["loss"], outcomes, unit)
    _totals(axes["wrong"], axes["seconds"], replay, outcomes, unit)
    figure.savefig(path, dpi=110)


def _worth(replay: Replay | None, outcomes: Sequence[Outcome], unit: str) -> str:
    """What retraining was worth, in a line."""
    never = next((float(each.wrong.sum()) for each in outcomes if each.policy == "never"), None)
    loop = next((float(each.wrong.sum()) for each in outcomes if each.policy == "loop"), None)
    own = sum(period.wrong for period in replay.periods) if replay else loop
    if never is None or own is None:
        return ""
    answers = int(outcomes[0].answers.sum())
    return f"{own:,.0f} {unit} among {answers:,}, and {never:,.0f} without any retraining"


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _spans(ends: Sequence[float]) -> list[tuple[float, float]]:
    """The beginning and the end of each period; the first is as long as the shortest."""
    first = ends[0] - min(np.diff(ends), default=86400.0)
    return list(zip([first, *ends[:-1]], ends, strict=True))


def _steps(axis: Any, ends: Sequence[float], values: Sequence[float], **style: Any) -> None:
    """A level for each period, over its whole time."""
    spans = _spans(ends)
    edges = [_time(spans[0][0]), *(_time(end) for end in ends)]
    axis.step(edges, [values[0], *values], where="pre", **style)


def _losses(axis: Any, replay: Replay, outcomes: Sequence[Outcome], unit: str) -> None:
    """The true loss of each period, and what labels and certainty said of it."""
    periods = replay.periods
    ends, spans = [period.ends for period in periods], _spans([period.ends for period in periods])
    true, limits = [period.wrong / max(period.answered, 1) for period in periods], [period.limit for period in periods]
    highest = max(*true, *limits)
    if never := next((each for each in outcomes if each.policy == "never"), None):
        means = never.wrong / np.maximum(never.answers, 1)
        _steps(axis, list(never.ends), list(means), color="#777777", ls=":", label="without any retraining (offline)")
        highest = max(highest, *means)
    _steps(axis, ends, true, color=_STACK, lw=2, label="the real stack, by the true labels")
    _steps(axis, ends, limits, color=_LIMIT, lw=1, label="limit: as promised by its evaluation, plus tolerance")
    top = 1.2 * highest
    for name, colour, place in (("measured", "#1f77b4", 0.42), ("estimated", "#ff7f0e", 0.58)):
        levels = [(begins + place * (end - begins), level) for (begins, end), period in zip(spans, periods, strict=True)
                  if (level := getattr(period, name))]  # fmt: skip
        _intervals(axis, levels, top, color=colour, label=f"{name} {_TIERS[name]}, 95 %")
    _marks(axis, replay, spans)
    axis.set_ylabel(f"{unit} per answer")
    axis.set_ylim(0, top)
    axis.set_xlim(_time(spans[0][0]), _time(ends[-1]))
    axis.legend(**_SIDE)


def _intervals(axis: Any, levels: list[tuple[float, Level]], top: float, **style: Any) -> None:
    """Levels with their intervals; one above the picture is an arrow with its figure."""
    within = [(at, level) for at, level in levels if level.loss <= top]
    values = [level.loss for _, level in within]
    bars = [[level.loss - level.low for _, level in within], [level.high - level.loss for _, level in within]]
    if within:
        axis.errorbar([_time(at) for at, _ in within], values, yerr=bars, fmt=".", capsize=2, **style)
    for at, level in levels:
        if level.loss > top:
            text = f"{style['label'].partition(' ')[0]}: {level.loss:.2f}"
            arrow = {"arrowstyle": "->", "color": style["color"]}
            axis.annotate(text, (_time(at), top), xytext=(_time(at), 0.9 * top), ha="center", color=style["color"],
                          arrowprops=arrow)  # fmt: skip


def _marks(axis: Any, replay: Replay, spans: list[tuple[float, float]]) -> None:
    """What changes, and what people do: a number at its moment, and the sentence beside the picture."""
    acts = [(begins, period.acted) for (begins, _), period in zip(spans, replay.periods, strict=True) if period.acted]
    marks = sorted([*((at, text, _DATA) for at, text in replay.marks), *((at, text, _PERSON) for at, text in acts)])
    lines = list[str]()
    for number, (at, text, colour) in enumerate(marks, 1):
        axis.axvline(_time(at), color=colour, linewidth=1, linestyle="--")
        axis.annotate(str(number), (_time(at), 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                      color="white", fontsize=8, bbox={"boxstyle": "circle", "color": colour}, xytext=(0, 3),
                      textcoords="offset points")  # fmt: skip
        short = ": ".join(text.split(": ")[:2])
        what = f"{number}  {'data, ' if colour == _DATA else ''}{short}"
        lines += textwrap.wrap(what, _WIDTH, max_lines=3, placeholder=" …", subsequent_indent="    ")
    axis.annotate("\n".join(lines), (1.01, 0.0), xycoords="axes fraction", va="bottom", fontsize=8)


def _served(axis: Any, replay: Replay) -> None:
    """The version of each period, and a mark at the end of each in which a retraining ended."""
    spans = _spans([period.ends for period in replay.periods])
    stretches = groupby(zip(spans, replay.periods, strict=True), key=lambda each: each[1].served)
    for number, (version, stretch) in enumerate(stretches):
        both = [span for span, _ in stretch]
        begins, ends = both[0][0], both[-1][1]
        axis.axvspan(_time(begins), _time(ends), color="#cfd8dc" if number % 2 else "#90a4ae", lw=0)
        axis.text(_time((begins + ends) / 2), 0.5, f"v{version}", ha="center", va="center", fontsize=9)
    for ended, marker, colour in (("released", "^", "#1e6b34"), ("not released", "X", _LIMIT)):
        own = [period for period in replay.periods if period.started and _released(period) == (ended == "released")]
        if own:
            axis.plot([_time(period.ends) for period in own], [0.5] * len(own), marker, color=colour, ms=8, ls="",
                      label=f"automatic retraining: {ended}", clip_on=False)  # fmt: skip
    axis.set_ylim(0, 1)
    axis.set_yticks([0.5], ["serves"])
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**_SIDE)


def _released(period: Period) -> bool:
    return any(run.endswith("released") for run in period.started)


def _noticed(axis: Any, replay: Replay) -> None:
    """A row for each tier, coloured by the worst effect that was noticed in a period."""
    for (begins, end), period in zip(_spans([p.ends for p in replay.periods]), replay.periods, strict=True):
        for row, tier in enumerate(_TIERS):
            effects = {seen.effect for seen in period.findings if seen.tier == tier}
            colour = next((colour for effect, colour in _EFFECTS.items() if effect in effects), _NOTHING)
            if colour == _NOTHING and tier != "changed" and getattr(period, tier) is None:
                continue  # there is no figure
            axis.barh(-row, (end - begins) / 86400 * 0.94, left=_time(begins), height=0.8, color=colour, align="center")
    names = [f"{tier}:\n{how}" for tier, how in _TIERS.items()]
    axis.set_yticks([-row for row in range(len(_TIERS))], names, fontsize=7)
    shown = {seen.effect for period in replay.periods for seen in period.findings}
    for what, colour in (*_EFFECTS.items(), ("nothing", _NOTHING)):
        if what in shown or what == "nothing":
            axis.barh(0, 0, color=colour, label=f"noticed: {what}")
    axis.barh(0, 0, color="white", edgecolor="#999999", label="no figure: too few labels, or switched off")
    axis.legend(**_SIDE)


def _by_policy(axis: Any, outcomes: Sequence[Outcome], unit: str) -> None:
    for each in outcomes:
        means = each.wrong / np.maximum(each.answers, 1)
        _steps(axis, list(each.ends), list(means), color=_POLICIES.get(each.policy), label=each.policy)
    axis.set_ylabel(f"{unit} per answer")
    axis.set_ylim(bottom=0)
    axis.legend(**_SIDE)


def _totals(wrong: Any, seconds: Any, replay: Replay | None, outcomes: Sequence[Outcome], unit: str) -> None:
    """For each policy, and for the real stack, all wrong answers and all compute."""
    bars = [("Ratchet on the real stack", *_of_stack(replay), _STACK)] if replay else []
    bars += [(_NAMES[each.policy], float(each.wrong.sum()), each.seconds, _trainings(each), _POLICIES[each.policy])
             for each in outcomes]  # fmt: skip
    bars.sort(key=lambda bar: -bar[1])
    names = [name for name, *_ in bars]
    for axis, values, texts in (
        (wrong, [bar[1] for bar in bars], [f"{bar[1]:,.0f}" for bar in bars]),
        (seconds, [bar[2] for bar in bars], [f"{bar[2]:,.0f} s: {bar[3]}" for bar in bars]),
    ):
        hatches = ["//" if axis is seconds and bar[4] == _STACK else "" for bar in bars]
        colours = [bar[4] for bar in bars]
        shapes = axis.barh(range(len(bars)), values, color=colours, height=0.7, hatch=hatches, edgecolor="white")
        axis.set_yticks(range(len(bars)), names)
        axis.bar_label(shapes, texts, padding=3, fontsize=8)
        axis.set_xlim(0, 1.15 * max(*values, 1e-9))
    seconds.set_yticks([])
    seconds.set_xlim(0, 2.2 * max(*(bar[2] for bar in bars), 1e-9))
    wrong.set_title(f"{unit} in all this time", fontsize=10)
    seconds.set_title("seconds of training; hatched: of whole runs", fontsize=10)


def _trainings(outcome: Outcome) -> str:
    released = sum(each.released for each in outcome.retrainings)
    return f"{len(outcome.retrainings)} retrainings, {released} released"


def _of_stack(replay: Replay) -> tuple[float, float, str]:
    """Its wrong answers, its seconds, and its retrainings in words."""
    runs = [run for period in replay.periods for run in period.started]
    released = sum(run.endswith("released") for run in runs)
    wrong, seconds = (sum(getattr(period, name) for period in replay.periods) for name in ("wrong", "compute"))
    return wrong, seconds, f"{len(runs)} retrainings, {released} released"
