"""``blobdir fetch`` and ``blobdir push``: projects from a bucket to a folder and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blobdir.cli.options import on_this_machine, remote_options
from blobdir.cli.output import Bars, complain, human_bytes, name_problems, others_left, say, write_lines
from blobdir.errors import UsageError
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blobdir.cli.options import CommonOptions
    from blobdir.moving import PushReport

NAMED = 10
INCOMPLETE = 7


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
@click.option("--resume", is_flag=True, help="Go on with a fetch that was cut off; what has changed since comes anew.")
@click.option("--checksum", is_flag=True, help="With --resume, also read again what is there of blobs.")
@click.option("--with-defects", is_flag=True, help="Fetch a damaged project as it is, and say what is wrong with it.")
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
    checksum: bool,
    with_defects: bool,
    common: CommonOptions,
) -> int:
    """Copy the project at URL to FOLDER, which must not exist.

    It's made in FOLDER.fetching, and appears when it's whole. Blobs come in parallel ranges; their checksums are
    compared if the project has them. Whole datasets come with their blobs as they are, images that are chosen by
    --glob, --class, --tag or --per-class in new blobs that hold nothing else, with their annotations and side files.
    Images whose annotation can't be used aren't chosen by it but named, with exit status 7. A project that is changed
    meanwhile is an error.

    A defect in what would be fetched (offsets that are cut off or don't fit, a blob that is missing) is an error, and
    nothing is written. With --with-defects everything comes as it is; the defects are named, and the exit status is 0,
    or 7 if something is left out: keys of a bucket that can't be files here, and what is listed and isn't there. What
    is being changed or pushed, or was when that was cut off, is never fetched.

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
            checksum=checksum,
            with_defects=with_defects,
            remote=RemoteOptions(**common.remote),
            progress=bars,
        )
    _warn_of(report.defects, quiet=common.quiet)
    if not common.quiet:
        more = [f"{human_bytes(report.resumed)} were there"] if report.resumed else []
        more += [f"{report.verified:,} checksums agree"] if report.verified else []
        more += [f"{counted(bare, 'image')} without an annotation"] if (bare := report.without_annotation) else []
        what = ", ".join([counted(report.files, "file"), human_bytes(report.size), *more])
        others = f"; {others_left(report.others)}" if report.others else ""
        say(folder, f"{what}, {report.seconds:.1f} s{others}")
    _name(report.left_out)
    status = name_problems(report.problems, "their images weren't fetched")
    return status if report.complete else INCOMPLETE


@click.command("push")
@click.argument("project", callback=on_this_machine)
@click.argument("url")
@click.option("--resume", is_flag=True, help="Leave what is there with the same content, and upload the rest.")
@click.option("--delete", is_flag=True, help="As --resume, and remove what the project doesn't have.")
@click.option("--force", is_flag=True, help="Upload everything anew, and remove what the project doesn't have.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be uploaded, replaced and removed.")
@click.option("--checksum", is_flag=True, help="Compare every byte, instead of versions, times and checksums there.")
@click.option("--follow-links", is_flag=True, help="Upload what symbolic links out of the project lead to.")
@click.option("--with-defects", is_flag=True, help="Upload a damaged project as it is, and say what is wrong with it.")
@click.option("--no-index", is_flag=True, help="Put no index beside it. With one, opening is two requests.")
@remote_options
def push_command(
    project: str,
    url: str,
    resume: bool,
    delete: bool,
    force: bool,
    dry_run: bool,
    checksum: bool,
    follow_links: bool,
    with_defects: bool,
    no_index: bool,
    common: CommonOptions,
) -> int:
    """Copy PROJECT, a folder on this machine, to URL.

    Large files go in parts, small ones many at a time; what fails is tried again. New blobs go first; then, until all
    is there, meta.json is away, so that half of a project isn't taken for one. After --delete or --force, the place
    holds exactly what the project has: what was removed here is gone there. A place with files and no blob project is
    refused, as is one with another project below it or above it, finished or not. Exit status 7 if something could not
    be uploaded, or has changed here meanwhile: --resume goes on; 8 if somebody else pushes there too.

    A defect of the project (offsets that are cut off or don't fit, a blob that is missing, a link that leads out of it,
    nowhere, or to what only blobs hold) is an error, and nothing is touched. With --with-defects everything goes as it
    is, but for such links, with exit status 7; the defects are named.

    \b
    blobdir push /data/lemons s3://bucket/lemons
    blobdir push /data/lemons s3://bucket/lemons --delete --dry-run
    blobdir push /data/lemons abfs://container/lemons --storage-option account_name=fruit
    """
    from blobdir.moving import push
    from blobdir.sources import RemoteOptions

    if force and (resume or delete or checksum):
        raise UsageError("--force uploads everything, whatever is there; it goes with neither --resume, --delete nor "
                         "--checksum")  # fmt: skip
    with Bars(common.quiet, unit="B", scale=True) as bars:
        report = push(
            project,
            url,
            storage_options=common.storage,
            resume=resume or checksum,
            force=force,
            delete=delete,
            dry_run=dry_run,
            checksum=checksum,
            follow_links=follow_links,
            with_defects=with_defects,
            index=not no_index,
            remote=RemoteOptions(**common.remote),
            progress=bars,
        )
    _warn_of(report.defects, quiet=common.quiet)
    _name(report.left_out)
    _name(report.failed)
    if dry_run:
        _list_plan(report)
    elif report.deleted and not common.quiet:
        write_lines(f"removed: {path}" for path in report.deleted)
    if not common.quiet:
        _sum_up(report, dry_run=dry_run)
    if report.failed:
        complain(f"{counted(len(report.failed), 'file')} could not be uploaded; --resume tries them again")
    return 0 if report.complete else INCOMPLETE


def _warn_of(defects: Sequence[str], *, quiet: bool) -> None:
    for defect in defects[: 0 if quiet else NAMED]:
        complain("warning", defect)
    if len(defects) > NAMED and not quiet:
        complain("warning", f"and {len(defects) - NAMED:,} more defects were copied")


def _name(problems: Mapping[str, str]) -> None:
    for path, why in list(problems.items())[:NAMED]:
        complain(path, why)
    if len(problems) > NAMED:
        complain(f"and {len(problems) - NAMED:,} more")


def _list_plan(report: PushReport) -> None:
    for what, paths in (("upload", report.new), ("replace", report.replaced), ("remove", report.deleted)):
        write_lines(f"{what}: {path}" for path in paths)


def _sum_up(report: PushReport, *, dry_run: bool) -> None:
    parts = [counted(report.files, "file"), human_bytes(report.size)]
    parts += [f"{report.skipped:,} were there"] if report.skipped else []
    parts += [f"{len(report.emptied):,} emptied by `remove` stay here"] if report.emptied else []
    parts += [f"{len(report.deleted):,} {'to remove' if dry_run else 'removed'}"] if report.deleted else []
    index = f"; index: {report.index}" if report.index else ""
    say(f"{'to push:' if dry_run else 'pushed'} {', '.join(parts)}, {report.seconds:.1f} s{index}")
