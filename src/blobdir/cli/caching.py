"""``blobdir cache``: what is kept of remote blobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from blobdir.cli.app import remote_options
from blobdir.cli.output import Bars, human_bytes, write_lines
from blobdir.errors import UsageError

if TYPE_CHECKING:
    from blobdir.blocks import DiskTier
    from blobdir.cli.app import CommonOptions


@click.group("cache")
def cache_command() -> None:
    """Look after the cache: blocks of remote blobs that are kept on this machine.

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
    disk = _disk(common)
    usage = disk.usage()
    if as_json:
        told = {"folder": str(disk.folder), "limit": disk.limit, "size": usage.size, "blocks": usage.blocks}
        write_lines([json.dumps(told | {"files": usage.files}, indent=2)])
        return
    lines = [f"{disk.folder}: {human_bytes(usage.size)} of {human_bytes(disk.limit)}, {usage.blocks:,} blocks"]
    lines += [f"{human_bytes(size):>8}  {name}" for name, size in sorted(usage.files.items())]
    write_lines(lines)


@cache_command.command("clear")
@click.argument("url", required=False, default="")
@remote_options
def clear_command(url: str, common: CommonOptions) -> None:
    """Remove all blocks, or those of blobs whose URL begins with URL. Who is reading fetches them again.

    \b
    blobdir cache clear
    blobdir cache clear s3://bucket/lemons
    """
    disk = _disk(common)
    removed = disk.clear(url)
    if not common.quiet:
        click.echo(f"{disk.folder}: {human_bytes(removed)} removed", err=True)


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
        click.echo(f"{url}: {human_bytes(fetched)} fetched", err=True)
