"""``blobdir mount``, ``umount`` and ``status``; and ``mount.blobdir``, which mount(8) calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from blobdir.cli.options import ADDRESS_HELP, project_options
from blobdir.cli.output import Bars, human_bytes, say, write_json, write_lines
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.cli.options import CommonOptions
    from blobdir.mounting import MountOptions, Status

ENGINES = ("auto", "kernel", "native", "fusepy")
_USAGE = "usage: mount.blobdir PROJECT MOUNTPOINT [-sfnv] [-o OPTION,…]"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def mount_options(common: CommonOptions, words: dict[str, Any], **given: Any) -> MountOptions:
    """Options of a mount: those after ``-o``, and over them those that have a name of their own."""
    from blobdir.discovery import DiscoveryOptions
    from blobdir.mounting import MountOptions
    from blobdir.sources import RemoteOptions

    words, named = dict(words), dict(common.filesystem)
    index = named.pop("index")
    defaults = DiscoveryOptions()
    chosen = {name: value for name, value in named.items() if value != getattr(defaults, name)}
    discovery = DiscoveryOptions(**{**words.pop("discovery", {}), **chosen})
    storage = {**words.pop("storage_options", {}), **common.storage}
    if index != "auto":
        words["index"] = index
    words.update({name: value for name, value in given.items() if value not in (None, False)})
    remote = RemoteOptions(**{**words.pop("remote", {}), **common.remote})
    return MountOptions(discovery=discovery, storage_options=storage, remote=remote, **words)


@click.command("mount", epilog=ADDRESS_HELP)
@click.argument("project")
@click.argument("mountpoint")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="kernel: Linux as root, no process; native: Linux, fast; fusepy: through libfuse, also macOS. The default, "
    "auto, takes the best that works here.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts.")
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    help="Processes that answer requests; by default one per processor, four at the most.",
)
@click.option(
    "--log", metavar="FILE", help="Where messages go; by default the system's log (stderr in the foreground)."
)
@click.option(
    "-o",
    "words",
    multiple=True,
    metavar="OPTION,…",
    help="As for mount(8): allow_other, uid=N, gid=N, umask=N, threads=N, fsname=…, storage.KEY=VALUE, and the others "
    "here without their dashes.",
)
@project_options
def mount_command(
    project: str,
    mountpoint: str,
    engine: str | None,
    foreground: bool,
    workers: int | None,
    log: str | None,
    words: tuple[str, ...],
    common: CommonOptions,
) -> None:
    """Mount PROJECT at MOUNTPOINT, an empty folder: its files are ordinary files there.

    Images and annotations can be opened by any program. Returns when the mount answers; a process in the background
    serves it until `blobdir umount MOUNTPOINT`. Everything is read-only. Only the user who mounts can look in, unless
    with -o allow_other.

    \b
    blobdir mount /data/lemons /mnt/lemons
    blobdir mount s3://bucket/lemons /mnt/lemons --storage-option anon=true
    blobdir mount /data/lemons /mnt/lemons -o allow_other,umask=022
    """
    from blobdir.mounting.control import run_here, start
    from blobdir.mounting.options import parse_options

    parsed = parse_options(",".join(words))
    stay = parsed.pop("foreground", False) or foreground
    log = log or parsed.pop("log", "")
    parsed.pop("log", None)
    options = mount_options(common, parsed, engine=engine, workers=workers)
    with Bars(common.quiet) as bars:
        if stay:
            run_here(project, mountpoint, options, log=log, progress=bars)
            return
        record = start(project, mountpoint, options, log=log, progress=bars)
    if not common.quiet:
        say(f"{record.url} is mounted at {record.mountpoint} ({record.engine} engine: {record.why})")


@click.command("umount")
@click.argument("mountpoint")
@click.option(
    "-l", "--lazy", is_flag=True, help="Take it away now, even if it's in use; who has files open gets errors."
)
def umount_command(mountpoint: str, lazy: bool) -> None:
    """Unmount a project, and wait until the process that served it has ended.

    \b
    blobdir umount /mnt/lemons
    """
    from blobdir.mounting import umount

    umount(mountpoint, lazy=lazy)


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def status_command(as_json: bool) -> int:
    """Say what is mounted, what it has served, and what has changed underneath.

    Exit status 1 if a mount is dead: its process is gone. The next mount there, or `blobdir umount`, cleans that up.

    \b
    blobdir status
    blobdir status --json | jq '.[].counters'
    """
    from blobdir.mounting import statuses

    found = statuses()
    if as_json:
        write_json([status.to_json() for status in found])
    elif not found:
        say("nothing is mounted")
    else:
        write_lines(line for status in found for line in _lines(status))
    return 1 if any(status.state == "dead" for status in found) else 0


def _lines(status: Status) -> list[str]:
    record, counts = status.record, status.counters
    lines = [f"{record.mountpoint}  {record.url}", f"  state     {status.state}{_about(status.state)}"]
    if record.pid or record.image:
        served = f"process {record.pid}" if record.pid else "no process is needed"
        workers = f", {counted(record.workers, 'worker')}" if record.engine == "native" else ""
        lines += [
            f"  engine    {record.engine} ({record.why}), {served}{workers}, blobdir {record.version}",
            f"  uptime    {_duration(status.uptime_s)}",
            f"  index     {counted(record.index['rows'], 'row')}, {human_bytes(record.index['bytes'])}",
            f"  log       {record.log}",
        ]
    if counts and not record.image:  # what the kernel serves by itself isn't counted
        lines.append(
            f"  requests  {counts['requests']:,}: {counted(counts['lookups'], 'lookup')}, "
            f"{counted(counts['reads'], 'read')}, {human_bytes(counts['bytes'])}; {counted(counts['errors'], 'error')}"
        )
        if counts["cache_hits"] or counts["cache_misses"]:
            hits, misses = counted(counts["cache_hits"], "hit"), counted(counts["cache_misses"], "miss", "misses")
            lines.append(f"  cache     {hits}, {misses}")
        if counts["restarts"]:
            lines.append(
                f"  restarts  {counted(counts['restarts'], 'worker died and was', 'workers died and were')} replaced"
            )
    if record.unheld:
        lines.append(
            f"  blobs     {len(record.unheld):,} of {counted(len(record.blobs), 'blob')} can't be held open: what is "
            "replaced or removed of them can't be read any more"
        )
    shown = status.changed[:5]
    more = len(status.changed) - len(shown)
    lines += [f"  changed   {sentence}" for sentence in shown] + ([f"  changed   and {more} more"] if more else [])
    if status.not_looked_at and (record.pid or record.image):
        lines.append(f"  changed   isn't known: {status.not_looked_at}")
    return lines


def _about(state: str) -> str:
    return {
        "stopped": ": processes of it are, as by Ctrl-Z or in a paused container; readers wait until they go on",
        "dead": ": its process is gone; blobdir umount cleans up",
        "detached": ": unmounted, and still in use by somebody",
        "unknown": ": made by another user, in another container, or with a state folder of its own",
    }.get(state, "")


def _duration(seconds: float) -> str:
    whole = int(seconds)
    parts = [
        (whole // _DAY, "d"),
        (whole % _DAY // _HOUR, "h"),
        (whole % _HOUR // _MINUTE, "min"),
        (whole % _MINUTE, "s"),
    ]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0 s"


def mount_helper() -> None:
    """``mount.blobdir SPEC DIR [-sfnv] [-o OPTIONS]``: what mount(8) runs for ``mount -t blobdir`` and for fstab."""
    import warnings

    from blobdir.cli.errors import report, show_warning

    warnings.showwarning = show_warning
    warnings.simplefilter("always", BlobdirWarning)
    try:
        sys.exit(_help_mount(sys.argv[1:]))
    except Exception as error:
        report(error)
        sys.exit(32)  # "mount failure", see mount(8)


def _help_mount(arguments: list[str]) -> int:
    from blobdir.mounting.control import start
    from blobdir.mounting.options import MountOptions, parse_options

    places, words, rest = [], [], list(arguments)
    fake = False
    while rest:
        word = rest.pop(0)
        if word == "-o" or word in ("-t", "-N"):
            if not rest:
                raise UsageError(f"mount.blobdir: nothing follows {word}")
            value = rest.pop(0)
            words += [value] if word == "-o" else []
        elif word.startswith("-"):
            if set(word[1:]) - set("sfnv"):
                raise UsageError(
                    f"mount.blobdir: {word} isn't known; usage: mount.blobdir PROJECT MOUNTPOINT [-sfnv] [-o …]"
                )
            fake = fake or "f" in word
        else:
            places.append(word)
    if len(places) != 2:
        raise UsageError(f"{_USAGE}; mount -t blobdir calls it")
    parsed = parse_options(",".join(words))
    parsed.pop("foreground", None)
    log = parsed.pop("log", "")
    from blobdir.discovery import DiscoveryOptions

    parsed["discovery"] = DiscoveryOptions(**parsed["discovery"])
    options = MountOptions(**parsed)
    if not fake:
        start(places[0], places[1], options, log=log)
    return 0
