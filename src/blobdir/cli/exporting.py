"""``blobdir export``: a project in another form."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from blobdir.cli.options import CommonOptions, project_options
from blobdir.cli.output import INCOMPLETE, Bars, complain, human_bytes, write_lines
from blobdir.cli.target import Whole
from blobdir.errors import UsageError
from blobdir.wording import counted

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _bytes(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if found is None:
        raise click.BadParameter("give a number of bytes, with K, M, G or T behind it if you like")
    return int(found[1]) * _UNITS[found[2]]


def _mask(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", text):
        raise click.BadParameter("give an octal number such as 027")
    return int(text, 8)


@click.command("export")
@click.argument("form", metavar="erofs", type=click.Choice(["erofs"]), expose_value=False)
@click.argument("project")
@click.option("-o", "--output", metavar="FILE", required=True, help="The image.")
@click.option("--replace", is_flag=True, help="Replace a file that is there already.")
@click.option("--uid", type=int, default=-1, metavar="N", help="Owner of everything. Default: that of the files.")
@click.option("--gid", type=int, default=-1, metavar="N", help="Group of everything. Default: that of the files.")
@click.option("--umask", default="0", metavar="OCTAL", callback=_mask, help="Permission bits to take away.")
@click.option("--private", is_flag=True, help="Only the owner may enter, whatever the modes of the files.")
@click.option(
    "--unaligned",
    type=click.Choice(["copy", "refuse"]),
    default="copy",
    show_default=True,
    help="Images that don't begin at a multiple of 512 bytes of their blob.",
)
@click.option(
    "--copy-at-most",
    default="16G",
    show_default=True,
    metavar="BYTES",
    callback=_bytes,
    help="Plain files that the image may take in; more is refused.",
)
@project_options
def export_command(
    *,
    project: str,
    output: str,
    replace: bool,
    uid: int,
    gid: int,
    umask: int,
    private: bool,
    unaligned: str,
    copy_at_most: int,
    common: CommonOptions,
) -> int:
    """Write a project as an EROFS image that the Linux kernel mounts.

    The image is small: names, sizes and places. The bytes of blob images stay in the blobs, which are named to the
    kernel when it is mounted; plain files and annotations are copied. It says what the project was when it was made.
    Exit status 7 says that something can't be read in it, which is named.

    \b
    blobdir export erofs /data/lemons -o lemons.erofs
    """
    from blobdir.discovery import DiscoveryOptions
    from blobdir.erofs.contents import ImageOptions
    from blobdir.erofs.images import write_image
    from blobdir.opening import OpenOptions, open_tree
    from blobdir.packing.putting import refuse_known

    target = Path(output)
    if target.exists() and not replace:
        raise UsageError(f"{target}: is there already; --replace writes it anew")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no such folder to put it in")
    refuse_known([target])
    given = dict(common.filesystem)
    index = given.pop("index")
    options = ImageOptions(uid, gid, umask, private, unaligned, copy_at_most)  # type: ignore[arg-type]  # click has checked it
    began = time.perf_counter()
    with Bars(common.quiet) as bars, Whole(common) as whole:
        whole.begin(project)
        tree = open_tree(
            project,
            target_options=common.storage,
            options=OpenOptions(DiscoveryOptions(**given), index),
            progress=bars,
        )
        image = write_image(tree, target, options, for_copies=True, check=whole.check, progress=bars)
    if not common.quiet:
        seconds = time.perf_counter() - began
        each = f"{(image.size - image.copied_bytes) / image.rows:.0f} bytes an entry"
        copied = f"{human_bytes(image.copied_bytes)} of files copied"
        rows = counted(image.rows, "entry", "entries")
        write_lines([f"{target}: {rows}, {human_bytes(image.size)}, {each}, {copied}, {seconds:.2f} s"])
    for reason in image.unreadable:
        complain("can't be read in it", reason)
    return INCOMPLETE if image.unreadable else 0
