"""A report in one picture: images by dataset, their sizes and shapes, objects, classes, areas, tags, formats.

What there is no room for is counted in the picture, below the chart that it's left out of, and handed to the caller.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from PIL import Image

from blobdir.datasets import read_meta
from blobdir.drawing.palette import Looks
from blobdir.drawing.panels import BODY, FAINT, INK, PAPER, Bar, Bars, Bubbles, Columns, Table, columns_for
from blobdir.drawing.stats import AREAS_PER_DECADE, AREAS_SMALLEST, Stats
from blobdir.drawing.text import typesetter
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.project import Project

_WIDTH, _EDGE, _GAP = 900, 16, 22
_DATASETS, _CLASSES, _TAGS, _FORMATS, _SIZES = 30, 240, 40, 20, 400
_TABLE = 40, 8
"""Most bars, points, and rows and columns."""
_RATIOS = ("1:3", "1:2", "2:3", "1:1", "3:2", "2:1", "3:1")
_STEP = 2 ** (1 / 6)
_FURTHEST = 15
"""Aspect ratios are counted in so many steps of a sixth of an octave to each side."""


def draw_stats(project: Project, stats: Stats, *, notes: list[str] | None = None) -> Image.Image:
    """Draw counts of a project as charts.

    Parameters
    ----------
    project : Project
        Its classes have the colours of its ``meta.json``.
    stats : Stats
        Areas of objects are drawn where they were measured.
    notes : list of str, optional
        Gets what isn't shown, in words.
    """
    rows = [row for row in _panels(project, stats) if row]
    for panel in (panel for row in rows for panel in row):
        if notes is not None:
            notes += [f"{panel.title}: {note}" for note in panel.notes]
    inner = _WIDTH - 2 * _EDGE
    heights = [max(panel.height(_part(inner, len(row))) for panel in row) for row in rows]
    picture = Image.new("RGB", (_WIDTH, 70 + sum(height + _GAP for height in heights) + _EDGE), PAPER)
    _title(picture, project, stats)
    y = 70
    for row, height in zip(rows, heights, strict=True):
        wide = _part(inner, len(row))
        for number, panel in enumerate(row):
            panel.draw(picture, _EDGE + number * (wide + _GAP), y, wide)
        y += height + _GAP
    return picture


def _part(width: int, count: int) -> int:
    return (width - _GAP * (count - 1)) // count


def _title(picture: Image.Image, project: Project, stats: Stats) -> None:
    name = project.url.rstrip("/").rpartition("/")[2] or project.url
    letters, small = typesetter(22), typesetter(BODY)
    wide = _WIDTH - 2 * _EDGE
    letters.draw(picture, _EDGE, 10, letters.fitting([name], wide)[name], INK)
    images = sum(one.images for one in stats.datasets.values())
    objects = sum(one.objects for one in stats.datasets.values())
    text = (
        f"{counted(len(stats.datasets), 'dataset')}, {counted(images, 'image')}, {counted(objects, 'object')} of "
        f"{counted(len(stats.total('classes')), 'class', 'classes')}"
    )
    if missing := sum(problem.costs for problem in stats.problems):
        text += f"; {counted(missing, 'problem')}: not all is counted"
    small.draw(picture, _EDGE, 42, small.fitting([text], wide)[text], FAINT)


def _panels(project: Project, stats: Stats) -> Iterable[list[_Titled]]:
    looks = Looks(read_meta(project.tree)[0])
    yield _bars("Images by dataset", "image", {name: one.images for name, one in stats.datasets.items()}, _DATASETS)
    yield [*_sizes(stats), *_ratios(stats)]
    yield [*_objects(stats), *_areas(stats)]
    classes = stats.total("classes")
    yield _bars("Objects by class", "object", classes, _CLASSES, looks)
    if len(stats.datasets) > 1 and classes:
        yield [_table(stats, classes)]
    yield _bars("Tags", "tag", stats.total("tags"), _TAGS, what="tag")
    yield _bars("Formats", "image", stats.total("formats"), _FORMATS, what="format")


_Titled = Bars | Columns | Bubbles | Table


def _bars(
    title: str, unit: str, counts: Counter[str] | dict[str, int], most: int, looks: Looks | None = None, what: str = ""
) -> list[_Titled]:
    if not counts:
        return []
    ordered = Counter(counts).most_common()
    if not looks and not what and len(ordered) <= most:
        ordered = [*counts.items()]  # datasets, in the order of the project
    if len(ordered) > most + 1:
        shown, others = ordered[:most], ordered[most:]
    else:
        shown, others = ordered, []
    bars = [Bar(name, count, looks[name].color) if looks else Bar(name, count) for name, count in shown]
    most = 1 if len(bars) <= 30 else 2 if len(bars) <= 100 else 3
    columns = columns_for([bar.name for bar in bars], _WIDTH - 2 * _EDGE, most)
    notes = []
    if others:
        kind = what or ("class" if looks else "dataset")
        total = sum(count for _, count in others)
        low, high = others[-1][1], others[0][1]
        each = f"{low:,} each" if low == high else f"{low:,} to {high:,} each"
        kinds = counted(len(ordered), kind, "classes" if kind == "class" else "")
        notes.append(f"{len(shown):,} of {kinds} are shown; the others have {counted(total, unit)}, {each}")
    return [Bars(title, bars, columns, notes)]


def _unsized(stats: Stats) -> list[str]:
    missing = sum(one.unsized for one in stats.datasets.values())
    return [f"without {counted(missing, 'image')}: no annotation has the size"] if missing else []


def _known_sizes(stats: Stats) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for text, count in stats.total("sizes").items():
        width, _, height = text.partition("x")
        found[int(width), int(height)] += count
    return found


def _sizes(stats: Stats) -> list[_Titled]:
    sizes = _known_sizes(stats)
    if not sizes:
        return []
    shown = sizes.most_common(_SIZES)
    notes = _unsized(stats)
    if len(sizes) > len(shown):
        rest = sizes.total() - sum(count for _, count in shown)
        notes.append(
            f"{len(shown):,} of {len(sizes):,} sizes are shown; {counted(rest, 'image has', 'images have')} others"
        )
    (width, height), _ = shown[0]
    points = [(float(width), float(height), count) for (width, height), count in shown]
    title = f"Image sizes (most often {width:,} x {height:,})" if len(sizes) > 1 else "Image sizes"
    return [Bubbles(title, points, ("width, pixels", "height, pixels"), notes)]


def _ratios(stats: Stats) -> list[_Titled]:
    sizes = _known_sizes(stats)
    if not sizes:
        return []
    counts = [0] * (2 * _FURTHEST + 1)
    beyond = 0
    for (width, height), count in sizes.items():
        step = round(math.log(width / height, _STEP))
        beyond += count if abs(step) > _FURTHEST else 0
        counts[min(max(step, -_FURTHEST), _FURTHEST) + _FURTHEST] += count
    labels = [""] * len(counts)
    for text in _RATIOS:
        width, height = map(int, text.split(":"))
        labels[round(math.log(width / height, _STEP)) + _FURTHEST] = text
    notes = _unsized(stats)
    if beyond:
        notes.append(f"{counted(beyond, 'image')} beyond 1:5.6 or 5.6:1: counted in the outermost columns")
    return [Columns("Aspect ratios", counts, labels, "width : height", notes=notes)]


def _objects(stats: Stats) -> list[_Titled]:
    found: Counter[int] = Counter()
    for one in stats.datasets.values():
        found.update(one.objects_per_image)
    if not found:
        return []
    most = max(found)
    step = 1
    while most // step >= 30:
        step = step * 2 if str(step)[0] in "15" else step * 5 // 2
    counts = [0] * (most // step + 1)
    for number, count in found.items():
        counts[number // step] += count
    labels = [f"{i * step:,}" if step == 1 else f"{i * step:,}–{(i + 1) * step - 1:,}" for i in range(len(counts))]
    missing = sum(one.images - one.annotated for one in stats.datasets.values())
    have = counted(missing, "image that has", "images that have")
    notes = [f"without {have} no annotation that can be used"] if missing else []
    return [Columns("Objects per image", counts, labels, "objects", notes=notes)]


def _areas(stats: Stats) -> list[_Titled]:
    found: Counter[int] = Counter()
    for one in stats.datasets.values():
        found.update(one.areas)
    if not found:
        return []
    last = -AREAS_SMALLEST * AREAS_PER_DECADE
    counts = [found.get(number, 0) for number in range(last)]
    labels = [""] * last
    for decade in range(-AREAS_SMALLEST):
        labels[decade * AREAS_PER_DECADE] = f"{100 * 10.0 ** (AREAS_SMALLEST + decade):g}%"
    without = sum(one.objects for one in stats.datasets.values()) - found.total()
    have = counted(without, "object that has", "objects that have")
    notes = [f"without {have} no area, or none that can be known"] if without else []
    return [Columns("Areas of objects", counts, labels, "part of the image", at_edges=True, notes=notes)]


def _table(stats: Stats, classes: Counter[str]) -> _Titled:
    rows = [name for name, _ in classes.most_common(_TABLE[0])]
    objects = Counter({name: one.objects for name, one in stats.datasets.items()})
    largest = {name for name, _ in objects.most_common(_TABLE[1])}
    columns = [name for name in stats.datasets if name in largest]
    counts = [[stats.datasets[column].classes.get(row, 0) for column in columns] for row in rows]
    notes = []
    if len(rows) < len(classes):
        notes.append(f"{len(rows):,} of {len(classes):,} classes are shown")
    if len(columns) < len(stats.datasets):
        notes.append(f"{len(columns):,} of {len(stats.datasets):,} datasets are shown")
    return Table("Classes by dataset", rows, columns, counts, notes)
