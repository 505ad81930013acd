"""Which instance of the filesystem a program gets: fsspec shares them, so each must mean one project, as it is now."""

from __future__ import annotations

import difflib
import inspect
import os
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fsspec.spec import _Cached

from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

M = TypeVar("M", bound="Callable[..., Any]")

_OF_FSSPEC = frozenset(
    (
        "asynchronous",
        "batch_size",
        "listings_expiry_time",
        "loop",
        "max_paths",
        "skip_instance_cache",
        "use_listings_cache",
    )
)
"""Options that fsspec hands to every filesystem, or takes for itself."""


class SharedInstances(_Cached):
    """Makes and shares instances: a relative path is that of now, an instance that is got again looks for changes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # of a metaclass
        """Give an instance; UsageError for options that there aren't."""
        if unknown := sorted(kwargs.keys() - _OF_FSSPEC - _options(cls)):
            near = difflib.get_close_matches(unknown[0], _options(cls), n=1)
            raise UsageError(f"{unknown[0]}: there is no such option{f'; did you mean {near[0]}?' if near else ''}")
        protocol = args[1] if len(args) > 1 else kwargs.get("target_protocol")
        backend = args[3] if len(args) > 3 else kwargs.get("fs")
        if args:
            args = (_absolute(args[0], protocol, backend), *args[1:])
        elif "fo" in kwargs:
            kwargs = kwargs | {"fo": _absolute(kwargs["fo"], protocol, backend)}
        made = super().__call__(*args, **kwargs)
        made.look_again()
        return made


def _absolute(place: Any, protocol: str | None, backend: Any) -> Any:
    """A path on this machine, as it is from everywhere; anything else as it is."""
    if backend is not None or protocol not in (None, "", "file", "local") or not isinstance(place, str | os.PathLike):
        return place
    text = os.fspath(place)
    if not text or not isinstance(text, str) or "://" in text or "::" in text:
        return place
    return os.path.abspath(text)


@cache
def _options(kind: type) -> frozenset[str]:
    """Names of what can be said when an instance is made."""
    return frozenset(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"}  # type: ignore[misc]  # of the class itself


def of_one_tree(method: M) -> M:
    """Have a method that looks more than once see one tree from beginning to end, whoever refreshes meanwhile."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self.still(), *args, **kwargs)

    return cast("M", call)
