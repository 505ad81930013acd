"""Paths within a project, as users spell them."""

from __future__ import annotations

from typing import Any

from fsspec.utils import stringify_path


def stripped(path: Any) -> Any:
    """A path without the protocol, slashes around it, and components that say nothing; of a list, all of them."""
    if isinstance(path, list):
        return [stripped(one) for one in path]
    path = stringify_path(path)
    if path.startswith("blobdir://"):  # "::" and what follows is the rest of a chain; elsewhere, part of a name
        path = path.removeprefix("blobdir://").partition("::")[0]
    return canonical(path.strip("/"))


def canonical(path: str) -> str:
    """A path without components that say nothing: ``a//b`` and ``a/./b`` are ``a/b``; ``a/.`` says: a folder."""
    if "//" not in path and "/./" not in path and path[:2] != "./" and path != ".":
        return path
    parts = path.split("/")
    return "/".join([part for part in parts[:-1] if part not in ("", ".")] + parts[-1:]) if path != "." else ""
