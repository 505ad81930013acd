"""The report: ratios first, then goals, then all figures of each workload, as Markdown."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Figure, Outcome
from benchmarks.results import Entry, Results

BEGIN = "<!-- figures: begin. Written by `python -m benchmarks report`; changes here are lost. -->"
END = "<!-- figures: end -->"
SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")),
}


def markdown(results: Results, images: dict[str, str]) -> str:
    """The whole report; `images` are paths of plots by workload."""
    entries = list(results.entries.values())
    if not entries:
        return "Nothing was measured.\n"
    lines = [*_conditions(results), "", "### Ratios", "", *_ratios(entries)]
    goals = [goal for entry in entries for goal in entry.outcome.goals]
    if goals:
        met = sum(met for _, _, met in goals)
        lines += [
            "",
            "### Goals",
            "",
            f"{met} of {len(goals)} goals are met.",
            "",
            "| goal | measured | |",
            "|---|---|---|",
        ]
        lines += [f"| {goal} | {figure} | {'met' if met else '**missed**'} |" for goal, figure, met in goals]
    for entry in entries:
        lines += ["", *_workload(entry, entries[-1], images.get(entry.name))]
    return "\n".join(lines) + "\n"


def write(results: Results, file: Path, images: dict[str, str]) -> None:
    """Put the report between the marks of a file, which is made where it doesn't exist.

    Raises
    ------
    ValueError
        The file has no marks.
    """
    text = file.read_text() if file.exists() else f"# Figures\n\n{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file}: has no lines '{BEGIN}' and '{END}' to write the figures between: put them there")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{before}{BEGIN}\n\n{markdown(results, images)}\n{END}{after}")


def _conditions(results: Results) -> list[str]:
    last = max(results.entries.values(), key=lambda entry: entry.date)
    numbers = ", ".join(f"{name} {number}" for name, number in last.versions.items())
    lines = [f"Machine: {last.machine}.", "", f"Versions: {numbers}.", ""]
    dates = sorted(entry.date for entry in results.entries.values())
    commits = {entry.commit for entry in results.entries.values() if entry.commit}
    took = sum(entry.took_s for entry in results.entries.values())
    lines.append(
        f"Measured {dates[0]} to {dates[-1]} UTC, at {', '.join(sorted(commits)) or 'no known commit'}, in "
        f"{took / 60:.0f} minutes. Figures are medians of interleaved rounds (fastest–slowest)."
    )
    if results.unfinished:
        lines += ["", f"**Not measured yet:** {', '.join(results.unfinished)} (`python -m benchmarks run --resume`)."]
    return lines


# -- ratios --------------------------------------------------------------------------------------------------


def _ratios(entries: list[Entry]) -> list[str]:
    lines = [
        "What the others take, as multiples of what blobdir takes: below 1, they are better. Where a thing was measured",
        "at several sizes, the largest one that others were measured at too.",
        "",
        "| | blobdir | others take less | others take more |",
        "|---|---|---|---|",
    ]
    for entry in entries:
        rows = [row for group in _groups(entry.outcome).values() for row in _ratio_rows(group)]
        if rows:
            lines += [f"| **{entry.outcome.title}** | | | |", *rows]
    return lines


def _groups(outcome: Outcome) -> dict[str, list[Figure]]:
    """Figures by what is done; of those at several sizes, those of the largest that somebody else has too."""
    found: dict[str, list[Figure]] = {}
    for figure in outcome.figures:
        found.setdefault(figure.what, []).append(figure)
    for what, figures in found.items():
        if sizes := {figure.size for figure in figures if figure.size is not None and not figure.ours}:
            found[what] = [figure for figure in figures if figure.size == max(sizes)]
    return found


def _ratio_rows(figures: list[Figure]) -> list[str]:
    theirs = [figure for figure in figures if not figure.ours]
    lines = []
    for ours in figures:
        if not (ours.headline and theirs):
            continue
        ratios = sorted((times(figure, ours), figure.who) for figure in theirs)
        less = ", ".join(f"{who} **{ratio_text(ratio)}**" for ratio, who in ratios if ratio < 1)
        more = ", ".join(f"{who} {ratio_text(ratio)}" for ratio, who in ratios if ratio >= 1)
        size = f", {ours.size:,} images" if ours.size else ""
        lines.append(f"| {ours.what}{size} | {ours.who}: {amount(ours)} | {less} | {more} |")
    return lines


def times(figure: Figure, reference: Figure) -> float:
    """How many times as much a figure is."""
    return figure.median / reference.median if reference.median else float("inf")


def ratio_text(ratio: float) -> str:
    """A ratio with two or three digits that mean something."""
    return f"{ratio:,.0f} ×" if ratio >= 20 else f"{ratio:.1f} ×" if ratio >= 2 else f"{ratio:.2f} ×"


def amount(figure: Figure, *, spread: bool = False) -> str:
    """A figure with its unit, and with the fastest and slowest round."""
    scales = SCALES[figure.unit]
    scale, unit = next((pair for pair in scales if figure.median >= pair[0]), scales[-1])
    text = f"{_digits(figure.median / scale)} {unit}"
    if not spread or figure.rounds < 2:
        return text
    return f"{text} ({_digits(figure.least / scale)}–{_digits(figure.most / scale)})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# -- all figures ---------------------------------------------------------------------------------------------


def _workload(entry: Entry, last: Entry, image: str | None) -> list[str]:
    outcome = entry.outcome
    lines = [f"### {outcome.title}", "", outcome.method]
    if entry.machine != last.machine or entry.versions.get("Python") != last.versions.get("Python"):
        lines += ["", f"Measured elsewhere: {entry.machine}, Python {entry.versions.get('Python')}, {entry.date} UTC."]
    if image:
        lines += ["", f"![{outcome.title}: blobdir and its peers]({image})"]
    sized = [figure for figure in outcome.figures if figure.size is not None]
    for what in dict.fromkeys(figure.what for figure in sized):
        some = [figure for figure in sized if figure.what == what]
        sizes = sorted({figure.size for figure in some if figure.size is not None})
        lines += ["", f"{what[0].upper()}{what[1:]}:", "", *_matrix(some, [(f"{size:,}", size) for size in sizes])]
    plain = [figure for figure in outcome.figures if figure.size is None]
    if plain:
        whats = list(dict.fromkeys(figure.what for figure in plain))
        lines += ["", *_matrix(plain, [(what, what) for what in whats])]
        rounds = sorted({figure.rounds for figure in plain})
        lines += [
            "",
            f"{' to '.join(str(n) for n in (rounds[0], rounds[-1])) if len(rounds) > 1 else rounds[0]} rounds.",
        ]
    if outcome.rows:
        lines += ["", "| what | figure |", "|---|---|", *(f"| {name} | {figure} |" for name, figure in outcome.rows)]
    lines += [line for peer in outcome.missing for line in ("", f"Not measured: {peer}.")]
    return lines


def _matrix(figures: list[Figure], columns: list[tuple[str, object]]) -> list[str]:
    """One row for each who, one column for each thing or size; ratios are to blobdir's first headline in the column."""
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for who in dict.fromkeys(figure.who for figure in figures):
        cells = []
        for _, column in columns:
            found = [figure for figure in figures if column in (figure.what, figure.size)]
            reference = next((figure for figure in found if figure.headline), None)
            mine = next((figure for figure in found if figure.who == who), None)
            cells.append(_cell(mine, reference))
        lines.append(f"| {who} | " + " | ".join(cells) + " |")
    return lines


def _cell(figure: Figure | None, reference: Figure | None) -> str:
    if figure is None:
        return ""
    text = amount(figure, spread=True)
    if reference is None or figure is reference:
        return text
    ratio = times(figure, reference)
    mark = "**" if ratio < 1 and not figure.ours else ""
    return f"{mark}{ratio_text(ratio)}{mark}, {text}"
