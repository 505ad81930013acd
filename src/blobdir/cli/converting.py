"""``blobdir convert``: a project in the formats of others."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from blobdir.cli.options import project_options
from blobdir.cli.output import INCOMPLETE, Bars, name_by_code, write_json, write_lines
from blobdir.cli.target import Whole
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.cli.options import CommonOptions
    from blobdir.converting import ConvertReport


@click.command("convert")
@click.argument("project")
@click.argument("dest")
@click.option("--to", required=True, type=click.Choice(["coco", "yolo", "voc"]), help="The format.")
@click.option(
    "--images",
    type=click.Choice(["copy", "link", "none"]),
    default="copy",
    show_default=True,
    help="Whether images come along. Links lead to plain files of PROJECT, which a mount has.",
)
@click.option(
    "--style",
    type=click.Choice(["auto", "sdk", "exact"]),
    default="auto",
    show_default=True,
    help="Names, numbers and splits as the SDK writes them, or as PROJECT has them. auto: exact, if it was packed with "
    "--labels.",
)
@click.option(
    "--task",
    type=click.Choice(["detect", "segment", "pose"]),
    default=None,
    help="Of YOLO: boxes, outlines or keypoints. Default: boxes as the SDK; exactly, what each object is, "
    "but boxes for outlines where any object has keypoints.",
)
@click.option("--val", multiple=True, metavar="NAME", help="Of YOLO: a dataset for validation; repeatable.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this dataset; repeatable.")
@click.option("--strict", is_flag=True, help="Stop at the first thing that the format has no place for.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@project_options
def convert_command(
    project: str,
    dest: str,
    to: str,
    images: str,
    style: str,
    task: str | None,
    val: tuple[str, ...],
    datasets: tuple[str, ...],
    strict: bool,
    as_json: bool,
    common: CommonOptions,
) -> int:
    """Write the labels of PROJECT, and its images, to the new folder DEST in a format of others.

    COCO has boxes, outlines, masks and keypoints; YOLO one of boxes, outlines, keypoints, or each in its line; Pascal
    VOC boxes only. DEST appears when it's whole. What the format has no place for is named; exit status 7 says that
    something is missing.

    \b
    blobdir convert /data/lemons lemons-coco --to coco
    blobdir convert /data/lemons lemons-yolo --to yolo --task segment --val test
    blobdir convert /mnt/lemons lemons-voc --to voc --images link
    """
    from blobdir.converting import ConvertOptions, convert
    from blobdir.project import open_project

    options = ConvertOptions(
        to,  # type: ignore[arg-type]  # click has checked these
        images,  # type: ignore[arg-type]
        style,  # type: ignore[arg-type]
        task or "",  # type: ignore[arg-type]
        val,
        datasets,
        strict=strict,
    )
    with Whole(common) as whole:
        whole.begin(project)
        opened = open_project(project, storage_options=common.storage, **common.filesystem, **common.remote)
        with Bars(common.quiet or as_json) as bars:
            report = convert(project, dest, options, tree=opened.tree, check=whole.check, progress=bars)
    if as_json:
        write_json(asdict(report))
    else:
        _say(report, dest, to, quiet=common.quiet)
    return 0 if report.complete else INCOMPLETE


def _say(report: ConvertReport, dest: str, to: str, *, quiet: bool) -> None:
    name_by_code(sorted(report.problems, key=lambda problem: not problem.is_count), " (--json lists all)")
    if not quiet:
        images, objects = counted(report.images, "image"), counted(report.objects, "object")
        if report.losses:
            objects += f" but for {counted(report.losses, 'loss', 'losses')}, as said above"
        how = "as the SDK writes them" if report.style == "sdk" else "as they are in the project"
        write_lines([f"{dest}: {images}, {objects} ({to}, {how}), {counted(report.files, 'file')}"])
