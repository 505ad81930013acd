"""What is copied where: fsspec's own rules, but a name that is there is never taken for a pattern.

fsspec's methods decide by the characters of a path whether it's a pattern; ``a[1].jpg`` is the name of a file as well.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from fsspec import AbstractFileSystem
from fsspec.utils import other_paths, stringify_path

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = frozenset("*?[")
"""Characters of patterns."""


def is_pattern(fs: AbstractFileSystem, path: Any) -> bool:
    """Whether a path, without its protocol, is a pattern: it has its characters, and there is no such name."""
    return isinstance(path, str) and not MAGIC.isdisjoint(path) and not fs.exists(path)


def expand(
    fs: AbstractFileSystem,
    paths: str | os.PathLike[str] | Iterable[str],
    recursive: bool = False,
    maxdepth: int | None = None,
    *,
    assume_literal: bool = False,
    **kwargs: Any,
) -> list[str]:
    """Paths that a path or pattern, or many, stand for; with `recursive`, with all that is below them.

    Parameters
    ----------
    fs : AbstractFileSystem
    paths : str, or iterable of str
    recursive, maxdepth, assume_literal
        As of `fsspec.AbstractFileSystem.expand_path`.

    Raises
    ------
    FileNotFoundError
        One of them stands for nothing.
    """
    found: set[str] = set()
    for one in [paths] if isinstance(paths, str | os.PathLike) else paths:
        plain = assume_literal or not is_pattern(fs, fs._strip_protocol(one))  # noqa: SLF001  # fsspec's own name for it
        try:
            found.update(AbstractFileSystem.expand_path(fs, [one], recursive, maxdepth, assume_literal=plain, **kwargs))
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "no such file, and nothing that fits it", str(one)) from None
    if not found:
        raise FileNotFoundError(paths)
    return sorted(found)


def plan(
    fs: AbstractFileSystem,
    given: str | list[str],
    target: str,
    *,
    into: bool,
    recursive: bool = False,
    maxdepth: int | None = None,
    **kwargs: Any,
) -> dict[str, str]:
    """Path of each file and folder that is copied -> the path that it gets.

    Parameters
    ----------
    fs : AbstractFileSystem
        Where the sources are.
    given : str, or list of str
        Paths or patterns. Of a list, everything goes right into `target`.
    target : str
    into : bool
        Whether `target` is a folder, so that a file or folder gets a place in it; with a slash at its end, the content
        of a folder does.
    recursive, maxdepth
        Without the one, or with the other, folders are left out.

    Returns
    -------
    dict
        Sorted; empty if nothing but folders was given, and those are left out.

    Raises
    ------
    FileNotFoundError
        One of the sources stands for nothing.
    """
    one = not isinstance(given, list)
    text = stringify_path(given) if one else ""
    path = fs._strip_protocol(text)  # noqa: SLF001
    pattern = one and is_pattern(fs, path)
    sources = expand(fs, given, recursive=recursive, maxdepth=maxdepth, **kwargs)
    for source in () if one else sources:
        fs.info(source)  # each is there before one is copied
    if one and (not recursive or maxdepth is not None):
        sources = [source for source in sources if not fs.isdir(source)]
    if not sources:
        return {}
    below = len(sources) == 1 if pattern else one and into and not text.endswith("/")
    if below and "/" not in (sources[0] if pattern else path):  # fsspec would lose the only component
        places = [f"{target.rstrip('/')}/{source}" for source in sources]
    else:
        places = other_paths(sources, target, exists=below, flatten=not one)
    return dict(zip(sources, places, strict=True))
