"""``blobdir preview`` and ``stats``: looking at a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blobdir.cli.options import ADDRESS_HELP, max_pixels_option, project_options
from blobdir.cli.output import Bars, human_bytes, name_problems, say, write_json, write_lines
from blobdir.cli.target import Whole
from blobdir.wording import one_line

if TYPE_CHECKING:
    from blobdir.cli.options import CommonOptions
    from blobdir.drawing import Stats
    from blobdir.packing import Problem
    from blobdir.project import Project

SHOWN = 10
_NAME = 200
"""Characters of a name in a table."""


@click.command("preview", epilog=ADDRESS_HELP)
@click.argument("project")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="sheet.png, .jpg, .webp, .tiff, .pdf (with pages), or .html, a page that needs no server; -: PNG to standard "
    "output.",
)
@click.option("--filter", "pattern", default="*", metavar="PATTERN", help="Images such as 'train/0*'.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only of this dataset; repeatable.")
@click.option(
    "-n", "--count", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Images at the most."
)
@click.option(
    "--sample", type=click.IntRange(1, 100_000), metavar="N", help="So many at random, not at even distances."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which ones of those.")
@click.option("--columns", type=click.IntRange(1, 100), default=8, show_default=True, help="Images in a row.")
@click.option(
    "--tile",
    type=click.IntRange(32, 4096),
    metavar="PIXELS",
    help="Longer side of an image; 256, or large where one is drawn.",
)
@click.option("--large", is_flag=True, help="Each image by itself, 640 to 2048 pixels: one, or all in .pdf and .html.")
@click.option("--no-names", is_flag=True, help="Don't write the names of classes beside objects.")
@max_pixels_option
@click.option("--strict", is_flag=True, help="Write nothing if something can't be used.")
@project_options
def preview_command(
    project: str,
    output: str,
    pattern: str,
    datasets: tuple[str, ...],
    count: int,
    sample: int | None,
    seed: int,
    columns: int,
    tile: int | None,
    large: bool,
    no_names: bool,
    strict: bool,
    common: CommonOptions,
) -> int:
    """Draw a contact sheet: images of PROJECT with their annotations over them.

    Images are taken at even distances; where one matches, it's drawn large. Objects have the colours of their classes,
    graphs the edges of theirs. Names are written in fonts of this machine: DejaVu Sans or Noto Sans, Noto Sans CJK,
    WenQuanYi Micro Hei or Droid Sans Fallback, Noto Color Emoji, GNU Unifont, or any other that has the letters. A
    letter that none has is written as its number, U+4E2D.

    What can't be drawn is named; exit status 7 says that images are crossed out, that objects are missing, that classes
    have no colours, since meta.json can't be used, or that datasets may be missing, since a folder can't be listed.

    \b
    blobdir preview /data/lemons -o sheet.png
    blobdir preview /data/lemons -o sheet.png --filter 'train/*' --count 100 --columns 10
    blobdir preview /data/lemons -o page.html --dataset train --sample 200 --seed 7
    blobdir preview /data/lemons -o one.png --filter train/0001.jpg
    """
    from blobdir.drawing import Choice, PreviewOptions, picture_format, write_preview
    from blobdir.packing.putting import refuse_known

    refuse_known([output] if output != "-" else [])
    picture_format(output, html=True)
    options = PreviewOptions(
        Choice(pattern, datasets, count, sample or 0, seed), columns, tile or 0, large, not no_names, strict
    )
    problems: list[Problem] = []
    with Whole(common, listing=False) as whole, Bars(common.quiet, unit="image") as bars:
        whole.begin(project)
        opened = _open(project, common)
        done = write_preview(opened, output, options, problems=problems, check=whole.check, progress=bars)
    if not common.quiet:
        say(output, done)
    return name_problems(
        problems,
        "their objects aren't drawn",
        image="it's crossed out"
        if sum(problem.code == "image" for problem in problems) == 1
        else "they're crossed out",
        unseen="images of datasets there aren't drawn",
        undrawn="objects are missing",
        meta="classes have no colours",
    )


@click.command("stats", epilog=ADDRESS_HELP)
@click.argument("project")
@click.option("--json", "as_json", is_flag=True, help="All counts as JSON.")
@click.option("--plot", metavar="FILE", help="Also draw them as charts: stats.png, .jpg, .webp, .tiff, .pdf.")
@click.option("--strict", is_flag=True, help="Stop at the first thing that can't be used.")
@project_options
def stats_command(project: str, as_json: bool, plot: str | None, strict: bool, common: CommonOptions) -> int:
    """Count what PROJECT holds: images, sizes, formats, classes, tags, for each dataset.

    Images, annotations and a meta.json that can't be used are named, and folders that can't be listed, in which
    datasets may be; exit status 7 says that what is in them isn't counted.

    \b
    blobdir stats /data/lemons
    blobdir stats /data/lemons --plot stats.png
    """
    from blobdir.drawing import collect_stats, draw_stats, encoded, picture_format, refuse_own, write_bytes
    from blobdir.packing.putting import refuse_known

    if plot:
        refuse_known([plot])
    kind = picture_format(plot, stdout=False) if plot else ""
    with Whole(common) as whole:
        whole.begin(project)
        opened = _open(project, common)
        if plot:
            refuse_own(opened, plot)
        stats = collect_stats(opened, strict=strict, areas=bool(plot))
        whole.check("nothing was counted; try again")
    if plot:
        notes: list[str] = []
        write_bytes(plot, encoded([draw_stats(opened, stats, notes=notes)], kind))
        for note in () if common.quiet else notes:
            say(plot, note)
    if as_json:
        write_json(stats.to_json())
    else:
        write_lines(_table(stats))
    return name_problems(
        stats.problems,
        "their objects and tags aren't counted",
        image="they and their annotations aren't counted",
        unseen="datasets there aren't counted",
        meta="classes aren't known, nor their colours",
    )


def _open(project: str, common: CommonOptions) -> Project:
    from blobdir.datasets import refuse_tars
    from blobdir.project import open_project

    found = open_project(project, storage_options=common.storage, **common.filesystem, **common.remote)
    refuse_tars(found.tree)
    return found


def _table(stats: Stats) -> list[str]:
    lines = [f"{'dataset':<24} {'images':>9} {'bytes':>7} {'median':>7} {'largest':>7} {'annotated':>9} {'objects':>9}"]
    for name, one in stats.datasets.items():
        sizes = " ".join(f"{human_bytes(size):>7}" for size in (one.image_bytes, one.median, one.largest))
        lines.append(f"{one_line(name, _NAME):<24} {one.images:>9,} {sizes} {one.annotated:>9,} {one.objects:>9,}")
    for title in ("formats", "classes", "tags"):
        counts = stats.total(title).most_common()
        if counts:
            lines += ["", title, *(f"  {one_line(name, _NAME):<30} {count:>9,}" for name, count in counts[:SHOWN])]
            lines += [f"  and {len(counts) - SHOWN} more (--json lists all)"] if len(counts) > SHOWN else []
    return lines
