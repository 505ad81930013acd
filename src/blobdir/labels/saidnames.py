"""What label files say of an image: a path of this machine or another, a name, a split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import join, normpath
from typing import Final

_MACHINE: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/]*|[A-Za-z]:)?/")
"""How a path begins that isn't seen from a folder: of a machine, of a drive, of a server."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a label file says of an image.

    Attributes
    ----------
    name : str
        As it has it.
    parts : list of str
        Folders, and the name.
    split : str
    is_whole : bool
        It's the path on a machine, which isn't seen from a folder.
    is_from_top : bool
        It's seen from the folder that is packed.
    is_in_list : bool
        A line of a list says it; such a list needn't lie where its images do.
    """

    name: str
    parts: list[str]
    split: str = ""
    is_whole: bool = False
    is_from_top: bool = False
    is_in_list: bool = False


def parsed(name: str, near: str = "", split: str = "", *, keeps_backslashes: bool = False) -> Said:
    """The folders and the name that a label file says.

    Parameters
    ----------
    name : str
    near : str
        Folder of the label file.
    split : str
    keeps_backslashes : bool
        They are part of an image's name.
    """
    text = name if keeps_backslashes else name.replace("\\", "/")
    machine = _MACHINE.match(text)
    if machine is not None:
        text = text[machine.end() :]
        text = text.partition("?")[0] if "://" in machine[0] else text
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        whole = normpath(join(near if machine is None else "", *parts))
        parts = [part for part in whole.split("/") if part not in ("..", ".")]
        return Said(name, parts or [name], split, is_from_top=True)
    return Said(name, parts or [name], split, is_whole=machine is not None)
