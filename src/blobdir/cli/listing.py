"""``blobdir ls`` and ``blobdir tree``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from blobdir.cli.options import ADDRESS_HELP, CommonOptions, project_options
from blobdir.cli.output import long_line, write_names
from blobdir.cli.target import Opener, Target
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.filesystem import BlobDirFileSystem

_ROWS = 10_000
TREE_LIMIT = 20


@click.command("ls", epilog=ADDRESS_HELP)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("-l", "--long", is_flag=True, help="Mode, size in bytes, time in UTC.")
@click.option("-h", "--human", is_flag=True, help="With -l: sizes as 1.4K, 23M.")
@click.option("-R", "--recursive", is_flag=True, help="All files below, by path.")
@click.option("-d", "--directory", is_flag=True, help="A directory itself, not what it holds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array of objects.")
@click.help_option("--help")
@project_options
def ls_command(
    urls: tuple[str, ...],
    long: bool,
    human: bool,
    recursive: bool,
    directory: bool,
    as_json: bool,
    common: CommonOptions,
) -> None:
    """List a project, or folders and files in it.

    \b
    blobdir ls /data/lemons
    blobdir ls -l /data/lemons/train/img
    blobdir ls --json 's3://bucket/lemons/train/img/*.png'
    """
    opener = Opener(common)
    targets = [(target, path) for target in map(opener.open, urls) for path in target.expand()]
    if as_json:
        write_names(
            _json_lines(info for target, path in targets for info in _infos(target, path, recursive, directory))
        )
        return
    # Files first and then one folder after the other with its name above it, as ls does.
    listed = {True: [], False: []}  # type: dict[bool, list[tuple[Target, str]]]
    for target, path in targets:
        listed[target.filesystem.isdir(path) and not directory].append((target, path))
    for target, path in listed[False]:
        info = target.filesystem.info(path)
        write_names([long_line(info, path, human=human) if long else path])
    for i, (target, path) in enumerate(listed[True]):
        if len(targets) > 1:
            write_names([*([""] if i or listed[False] else []), f"{path or '/'}:"])
        write_names(_lines(target.filesystem, path, long, human, recursive))


def _infos(target: Target, path: str, recursive: bool, directory: bool) -> Iterator[dict[str, Any]]:
    fs = target.filesystem
    if directory or not fs.isdir(path):
        yield fs.info(path)
    elif recursive:
        for parent, _, _ in fs.walk(path):
            yield from fs.scandir(parent)
    else:
        yield from fs.scandir(path)


def _json_lines(infos: Iterator[dict[str, Any]]) -> Iterator[str]:
    before = "["
    for info in infos:
        yield before + json.dumps(info)
        before = ","
    yield "]" if before == "," else "[]"


def _lines(fs: BlobDirFileSystem, path: str, long: bool, human: bool, recursive: bool) -> Iterator[str]:
    if long:
        folders = (parent for parent, _, _ in fs.walk(path)) if recursive else iter([path])
        prefix = len(path) + 1 if path else 0
        for parent in folders:
            for info in fs.scandir(parent):
                yield long_line(info, info["name"][prefix:], human=human)
        return
    if recursive:
        prefix = len(path) + 1 if path else 0
        for parent, _, files in fs.walk(path):
            below = f"{parent[prefix:]}/" if parent[prefix:] else ""
            yield from (below + name for name in files)
        return
    rows = fs.view.children(fs.view.find(path))
    for first in range(rows.start, rows.stop, _ROWS):
        yield from fs.view.index.names_text(first, min(first + _ROWS, rows.stop))


@click.command("tree", epilog=ADDRESS_HELP)
@click.argument("url")
@click.option("-L", "--depth", type=click.IntRange(min=1), help="Levels to go down.")
@click.option("-d", "--dirs-only", is_flag=True, help="Directories only.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=TREE_LIMIT, show_default=True, help="Entries per directory; 0: all."
)
@project_options
def tree_command(url: str, depth: int | None, dirs_only: bool, limit: int, common: CommonOptions) -> None:
    """Draw a project, or a folder in it, as a tree.

    \b
    blobdir tree /data/lemons
    blobdir tree -L 2 --limit 5 s3://bucket/lemons/train
    """
    target = Opener(common).open(url)
    fs = target.filesystem
    for path in target.expand():
        write_names([path or fs.view.url])
        counts = [0, 0]
        write_names(_branches(fs, path, depth, dirs_only, limit, counts))
        write_names(["", f"{counted(counts[0], 'directory', 'directories')}, {counted(counts[1], 'file')}"])


def _branches(
    fs: BlobDirFileSystem, path: str, depth: int | None, dirs_only: bool, limit: int, counts: list[int]
) -> Iterator[str]:
    todo: list[tuple[str, str | None, str, int | None]] = [("", path, "", depth)]
    while todo:  # a line, and what is below it
        line, here, indent, levels = todo.pop()
        if line:
            yield line
        if here is None or levels == 0:
            continue
        _, folders, files = next(fs.walk(here, maxdepth=1, on_error="raise"))
        counts[0] += len(folders)
        counts[1] += len(files)
        entries = [(name, True) for name in folders] + [(name, False) for name in ([] if dirs_only else files)]
        entries.sort(key=lambda entry: entry[0].encode("utf-8", "surrogateescape"))
        # Folders are never left out: what is below them would go as well.
        shown = [entry for i, entry in enumerate(entries) if entry[1] or not limit or i < limit]
        left_out = len(entries) - len(shown)
        below: list[tuple[str, str | None, str, int | None]] = []
        for i, (name, is_folder) in enumerate(shown):
            last = i == len(shown) - 1 and not left_out
            folder = (f"{here}/{name}" if here else name) if is_folder else None
            deeper = None if levels is None else levels - 1
            below.append(
                (f"{indent}{'└── ' if last else '├── '}{name}", folder, indent + ("    " if last else "│   "), deeper)
            )
        if left_out:
            below.append((f"{indent}└── … and {left_out:,} more", None, "", None))
        todo += reversed(below)
