"""``blobdir cache``: what is kept on this machine: blocks of remote blobs, indexes, images of the kernel engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from blobdir.cli.options import remote_options
from blobdir.cli.output import Bars, human_bytes, say, write_json, write_lines
from blobdir.errors import UsageError
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.blocks import DiskTier
    from blobdir.cli.options import CommonOptions


_KINDS: Final = {"index": "indexes", "erofs": "images"}


@click.group("cache")
def cache_command() -> None:
    """Look after the cache: blocks of remote blobs, indexes, and images of the kernel engine, on this machine.

    Each has a bound, and what was used longest ago goes first; nothing here is needed.

    \b
    blobdir cache info
    blobdir cache warm s3://bucket/lemons
    blobdir cache clear
    """


def _disk(common: CommonOptions) -> DiskTier:
    from blobdir.blocks import DiskTier
    from blobdir.sources import RemoteOptions

    options = RemoteOptions(**common.remote)
    return DiskTier(options.folder, options.disk_bytes)


@cache_command.command("info")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@remote_options
def info_command(as_json: bool, common: CommonOptions) -> None:
    """Say where the cache is, how large, and whose blobs are in it.

    \b
    blobdir cache info
    """
    from blobdir.opening import keeping

    disk = _disk(common)
    usage = disk.usage()
    kept = {kind: keeping.kept(kind) for kind in keeping.KEPT_BYTES}
    if as_json:
        told: dict[str, Any] = {
            "folder": str(disk.folder), "limit": disk.limit, "size": usage.size, "blocks": usage.blocks,
            "files": usage.files,
        }  # fmt: skip
        for kind, found in kept.items():
            told[_KINDS[kind]] = {
                "folder": str(keeping.cache_root() / kind), "limit": keeping.KEPT_BYTES[kind],
                "size": sum(one.size for one in found), "count": len(found),
            }  # fmt: skip
        write_json(told)
        return
    lines = [f"{disk.folder}: {human_bytes(usage.size)} of {human_bytes(disk.limit)}, {usage.blocks:,} blocks"]
    lines += [f"{human_bytes(size):>8}  {name}" for name, size in sorted(usage.files.items())]
    for kind, found in kept.items():
        size = human_bytes(sum(one.size for one in found))
        limit = human_bytes(keeping.KEPT_BYTES[kind])
        lines.append(
            f"{keeping.cache_root() / kind}: {size} of {limit}, {_KINDS[kind]} of {counted(len(found), 'project')}"
        )
    write_lines(lines)


@cache_command.command("clear")
@click.argument("url", required=False, default="")
@click.option("--only", type=click.Choice(["blocks", "indexes", "images"]), help="Only these.")
@remote_options
def clear_command(url: str, only: str | None, common: CommonOptions) -> None:
    """Remove everything that is kept, or the blocks of blobs whose URL begins with URL.

    Who is reading fetches blocks again; a mount goes on with its image.

    \b
    blobdir cache clear
    blobdir cache clear --only indexes
    blobdir cache clear s3://bucket/lemons
    """
    from blobdir.opening import keeping

    if url and only not in (None, "blocks"):
        raise UsageError(f"--only {only} and a URL: only blocks belong to one; leave one of the two out")
    removed = {}
    if only in (None, "blocks"):
        disk = _disk(common)
        removed[str(disk.folder)] = disk.clear(url)
    for kind, what in _KINDS.items():
        if not url and only in (None, what):
            folder = keeping.cache_root() / kind
            removed[str(folder)] = keeping.trim(folder, limit=0)
    if not common.quiet:
        for place, size in removed.items():
            say(place, f"{human_bytes(size)} removed")


@cache_command.command("warm")
@click.argument("url")
@remote_options
def warm_command(url: str, common: CommonOptions) -> None:
    """Fetch all blobs of the project at URL into the cache, so that nobody waits for them later.

    \b
    blobdir cache warm s3://bucket/lemons --cache-size 200GiB
    """
    from blobdir.project import open_project
    from blobdir.sources import RemoteStorage

    project = open_project(url, storage_options=common.storage, **common.remote)
    storage = project.tree.storage
    if not isinstance(storage, RemoteStorage) or storage.cache is None or storage.cache.disk is None:
        raise UsageError(f"{url}: nothing of it is kept: it is on this machine, or the cache is off")
    if sum(record.size for record in project.tree.index.header.blobs) > storage.cache.disk.limit:
        raise UsageError(
            f"{url}: has more bytes than the cache may take ({human_bytes(storage.cache.disk.limit)}); give more with "
            "--cache-size, or fetch it: blobdir fetch"
        )
    with Bars(common.quiet, unit="B", scale=True) as bars:
        fetched = project.tree.blobs.warm(bars)
    if not common.quiet:
        say(url, f"{human_bytes(fetched)} fetched")
