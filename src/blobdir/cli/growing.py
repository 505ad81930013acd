"""``blobdir add``, ``remove``, ``move``, ``compact`` and ``merge``: what changes a project in place."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from blobdir.cli.options import on_this_machine
from blobdir.cli.output import INCOMPLETE, Bars, complain, human_bytes, name_by_code, write_json, write_lines
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.packing import ChangeReport

SHOWN = 20
"""Paths that a dry run lists; it counts the rest."""


def _dry_run(command: Any) -> Any:
    return click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")(command)


def _say_problems(report: ChangeReport) -> None:
    for problem in report.problems:
        complain(problem.code, problem.path, problem.message)


def _listed(verb: str, paths: list[str]) -> list[str]:
    lines = [f"would be {verb}: {path}" for path in paths[:SHOWN]]
    return [*lines, f"and {len(paths) - SHOWN:,} more would be {verb}"] if len(paths) > SHOWN else lines


@click.command("add")
@click.argument("project", callback=on_this_machine)
@click.argument("dataset")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--annotations", metavar="FOLDER", help="Where a.jpg.json, or else a.json, is that of a.jpg.")
@click.option("--replace", is_flag=True, help="Replace images of the same names, all copies of each.")
@_dry_run
@click.option("-q", "--quiet", is_flag=True, help="No report.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def add_command(
    project: str,
    dataset: str,
    files: tuple[str, ...],
    annotations: str | None,
    replace: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Add images to DATASET of PROJECT, in a new blob.

    Old blobs aren't touched: who has the project open or mounted keeps what they see. All are added, or none. An image
    that is replaced keeps its annotation, unless FOLDER has a new one; one that is the same already is left as it is.
    Images without an annotation in FOLDER are named, and annotations there that are none of these images'; exit status
    7 says that there are both, so that some may not have found their images.

    \b
    blobdir add /data/lemons train new/*.jpg --annotations new-ann
    blobdir add /data/lemons train better/*.jpg --replace --dry-run
    """
    from blobdir.packing import add

    report = add(project, dataset, files, annotations=annotations, replace=replace, dry_run=dry_run)
    status = 0 if report.complete else INCOMPLETE
    if as_json:
        write_json(asdict(report))
        return status
    name_by_code(report.problems, " (--json lists all)")
    same = f"; {counted(len(report.unchanged), 'image')} there already, unchanged" if report.unchanged else ""
    images = counted(report.images, "image")
    if dry_run:
        write_lines([*_listed("replaced", report.replaced), f"{images} would be added to {dataset}{same}"])
    elif not quiet:
        where = f" in {report.blobs[0]}" if report.blobs else ""
        write_lines([f"{images} added to {dataset}{where}{same}"])
    return status


@click.command("remove")
@click.argument("project", callback=on_this_machine)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@_dry_run
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def remove_command(project: str, images: tuple[str, ...], dry_run: bool, quiet: bool) -> None:
    """Remove images from PROJECT, with their annotations and masks; name them as train/a.jpg.

    All copies of an image go, in blobs and as plain files; a file that another image needs as well stays. The bytes
    stay in the blob until `blobdir compact`. All are removed, or none. train/img/a.jpg, the path that `blobdir ls`
    shows, is exactly that image or none; any other name that can be two images is an error.

    \b
    blobdir remove /data/lemons train/a.jpg train/b.jpg
    blobdir remove /data/lemons train/a.jpg --dry-run
    """
    from blobdir.packing import remove

    report = remove(project, images, dry_run=dry_run)
    _say_problems(report)
    if dry_run:
        write_lines([*_listed("removed", report.removed), f"{counted(report.images, 'image')} would be removed"])
    elif not quiet:
        write_lines([f"{counted(report.images, 'image')} removed; blobdir compact frees their bytes"])


@click.command("move")
@click.argument("project", callback=on_this_machine)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.argument("dataset")
@_dry_run
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def move_command(project: str, images: tuple[str, ...], dataset: str, dry_run: bool, quiet: bool) -> None:
    """Move images to another DATASET of PROJECT, with their annotations and masks.

    Only offsets change: no image is copied. All are moved, or none. A dataset that isn't there is made. Images are
    named as for `blobdir remove`.

    \b
    blobdir move /data/lemons train/a.jpg train/b.jpg test
    """
    from blobdir.packing import move

    report = move(project, images, dataset, dry_run=dry_run)
    _say_problems(report)
    if dry_run:
        write_lines(
            [*_listed("moved", report.removed), f"{counted(report.images, 'image')} would be moved to {dataset}"]
        )
    elif not quiet:
        write_lines([f"{counted(report.images, 'image')} moved to {dataset}"])


@click.command("compact")
@click.argument("project", callback=on_this_machine)
@click.option(
    "--unreferenced",
    is_flag=True,
    help="Also delete tars that no dataset uses, hidden files, and a.json of a.jpg in blobs.",
)
@click.option(
    "--layout",
    type=click.Choice(["files", "webdataset"]),
    default=None,
    help="webdataset: each image is followed by a copy of its annotation as it is now, see pack; files: by none.",
)
@_dry_run
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def compact_command(project: str, unreferenced: bool, layout: str | None, dry_run: bool, quiet: bool) -> None:
    """Write blobs of PROJECT anew without the images that no offsets refer to.

    What belongs to such an image in its tar (a.json, ._a.jpg) goes with it. What belongs to others, and hidden files,
    stay and are named where no offsets name them, but for what was removed here. Blobs of which nothing would go aren't
    touched. Every tar is scanned first, and held against its offsets: if anything can't be read or doesn't fit, nothing
    is done. Then what stays in blobs, all tars that no dataset uses, and what else lies below blob/ are searched for
    the bytes that went: files that still have them are named, and stay. What can't be searched (compressed files,
    folders that can't be listed, links out of the project) is named too. Who has an old blob open goes on with it; so
    does a subset that shares it. A blob that a symbolic link of the project leads to stays as it is: the link is named.
    Small blobs of stores (blobdir.ImageStore) are folded into large ones.

    \b
    blobdir compact /data/lemons --dry-run
    blobdir compact /data/lemons
    blobdir compact /data/lemons --layout webdataset
    """
    from blobdir.packing import compact, relabel

    with Bars(quiet, unit="B", scale=True) as bars:
        if layout is None:
            report = compact(project, unreferenced=unreferenced, dry_run=dry_run, progress=bars)
        else:
            report = relabel(
                project,
                layout=layout,  # type: ignore[arg-type]  # click has checked it
                unreferenced=unreferenced,
                dry_run=dry_run,
                progress=bars,
            )
    _say_problems(report)
    anew = set(report.replaced)
    gone = [path for path in report.removed if path not in anew]
    if dry_run:
        lines = [*_listed("written anew", report.replaced), *_listed("deleted", gone)]
        folded = f"; {counted(report.folded, 'small blob')} would become large ones" if report.folded else ""
        freed = f"{human_bytes(abs(report.freed))} {'more ' * (report.freed < 0)}would be"
        write_lines([*lines, f"{freed} {'freed' if report.freed >= 0 else 'in use'}{folded}"])
    elif not quiet:
        line = f"{counted(len(report.blobs), 'blob')} written anew, {len(gone):,} deleted"
        line += f", {human_bytes(abs(report.freed))} {'freed' if report.freed >= 0 else 'more in use'}"
        if report.folded:
            line += f"; {counted(report.folded, 'small blob')} folded into large ones"
        if report.held:
            line += f"; what was removed is still in {counted(len(report.held), 'file')}, as said above, or may be"
        elif lost := report.dropped - report.elsewhere:
            dropped = counted(lost, "member")
            line += f"; {dropped} dropped, of which no tar of the project that was searched has a copy any more"
        if report.unsearched:
            line += f"; {counted(len(report.unsearched), 'place')} not searched, as said above"
        write_lines([line])


@click.command("merge")
@click.argument("project", callback=on_this_machine)
@click.argument("other", callback=on_this_machine)
@click.option("--copy", is_flag=True, help="Copy the blobs; by default they become hard links.")
@_dry_run
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def merge_command(project: str, other: str, copy: bool, dry_run: bool, quiet: bool) -> None:
    """Take all datasets of OTHER into PROJECT, with their blobs, annotations and all other files.

    Datasets of one name become one; an image that both have is an error, and nothing is changed. Classes, tags and
    settings of both are in meta.json afterwards. OTHER stays as it is.

    \b
    blobdir merge /data/lemons /data/more-lemons
    """
    from blobdir.packing import merge

    report = merge(project, other, copy=copy, dry_run=dry_run)
    _say_problems(report)
    verb = "would be taken" if dry_run else "taken"
    if dry_run or not quiet:
        write_lines(
            [f"{counted(report.images, 'image')} in {counted(len(report.blobs), 'blob')} {verb} into {project}"]
        )
