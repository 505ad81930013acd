"""Random trees of symbolic links in a project, and a plain walk over them: where the kernel would get to."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

OUT = "out"
FOLDERS = ("a", "a/b", "d1/d2", "ds/img", "ds/ann", "ds/deep", "other/img", "other/ann", "other/raw", "top")
FORMAT = ("img", "ann", "masks_human", "meta")
"""Links of these names in a dataset count as folders."""


def make_tree(root: Path, seed: int, links: int = 25) -> None:
    """Fill a folder: each file's content is its path. Beside the folder are files of the same names, and an alias."""
    chance = random.Random(seed)
    here = [folder for folder in FOLDERS if not folder.endswith(FORMAT) or chance.random() < 0.5]
    for folder in (*here, "..", "../outside/img"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in ("f.png", "g.json"):
            (root / folder / name).write_text(f"{folder}/{name}")
    (root / "meta.json").write_text("{}")
    (root.parent / "alias").symlink_to(root)
    (root.parent / "into").symlink_to(root / "d1/d2")
    folders, made = [*here, ""], []
    for i in range(links):
        is_format = chance.random() < 0.3
        folder = chance.choice(("ds", "other", "a")) if is_format else chance.choice(folders)
        name = chance.choice(FORMAT) if is_format else f"l{i}"
        path = root / folder / name
        if os.path.lexists(path):
            continue
        path.symlink_to(_target(chance, root, folder, made))
        made.append(f"{folder}/{name}".lstrip("/"))


def _target(chance: random.Random, root: Path, folder: str, made: list[str]) -> str:
    to = chance.choice([*FOLDERS, *made, *made])
    names = ["..", "..", "img", "ann", "f.png", ".", "", *made[-3:]]
    more = [chance.choice(names) for _ in range(chance.choice((0, 0, 1, 2, 3)))]
    more += chance.choice([[], ["f.png"], ["..", "f.png"], ["..", "..", "f.png"], ["..", "other", "f.png"]])
    start = chance.choice(("relative", "relative", "relative", "absolute", "alias", "into", "up"))
    head = {
        "relative": os.path.relpath(root / to, root / folder),
        "absolute": f"{root}/{to}",
        "alias": f"{root.parent}/alias/{to}",
        "into": f"{root.parent}/into",
        "up": "..",
    }[start]
    return "/".join([head, *more])


def paths_of(root: Path) -> Iterator[str]:
    """Paths of all links, and of some names behind them."""
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.relpath(os.path.join(folder, name), root)
            yield path
            if os.path.islink(os.path.join(folder, name)):
                for below in ("f.png", "g.json", "img/f.png", "l1", "l3.png", "l7/f.png"):
                    yield f"{path}/{below}"


def walk(root: Path, path: str) -> str:
    """The file or folder of the project that a path leads to; `OUT` where a link goes out of the project on the way.

    Raises
    ------
    OSError
        It leads nowhere, in circles, or through a file.
    """
    (root / path).stat()  # the kernel's word
    real, todo = "/", [*reversed(path.split("/")), *reversed(str(root).split("/"))]
    is_in = False
    while todo:
        name = todo.pop()
        if name not in ("", "."):
            at = os.path.normpath(os.path.join(real, name))  # nothing in `real` is a link
            if os.path.islink(at):
                target = os.readlink(at)
                todo += target.split("/")[::-1]
                real = "/" if target.startswith("/") else real
                is_in = is_in and not target.startswith("/")
            else:
                real = at
        inside = f"{real}/".startswith(f"{root}/")
        if is_in and not inside:
            return OUT
        is_in = inside
    return os.path.relpath(real, root) if is_in else OUT
