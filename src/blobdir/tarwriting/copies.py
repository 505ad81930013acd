"""Copies many small files, in a process of its own."""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING, Final

from blobdir.tarwriting.reading import FileReader, UnreadableError, texts_of

if TYPE_CHECKING:
    from blobdir.tarwriting.place import Place

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_files(
    folder: str, names: bytes, target: Place | None, root: str
) -> tuple[array[int], list[tuple[str, str, str]]]:
    """Copy files of one folder into another, where there mustn't be any of their names.

    Parameters
    ----------
    folder : str
    names : bytes
        Names, each followed by a NUL.
    target : Place or None
        None: only look whether they can be read.
    root : str
        Links that lead out of this folder aren't followed; empty: all are.

    Returns
    -------
    array of int
        Bytes of each that was copied; -1 of the others.
    list of (code, name, message)
        What couldn't be read.

    Raises
    ------
    OSError
        The target can't be written.
    """
    sizes = array("q")
    problems: list[tuple[str, str, str]] = []
    try:
        reader = FileReader(folder, root)
    except OSError as error:
        text = f"can't be read: {error.strerror}"
        problems = [("unreadable", os.fsdecode(name), text) for name in texts_of(names)]
        return array("q", [-1]) * len(problems), problems
    to = -1
    try:
        to = -1 if target is None else target.open()
        for name in texts_of(names):
            try:
                size = reader.look(name)[1] if target is None else _copy(reader, name, to)
            except UnreadableError as error:
                problems.append((error.args[0], os.fsdecode(name), error.args[1]))
                size = -1
            else:
                if size < 0:
                    problems.append(("changed", os.fsdecode(name), "changed while it was read"))
            sizes.append(size)
    except OSError as error:
        if target is not None and isinstance(error.filename, bytes | str):
            error.filename = os.path.join(target.root, target.path, os.fsdecode(error.filename))
        raise
    finally:
        reader.close()
        if to >= 0:
            os.close(to)
    return sizes, problems


def _copy(reader: FileReader, name: bytes, to: int) -> int:
    """Copy a file into an open folder; its bytes, or -1, and no file, where a large one changed on the way."""
    data, _, rest = reader.read(name, 0, None)
    fd = os.open(name, _CREATE, 0o666, dir_fd=to)
    size = len(data)
    try:
        _write(fd, data)
        if rest is None:
            return size
        while more := rest.more():
            _write(fd, more)
            size += len(more)
    finally:
        os.close(fd)
    if rest.ended_as_it_was():
        return size
    os.unlink(name, dir_fd=to)
    return -1


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        data = data[written:]
        written = os.write(fd, data)
