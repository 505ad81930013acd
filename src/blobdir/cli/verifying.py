"""``blobdir verify``."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import click

from blobdir.cli.options import max_pixels_option
from blobdir.cli.output import Bars, human_bytes, write_json, write_lines
from blobdir.errors import BlobdirWarning, DataError, UsageError
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.verifying import VerifyReport

FEW = 5


@click.command("verify")
@click.argument("project")
@click.option(
    "--decode", is_flag=True, help="Decode every image too, and bitmaps in annotations; compare sizes with annotations."
)
@click.option("--processes", type=click.IntRange(0), default=0, metavar="N", help="That decode; 0: one per processor.")
@max_pixels_option
@click.option(
    "--repair", "repairs", is_flag=True, help="Write damaged offsets anew from their tar; the old ones are kept."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what --repair would write.")
@click.option(
    "--for", "audience", type=click.Choice(["supervisely"]), help="What the SDK would drop or refuse is an error."
)
@click.option("--follow-links", is_flag=True, help="Look at what symbolic links out of PROJECT lead to as well.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; only what was found.")
def verify_command(
    project: str,
    decode: bool,
    processes: int,
    repairs: bool,
    dry_run: bool,
    audience: str | None,
    follow_links: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Prove PROJECT sound: offsets against tars, annotations against images and meta.json, checksums.

    Every byte of the blobs is read once. What couldn't be looked at is said. Blobs outside of PROJECT, such as those
    that `subset --blobs symlink` leads to, are looked at with --follow-links only. Exit status 0: nothing is wrong,
    though there may be warnings; 6: something is.

    \b
    blobdir verify /data/lemons
    blobdir verify --decode --json /data/lemons | jq .errors
    blobdir verify --for supervisely /data/lemons
    blobdir verify --repair --dry-run /data/lemons
    """
    from blobdir.verifying import verify
    from blobdir.verifying.repair import mend
    from blobdir.verifying.tars import means_tars, refuse_tars

    if dry_run and not repairs:
        raise UsageError("--dry-run says what --repair would do: give both")
    if repairs:
        refuse_tars(project)
    warnings.simplefilter("ignore", BlobdirWarning)  # they are findings
    look = partial(
        verify, project, decode=decode, processes=processes, audience=audience or "", follow_links=follow_links
    )
    with Bars(quiet or as_json, unit="B", scale=True) as bars:
        report = look(progress=bars)
    said: list[str] = []
    if repairs:
        done = mend(project, report, dry_run=dry_run)
        said = done.said
        if said and not dry_run:
            report = look()
            for pickle, count in done.left_out.items():
                report.add("images-left-out", pickle, "nothing says that they were removed; see above", count)
    if as_json:
        write_json(report.to_json() | {"repaired": said})
    else:
        read = [] if quiet else (_read_of_tars if means_tars(project) else _read)(report)
        write_lines([*said, *_found(report), *read])
    wrong = report.errors + (report.warnings if strict else 0)
    return DataError.exit_code if wrong else 0


def _found(report: VerifyReport) -> list[str]:
    lines = []
    for finding in report.findings:
        lines.append(f"{finding.severity}: {finding.path or '.'}: {finding.code}, {counted(finding.count, 'time')}")
        lines += [f"    {example}" for example in finding.examples[:FEW]]
        if finding.count > FEW:
            lines.append(f"    and {finding.count - min(FEW, len(finding.examples)):,} more")
    return lines


def _read_of_tars(report: VerifyReport) -> list[str]:
    """What was looked at of tars, which are proven by their headers and have no checksums."""
    read = f"{counted(report.blobs, 'tar')}, {human_bytes(report.blob_bytes)}, {counted(report.entries, 'file')}"
    return [f"{read}, {_time(report)}", _sum(report)]


def _read(report: VerifyReport) -> list[str]:
    """What was looked at, and what wasn't."""
    failed = f"{report.undecoded:,} that can't be, " if report.undecoded else ""
    read = (
        f"{counted(report.blobs, 'blob')}, {human_bytes(report.blob_bytes)}, "
        f"{counted(report.entries, 'entry', 'entries')}, {counted(report.annotations, 'annotation')}, "
        f"{counted(report.files, 'other file of images', 'other files of images')}, "
        f"{counted(report.decoded, 'image')} decoded, {failed}{counted(report.checksums, 'checksum')}"
    )
    lines = [f"{read}, {_time(report)}"]
    if without := report.blobs - report.checksums:
        what = f"whether the bytes of {counted(without, 'blob')} are those that were packed"
        lines.append(f"not looked at: {what}; no checksum to hold them against is in blob/SHA256SUMS")
    if not report.decoded and not report.undecoded:
        lines.append("not looked at: the pixels of the images, and of bitmaps in annotations; --decode decodes them")
    if report.masks:
        lines.append(f"not looked at: the pixels of {counted(report.masks, 'mask')}; only how they begin")
    if report.unchecked:
        lines.append(f"not looked at: {counted(report.unchecked, 'thing')} named above (not-checked)")
    return [*lines, _sum(report)]


def _time(report: VerifyReport) -> str:
    return f"in {report.seconds:.1f} s ({human_bytes(report.blob_bytes / max(report.seconds, 1e-9))}/s)"


def _sum(report: VerifyReport) -> str:
    return f"{counted(report.errors, 'error')}, {counted(report.warnings, 'warning')}"
