"""Folders that are the user's own. What lies in one that others own, can write or can replace may be theirs."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from blobdir.errors import UsageError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def not_own(folder: Path) -> str:
    """Why a folder isn't the user's own; empty where it is, and where it isn't there and could be made.

    Its parents count too: who can write one of them, without a sticky bit, can put another folder in its place.
    """
    given, real = Path(os.path.abspath(folder)), Path(os.path.realpath(folder))
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.stat(real)
        if not stat.S_ISDIR(found.st_mode):
            return f"{folder} isn't a folder"
        if not is_own(found):
            return f"{folder} belongs to another user, or others can write it"
    for parent in sorted({*given.parents, *real.parents}):
        with suppress(FileNotFoundError, NotADirectoryError):
            if why := _of_parent(parent):
                return why
    return ""


def is_own(found: os.stat_result) -> bool:
    """Whether a file or folder is the user's, and nobody else may write it."""
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS


def _of_parent(parent: Path) -> str:
    found = os.stat(parent)
    if found.st_uid not in (os.geteuid(), 0, os.stat("/").st_uid):
        return f"{parent}, above it, belongs to another user"
    others = found.st_mode & _OTHERS
    if not others or found.st_mode & stat.S_ISVTX or (others == stat.S_IWGRP and _is_private(found.st_gid)):
        return ""
    return f"others can write {parent}, above it"


def _is_private(gid: int) -> bool:
    """Whether a group is that of the user alone, as many systems give each user one."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and not {*group.gr_mem} - {user.pw_name}


def make_own(folder: Path) -> None:
    """Make a folder for the user alone, or make it so if it's the user's.

    Raises
    ------
    UsageError
        It is there, and somebody else's.
    OSError
    """
    if not os.path.lexists(folder) and (why := not_own(folder)):  # what would be made there jams somebody else's
        raise UsageError(f"{folder}: {why}, so nothing is kept there")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UsageError(f"{folder}: isn't a folder of yours, so nothing is kept there")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    if why := not_own(folder):
        raise UsageError(f"{folder}: {why}, so nothing is kept there")
