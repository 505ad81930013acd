"""Copies many small files, in a process of its own."""

from __future__ import annotations

import os
from typing import Final

from blobdir.tarwriting.reading import FileReader, UnreadableError, texts_of

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_files(folder: str, names: bytes, target: str | None, root: str) -> tuple[int, list[tuple[str, str, str]]]:
    """Copy files of one folder into another, where there mustn't be any of their names.

    Parameters
    ----------
    folder : str
    names : bytes
        Names, each followed by a NUL.
    target : str or None
        None: only look whether they can be read.
    root : str
        Links that lead out of this folder aren't followed; empty: all are.

    Returns
    -------
    int
        How many were copied.
    list of (code, name, message)
        What couldn't be read.

    Raises
    ------
    OSError
        The target can't be written.
    """
    copied = 0
    problems: list[tuple[str, str, str]] = []
    try:
        reader = FileReader(folder, root)
    except OSError as error:
        text = f"can't be read: {error.strerror}"
        return 0, [("unreadable", os.fsdecode(name), text) for name in texts_of(names)]
    to = b"" if target is None else os.fsencode(target) + b"/"
    try:
        for name in texts_of(names):
            try:
                if target is None:
                    reader.look(name)
                elif not _copy(reader, name, to):
                    problems.append(("changed", os.fsdecode(name), "changed while it was read"))
                    continue
                copied += 1
            except UnreadableError as error:
                problems.append((error.args[0], os.fsdecode(name), error.args[1]))
    finally:
        reader.close()
    return copied, problems


def _copy(reader: FileReader, name: bytes, to: bytes) -> bool:
    """Copy a file; False, and no file, where a large one changed on the way."""
    data, _, rest = reader.read(name, 0, None)
    fd = os.open(to + name, _CREATE, 0o666)
    try:
        _write(fd, data)
        if rest is None:
            return True
        while more := rest.more():
            _write(fd, more)
    finally:
        os.close(fd)
    if rest.ended_as_it_was():
        return True
    os.unlink(to + name)
    return False


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        data = data[written:]
        written = os.write(fd, data)
