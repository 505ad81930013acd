"""``blobdir fetch`` and ``blobdir push``: projects from a bucket to a folder and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from blobdir.cli.app import on_this_machine, remote_options
from blobdir.cli.output import Bars, human_bytes, name_problems

if TYPE_CHECKING:
    from blobdir.cli.app import CommonOptions

NAMED_FAILURES = 10
FAILED = 7


@click.command("fetch")
@click.argument("url")
@click.argument("folder")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this dataset; may be repeated.")
@click.option("--glob", "patterns", multiple=True, metavar="PATTERN", help="Only images such as 'train/a*.jpg'.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only images with an object of this class.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="Only images with this tag.")
@click.option("--per-class", type=click.IntRange(0), default=0, metavar="N", help="So many of each class, or all.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which ones of those.")
@click.option("--strict", is_flag=True, help="Stop at the first annotation that can't be used.")
@click.option("--resume", is_flag=True, help="Go on with a fetch that was cut off.")
@remote_options
def fetch_command(
    url: str,
    folder: str,
    datasets: tuple[str, ...],
    patterns: tuple[str, ...],
    classes: tuple[str, ...],
    tags: tuple[str, ...],
    per_class: int,
    seed: int,
    strict: bool,
    resume: bool,
    common: CommonOptions,
) -> int:
    """Copy the project at URL to FOLDER, which must not exist.

    Blobs come in parallel ranges; their checksums are compared if the project has them. Whole datasets come with
    their blobs as they are, images that are chosen by --glob, --class, --tag or --per-class in new blobs that hold
    nothing else. Images whose annotation can't be used aren't chosen by it but named, with exit status 7.

    \b
    blobdir fetch s3://bucket/lemons /data/lemons
    blobdir fetch s3://bucket/lemons /data/lemons --resume
    blobdir fetch s3://bucket/lemons /data/ripe --class ripe --dataset train
    """
    from blobdir.moving import fetch
    from blobdir.packing import SubsetOptions
    from blobdir.sources import RemoteOptions

    choose = SubsetOptions(
        patterns=patterns,
        datasets=datasets,
        classes=classes,
        tags=tags,
        per_class=per_class,
        seed=seed,
        strict=strict,
    )
    with Bars(common.quiet, unit="B" if choose.takes_all else "", scale=True) as bars:
        report = fetch(
            url,
            folder,
            storage_options=common.storage,
            choose=choose,
            resume=resume,
            remote=RemoteOptions(**common.remote),
            progress=bars,
        )
    if not common.quiet:
        more = [f"{human_bytes(report.resumed)} were there"] if report.resumed else []
        more += [f"{report.verified:,} checksums agree"] if report.verified else []
        more += [f"{report.without_annotation:,} images have no annotation"] if report.without_annotation else []
        what = ", ".join([f"{report.files:,} files", human_bytes(report.size), *more])
        click.echo(f"{folder}: {what}, {report.seconds:.1f} s", err=True)
    return name_problems(report.problems, "their images weren't fetched")


@click.command("push")
@click.argument("project", callback=on_this_machine)
@click.argument("url")
@click.option("--resume", is_flag=True, help="Leave what is there with the same size, and upload the rest.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--no-index", is_flag=True, help="Put no index beside it. With one, opening is one request.")
@remote_options
def push_command(project: str, url: str, resume: bool, force: bool, no_index: bool, common: CommonOptions) -> int:
    """Copy PROJECT, a folder on this machine, to URL.

    Large files go in parts, small ones many at a time; what fails is tried again. meta.json goes last, so that half
    of a project isn't taken for one. Exit status 7 if something could not be uploaded: --resume goes on.

    \b
    blobdir push /data/lemons s3://bucket/lemons
    blobdir push /data/lemons abfs://container/lemons --storage-option account_name=fruit
    """
    from blobdir.moving import push
    from blobdir.sources import RemoteOptions

    options: dict[str, Any] = {"resume": resume, "force": force, "index": not no_index}
    with Bars(common.quiet, unit="B", scale=True) as bars:
        report = push(
            project,
            url,
            storage_options=common.storage,
            remote=RemoteOptions(**common.remote),
            progress=bars,
            **options,
        )
    for path, error in list(report.failed.items())[:NAMED_FAILURES]:
        click.echo(f"blobdir: {path}: {error}", err=True)
    if not common.quiet:
        skipped = f", {report.skipped:,} were there" if report.skipped else ""
        index = f"; index: {report.index}" if report.index else ""
        done = f"{report.files:,} files, {human_bytes(report.size)}{skipped}, {report.seconds:.1f} s{index}"
        click.echo(f"pushed {done}", err=True)
    if report.failed:
        click.echo(f"blobdir: {len(report.failed):,} files could not be uploaded; --resume tries them again", err=True)
    return FAILED if report.failed else 0
