"""What goes to the terminal: names, sizes, times, progress."""

from __future__ import annotations

import json
import re
import stat
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from blobdir.wording import counted, named_once, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from blobdir.packing import Problem

MOST_OF_A_PATH, MOST_OF_A_MESSAGE = 4096, 1000
"""Characters of a line's parts: a project can have names and texts of any length."""
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half characters that stand for no byte: JSON can have them."""


def say(*parts: str, most: int = MOST_OF_A_MESSAGE) -> None:
    """Say something on standard error, in one line.

    Parameters
    ----------
    *parts : str
        Have colons between them: paths and the like, and what is said of them.
    most : int
        Characters of the last part at the most.
    """
    import click

    *paths, message = parts
    message = named_once(paths[-1], message) if paths else message
    click.echo(": ".join([*(one_line(path, MOST_OF_A_PATH) for path in paths), one_line(message, most)]), err=True)


def complain(*parts: str, most: int = MOST_OF_A_MESSAGE) -> None:
    """`say` what isn't as it should be."""
    say("blobdir", *parts, most=most)


def write_names(names: Iterable[str]) -> None:
    """Write names to standard output, each in a line: as they are, for other programs; to a terminal, to be shown."""
    terminal = sys.stdout.isatty()
    _write_all(one_line(name) if terminal else name for name in names)


def write_lines(lines: Iterable[str]) -> None:
    """Write what people read to standard output, line by line, wherever that goes."""
    _write_all(one_line(line, MOST_OF_A_PATH) for line in lines)


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a value as JSON to standard output: the same to a terminal, since it's plain ASCII."""
    _write([json.dumps(value, indent=indent)])


def _write_all(lines: Iterable[str]) -> None:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == 4096:
            _write(batch)
            batch = []
    _write(batch)


def _write(lines: list[str]) -> None:
    if lines:
        text = _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", "\n".join(lines) + "\n")
        if hasattr(sys.stdout, "buffer"):
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
            sys.stdout.buffer.flush()
        else:
            sys.stdout.write(text)


def human_bytes(size: float) -> str:
    """A size in bytes for people: ``512``, ``1.4K``, ``23M``."""
    for unit in ("", "K", "M", "G", "T"):
        if abs(size) < 1024 or unit == "T":
            return f"{size:.0f}{unit}" if not unit or abs(size) >= 10 else f"{size:.1f}{unit}"
        size /= 1024
    raise AssertionError("unreachable")


def long_line(info: dict[str, Any], name: str, *, human: bool) -> str:
    """One line as that of ``ls -l``: mode, size in bytes, time in UTC, name."""
    mode = stat.filemode(stat.S_IFLNK | 0o777 if info.get("islink") else info["mode"])
    size = human_bytes(info["size"]) if human else str(info["size"])
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(info.get("mtime", 0)))
    arrow = f" -> {info['destination']}" if info.get("islink") else ""
    return f"{mode} {size:>12} {when} {name}{arrow}"


SHOWN = 20
"""Problems that are listed one by one."""
INCOMPLETE = 7
"""Exit status where something isn't in the result."""


_KINDS = {
    "image": ("image", "can't be used"),
    "unseen": ("folder", "can't be listed in full"),
    "undrawn": ("annotation", "can't be drawn in full"),
    "meta": ("meta.json", "can't be used"),
}


def name_by_code(problems: Iterable[Problem], more: str = "") -> None:
    """Name problems; of each code, those beyond the first are counted, and `more` says where all are."""
    shown: Counter[str] = Counter()
    for problem in problems:
        shown[problem.code] += 1
        if shown[problem.code] <= SHOWN:
            complain(problem.code, problem.path, problem.message)
    for code, count in shown.items():
        if count > SHOWN:
            complain(code, f"and {count - SHOWN:,} more{more}")


def others_left(paths: Sequence[str]) -> str:
    """That files and folders belong to no image, and so aren't in what was made of some: the end of a line."""
    more = f" and {len(paths) - 3:,} more" if paths[3:] else ""
    return f"what belongs to no image isn't in it: {', '.join(paths[:3])}{more}"


def name_problems(problems: Sequence[Problem], what: str, **others: str) -> int:
    """Name what couldn't be used, and count what costs something; the exit status for that.

    Parameters
    ----------
    problems : sequence of Problem
    what : str
        What annotations that can't be used cost, as in ``their images aren't in the subset``.
    **others
        What problems of other kinds cost: ``image``, ``unseen``, ``undrawn``, ``meta``.
    """
    for problem in problems[:SHOWN]:
        complain(problem.path, problem.message)
    if len(problems) > SHOWN:
        complain(f"and {len(problems) - SHOWN:,} more")
    costs = Counter(problem.code if problem.code in others else "" for problem in problems if problem.costs)
    for kind, count in costs.items():
        one, why = _KINDS.get(kind, ("annotation", "can't be used"))
        complain(f"{counted(count, one)} {why}: {others.get(kind, what)}")
    return INCOMPLETE if costs else 0


_UNITS = {
    "writing annotations": "image",
    "decoding": "image",
    "images": "image",
    "annotations": "annotation",
    "copying files": "file",
    "comparing files": "file",
}
"""What steps count that don't count what the others of their command do."""


class Bars:
    """Progress bars for the steps of one long job; they appear after half a second, on a terminal only."""

    def __init__(self, quiet: bool = False, *, unit: str = "it", scale: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._unit, self._scale = unit, scale
        self._bar: Any = None
        self._step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` things of `step`; 0 where the total isn't known."""
        if not self._shown:
            return
        if self._bar is None or step != self._step:
            from tqdm import tqdm

            self.__exit__(None, None, None)
            self._bar = tqdm(
                total=total or None,
                desc=step,
                delay=0.5,
                leave=False,
                file=sys.stderr,
                unit=f" {_UNITS[step]}s" if step in _UNITS else self._unit,
                unit_scale=self._scale,
            )
            self._step = step
        self._bar.update(done - self._bar.n)
