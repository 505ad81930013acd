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


FORMATS = ["coco", "yolo", "voc", "webdataset", "lmdb", "parquet"]


class _Format(click.Choice[str]):
    """One of the formats; of what another command writes, that is said."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take one of them."""
        if value == "folder":
            self.fail("images and annotations as plain files are what unpack writes: blobdir unpack PROJECT DEST")
        return super().convert(value, param, ctx)


@click.command("convert")
@click.argument("project")
@click.argument("dest")
@click.option("--to", required=True, type=_Format(FORMATS), help="The format.")
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
@click.option(
    "--shard-size",
    default=None,
    metavar="SIZE",
    help="Of WebDataset and Parquet: most bytes of a file. Default: 1GiB, of Parquet 500MiB.",
)
@click.option(
    "--shard-images",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Of WebDataset and Parquet: most images of a file.",
)
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
    shard_size: str | None,
    shard_images: int,
    datasets: tuple[str, ...],
    strict: bool,
    as_json: bool,
    common: CommonOptions,
) -> int:
    """Write PROJECT, its images and labels, to the new folder DEST in a format of others.

    Of labels, COCO has boxes, outlines, masks and keypoints; YOLO one of boxes, outlines, keypoints, or each in its
    line; Pascal VOC boxes only. WebDataset, LMDB and Parquet have images and annotations as they are, byte for byte:
    tars in which an image's annotation follows it; keys such as train/a.jpg and train/a.jpg.json; rows with image,
    annotation and dataset, which Hugging Face's datasets decodes. DEST appears when it's whole. What the format has no
    place for is named; exit status 7 says that something is missing.

    \b
    blobdir convert /data/lemons lemons-coco --to coco
    blobdir convert /data/lemons lemons-yolo --to yolo --task segment --val test
    blobdir convert /mnt/lemons lemons-voc --to voc --images link
    blobdir convert /data/lemons lemons-shards --to webdataset --shard-size 256M
    """
    from blobdir.converting import ConvertOptions, convert
    from blobdir.packing.report import parse_size
    from blobdir.project import open_project

    options = ConvertOptions(
        to,  # type: ignore[arg-type]  # click has checked these
        images,  # type: ignore[arg-type]
        style,  # type: ignore[arg-type]
        task or "",  # type: ignore[arg-type]
        val,
        datasets,
        strict=strict,
        shard_bytes=parse_size(shard_size) if shard_size else 0,
        shard_images=shard_images,
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
    if not quiet and not report.style:
        images, annotations = counted(report.images, "image"), counted(report.annotations, "annotation")
        write_lines([f"{dest}: {images}, {annotations} ({to}), {counted(report.files, 'file')}"])
    elif not quiet:
        images, objects = counted(report.images, "image"), counted(report.objects, "object")
        if report.losses:
            objects += f" but for {counted(report.losses, 'loss', 'losses')}, as said above"
        how = "as the SDK writes them" if report.style == "sdk" else "as they are in the project"
        write_lines([f"{dest}: {images}, {objects} ({to}, {how}), {counted(report.files, 'file')}"])
