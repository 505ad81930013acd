"""``blobdir add``, ``remove``, ``move`` and ``compact``: what changes a project in place."""

from __future__ import annotations

import click

from blobdir.cli.app import on_this_machine
from blobdir.cli.output import human_bytes, write_lines


@click.command("add")
@click.argument("project", callback=on_this_machine)
@click.argument("dataset")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--annotations", metavar="FOLDER", help="Where their <image>.json lie; without, they have no objects.")
@click.option("--replace", is_flag=True, help="Replace images of the same names.")
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def add_command(
    project: str, dataset: str, files: tuple[str, ...], annotations: str | None, replace: bool, quiet: bool
) -> None:
    """Add images to DATASET of PROJECT, in a new blob.

    Old blobs aren't touched: who has the project open or mounted keeps what they see. All are added, or none.

    \b
    blobdir add /data/lemons train new/*.jpg --annotations new-ann
    """
    from blobdir.packing import add

    report = add(project, dataset, files, annotations=annotations, replace=replace)
    for problem in report.problems:
        click.echo(f"blobdir: {problem.code}: {problem.path}: {problem.message}", err=True)
    if not quiet:
        write_lines([f"{report.images:,} images added to {dataset} in {report.blobs[0]}"])


@click.command("remove")
@click.argument("project", callback=on_this_machine)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def remove_command(project: str, images: tuple[str, ...], quiet: bool) -> None:
    """Remove images and their annotations from PROJECT; name them as train/a.jpg.

    Their bytes stay in the blob until `blobdir compact`. All are removed, or none.

    \b
    blobdir remove /data/lemons train/a.jpg train/b.jpg
    """
    from blobdir.packing import remove

    report = remove(project, images)
    if not quiet:
        write_lines([f"{report.images:,} images removed; blobdir compact frees their bytes"])


@click.command("move")
@click.argument("project", callback=on_this_machine)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.argument("dataset")
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def move_command(project: str, images: tuple[str, ...], dataset: str, quiet: bool) -> None:
    """Move images with their annotations to another DATASET of PROJECT.

    Only offsets change: no image is copied. All are moved, or none. A dataset that isn't there is made.

    \b
    blobdir move /data/lemons train/a.jpg train/b.jpg test
    """
    from blobdir.packing import move

    report = move(project, images, dataset)
    if not quiet:
        write_lines([f"{report.images:,} images moved to {dataset}"])


@click.command("compact")
@click.argument("project", callback=on_this_machine)
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def compact_command(project: str, quiet: bool) -> None:
    """Write blobs of PROJECT anew without the bytes that no offsets refer to.

    Blobs that are in use to the last byte aren't touched. Who has an old one open goes on with it.

    \b
    blobdir compact /data/lemons
    """
    from blobdir.packing import compact

    report = compact(project)
    if not quiet:
        write_lines([f"{len(report.blobs):,} blobs written anew, {human_bytes(report.freed)} freed"])


@click.command("merge")
@click.argument("project", callback=on_this_machine)
@click.argument("other", callback=on_this_machine)
@click.option("--copy", is_flag=True, help="Copy the blobs; by default they become hard links.")
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def merge_command(project: str, other: str, copy: bool, quiet: bool) -> None:
    """Take all datasets of OTHER into PROJECT, with their blobs and annotations.

    Datasets of one name become one; an image that both have is an error, and nothing is changed. Classes and tags of
    both are in meta.json afterwards.

    \b
    blobdir merge /data/lemons /data/more-lemons
    """
    from blobdir.packing import merge

    report = merge(project, other, copy=copy)
    if not quiet:
        write_lines([f"{report.images:,} images in {len(report.blobs):,} blobs taken into {project}"])
