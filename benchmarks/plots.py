"""Plots of the figures, one file a workload: bars where things are compared, lines where a project grows."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Outcome
from benchmarks.report import amount
from benchmarks.results import Results

OURS, FLOOR, THEIRS = "#1f6feb", "#b8bec6", "#8c959f"
LINES = ("#d1242f", "#9a6700", "#1a7f37", "#8250df", "#57606a", "#bf3989")


def draw(results: Results, folder: Path) -> dict[str, str]:
    """Draw all workloads that have something to compare; gives file names by workload.

    Needs matplotlib.
    """
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    settings = {
        "svg.hashsalt": "blobdir",  # the same figures give the same file
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "figure.facecolor": "white",
    }
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    with matplotlib.rc_context(settings):
        for name, entry in results.entries.items():
            figure = _plot(entry.outcome)
            if figure is not None:
                file = folder / f"figures-{name.replace(' ', '-')}.svg"
                figure.savefig(file, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
                _tidy(file)
                drawn[name] = file.name
    return drawn


def _tidy(file: Path) -> None:
    """No white space at the ends of lines: checks of style don't like it in a repository."""
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def _plot(outcome: Outcome) -> Any:
    groups: dict[str, list[Figure]] = {}
    for figure in outcome.figures:
        groups.setdefault(figure.what, []).append(figure)
    groups = {what: figures for what, figures in groups.items() if len({f.who for f in figures}) > 1}
    if not groups:
        return None
    columns = min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    sized = any(figure.size is not None for figure in outcome.figures)
    bars = max(len(figures) for figures in groups.values())
    height = 2.6 if sized else 0.5 + 0.2 * bars
    pyplot = importlib.import_module("matplotlib.figure")
    canvas = pyplot.Figure(figsize=(max(6.0, 4.2 * columns), height * rows + 0.3), layout="constrained")
    canvas.suptitle(f"{outcome.title} (less is better)", x=0.01, ha="left", fontsize=10)
    axes = canvas.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    colours: dict[str, str] = {}
    for axis, (what, figures) in zip(axes.flat, groups.items(), strict=False):
        axis.set_title(
            what if len(what) < 48 else what[: what.rfind(",", 0, 48)] + ",\n" + what[what.rfind(",", 0, 48) + 2 :]
        )
        if figures[0].size is None:
            _bars(axis, figures)
        else:
            _lines(axis, figures, colours)
    return canvas


def _bars(axis: Any, figures: list[Figure]) -> None:
    ordered = sorted(figures, key=lambda figure: figure.median, reverse=True)
    medians = [figure.median for figure in ordered]
    errors = [[f.median - f.least for f in ordered], [f.most - f.median for f in ordered]]
    colours = [OURS if figure.ours else FLOOR if figure.who.startswith("os.") else THEIRS for figure in ordered]
    axis.barh([figure.who for figure in ordered], medians, xerr=errors, color=colours, error_kw={"elinewidth": 0.8})
    wide = max(medians) / min(medians) > 12
    if wide:
        axis.set_xscale("log")
        axis.set_xlim(min(medians) / 2, max(figure.most for figure in ordered) * 8)
    else:
        axis.set_xlim(0, max(figure.most for figure in ordered) * 1.35)
    for i, figure in enumerate(ordered):
        axis.annotate(
            amount(figure), (figure.most, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7
        )
    axis.xaxis.set_major_formatter(lambda value, _: _tick(value, ordered[0].unit))
    axis.xaxis.set_minor_formatter(lambda *_: "")


def _lines(axis: Any, figures: list[Figure], colours: dict[str, str]) -> None:
    for who in dict.fromkeys(figure.who for figure in figures):
        some = sorted((f for f in figures if f.who == who and f.median > 0), key=lambda figure: figure.size or 0)
        if not some:
            continue
        free = [colour for colour in LINES if colour not in colours.values()] or list(LINES)
        colour = OURS if some[0].headline and OURS not in _drawn(axis) else colours.setdefault(who, free[0])
        axis.plot([f.size for f in some], [f.median for f in some], "o-", ms=3, lw=1.4, color=colour, label=who)
        axis.fill_between(
            [f.size for f in some], [f.least for f in some], [f.most for f in some], color=colour, alpha=0.15, lw=0
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("images")
    axis.yaxis.set_major_formatter(lambda value, _: _tick(value, figures[0].unit))
    axis.yaxis.set_minor_formatter(lambda *_: "")
    axis.legend(fontsize=6.5, frameon=False)


def _drawn(axis: Any) -> set[str]:
    return {line.get_color() for line in axis.get_lines()}


def _tick(value: float, unit: str) -> str:
    return (
        "0" if value == 0 else amount(Figure("", "", value, value, value, unit)).replace(".00", "").replace(".0 ", " ")
    )
