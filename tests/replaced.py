"""A loose file of a project that somebody replaces, or writes to, while others read it."""

from __future__ import annotations

import os
from pathlib import Path

from blob_builder import Builder


class Replaced:
    """A project on this machine with a loose file; behind a server where `url` says so.

    Attributes
    ----------
    file : Path
    url : str
    ticks : int
        The file's time, in seconds: a later one with each `put`.
    """

    def __init__(self, root: Path, path: str, url: str = "") -> None:
        made = Builder(root)
        made.blob("train", "a", {"1.jpg": b"1" * 600})
        self.file, self.url = made.loose(path, b""), url or str(root)
        self.ticks = 1_600_000_000

    def put(self, letter: bytes, size: int, how: str = "renamed") -> None:
        """Have it hold a letter so many times: in another file, or ``in place``."""
        beside = self.file.with_name(".new") if how == "renamed" else self.file
        beside.write_bytes(letter * size)
        self.ticks += 10  # web servers know whole seconds
        os.utime(beside, (self.ticks, self.ticks))
        if how == "renamed":
            os.replace(beside, self.file)
