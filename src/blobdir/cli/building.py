"""``blobdir offsets`` and ``blobdir index``: what makes reading possible, and quick."""

from __future__ import annotations

import os
import time
import warnings
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import click

from blobdir.cli.errors import report
from blobdir.cli.options import CommonOptions, project_options
from blobdir.cli.output import Bars, human_bytes, write_lines
from blobdir.errors import BlobdirError, BlobdirWarning, UsageError
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("offsets")
@click.argument("tars", metavar="TAR...", nargs=-1, required=True)
@click.option(
    "-o", "--output", metavar="FOLDER", help="Where the pickles go, such as a dataset. Default: beside each tar."
)
@click.option("--replace", is_flag=True, help="Write a pickle anew that is there already.")
@click.option(
    "--filter",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only members whose name matches, as '*.jpg'; dot files only if the pattern begins with a dot.",
)
@click.option("--strict", is_flag=True, help="Refuse a tar with members that can't be served, or more after its end.")
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "rename", "replace"]),
    default="error",
    show_default=True,
    help="Two members of one base name: an error, the first, both (the second as name_1.ext), or the last.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, no report.")
def offsets_command(
    tars: tuple[str, ...],
    output: str | None,
    replace: bool,
    patterns: tuple[str, ...],
    strict: bool,
    on_conflict: str,
    quiet: bool,
) -> int:
    """Write the offsets pickle of a tar.

    It says which bytes of the tar are which image. A pickle is written whole or not at all. Tars that fail are named,
    and the others are done. Members that can't be served, such as sparse files, are left out with a warning; so are
    dot files, and files that go with an image, as a.json beside a.jpg, unless a --filter takes them.

    \b
    blobdir offsets lemons/blob/shard-0.tar --output lemons/train
    blobdir offsets --filter '*.jpg' --replace *.tar
    """
    if quiet:
        warnings.simplefilter("ignore", BlobdirWarning)
    status = 0
    for tar in tars:
        try:
            _write_one(tar, output, replace, patterns, strict, on_conflict, quiet)
        except (BlobdirError, OSError) as error:
            status = max(status, report(error))
    return status


def _write_one(
    tar: str,
    output: str | None,
    replace: bool,
    patterns: tuple[str, ...],
    strict: bool,
    on_conflict: str,
    quiet: bool,
) -> None:
    from blobdir.offsets import offsets_of_tar, write_offsets
    from blobdir.packing.locking import alone
    from blobdir.packing.putting import refuse_conflicts
    from blobdir.temporary import clean

    folder = Path(output) if output is not None else Path(tar).parent
    target = folder / f"{Path(tar).stem}_offsets.pkl"
    if target.exists() and not replace:
        raise UsageError(f"{target}: is there already; --replace writes it anew")
    if not folder.is_dir():
        raise UsageError(f"{folder}: isn't a folder; make it first, or give another with --output")
    wanted: Callable[[str], bool] | None = None
    if patterns:

        def wanted(name: str) -> bool:
            parts = [part for part in name.split("/") if part not in (".", "..")] or [name]
            dotted = next((i for i, part in enumerate(parts) if part.startswith(".")), -1)
            if dotted < 0:
                return any(fnmatch(parts[-1], pattern) for pattern in patterns)
            seen = parts[-1], "/".join(parts[dotted:])
            return any(fnmatch(one, pattern) for one in seen for pattern in patterns if pattern.startswith("."))

    began = time.perf_counter()
    size = os.path.getsize(tar)
    with Bars(quiet, unit="B", scale=True) as bars:
        table = offsets_of_tar(
            tar,
            wanted,
            on_conflict,  # type: ignore[arg-type]  # click has checked it
            hidden=bool(patterns),
            strict=strict,
            progress=lambda done: bars(os.path.basename(tar), done, size),
        )
        if patterns and not len(table):
            raise UsageError(f"{tar}: no member is like {' or '.join(patterns)}; nothing was written")
        with alone(target):
            refuse_conflicts(target, table, tar)
            clean(folder)
            write_offsets(target, table)
    if not quiet:
        seconds = time.perf_counter() - began
        data = int((table.end - table.start).sum())
        members = counted(len(table), "member")
        write_lines([f"{target}: {members}, {human_bytes(data)}, {seconds:.2f} s"])


@click.command("index")
@click.argument("project")
@click.option("-o", "--output", metavar="FOLDER", help="Where the index goes. Default: the user's cache folder.")
@click.option("--beside", is_flag=True, help="Into .blobdir in the project, a bucket's too, to travel with it.")
@project_options
def index_command(project: str, output: str | None, beside: bool, common: CommonOptions) -> None:
    """Build the index of a project and keep it.

    With it, opening takes milliseconds. Large local projects get one in the user's cache folder when they are first
    opened. An index that is no longer true is never used. A FOLDER that holds anything but an older index is refused,
    and so is one in a project.

    Beside a project in a bucket, it makes opening two requests, instead of a listing of everything. Commands that
    change a project remove the index beside it: build it anew then.

    \b
    blobdir index /data/lemons
    blobdir index --beside /data/lemons
    blobdir index --beside s3://bucket/lemons
    """
    from blobdir.discovery import DiscoveryOptions
    from blobdir.moving.indexing import index_beside
    from blobdir.opening import (
        BESIDE,
        build_to_keep,
        cache_folder,
        check_beside,
        check_named,
        keep,
        open_place,
        refuse_unfinished,
        renewed,
        save_beside,
        warn_of_defects,
    )
    from blobdir.packing.locking import alone
    from blobdir.sources import RemoteOptions, RemoteStorage

    if output is not None and beside:
        raise UsageError("give --output or --beside, not both")
    options = {key: value for key, value in common.filesystem.items() if key != "index"}
    discovery = DiscoveryOptions(**options)
    remote = RemoteOptions(**common.remote)
    storage, discovery = open_place(project, options=common.storage, discovery=discovery, remote=remote)
    if beside and discovery.tars:
        raise UsageError(f"{project}: is a tar, and nothing is put beside those; without --beside, its index is kept")
    if output is not None:
        check_named(Path(output))
    elif beside:
        check_beside(storage)
    began = time.perf_counter()
    with Bars(common.quiet) as bars:
        if beside and isinstance(storage, RemoteStorage):
            index, place = index_beside(storage, discovery, bars)
        else:
            index, place = build_to_keep(storage, discovery, bars), str(output or cache_folder(storage, discovery))
            refuse_unfinished(index, storage)
    if not beside:
        keep(index, Path(place))
    elif storage.directory:
        with alone(Path(storage.directory) / BESIDE):
            if renewed(index.header, storage, discovery) is None:  # somebody was quicker
                index = build_to_keep(storage, discovery)
            place = save_beside(index, storage)
    seconds = time.perf_counter() - began
    warn_of_defects(storage, index)
    if not common.quiet:
        size = f"{human_bytes(index.nbytes)}, {index.nbytes / len(index):.0f} bytes a row"
        header = index.header
        counts = [counted(len(index), "row"), size, counted(len(header.datasets), "dataset")]
        counts += [counted(len(header.blobs), "blob"), counted(len(header.defects), "defect")]
        write_lines([f"{place}: {', '.join(counts)}, {seconds:.2f} s"])
