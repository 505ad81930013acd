"""Which instance of the filesystem a program gets: fsspec shares them, so each must mean one project, as it is now."""

from __future__ import annotations

import difflib
import inspect
import os
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fsspec.spec import _Cached

from blobdir.errors import UsageError
from blobdir.sources.places import settled

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
_PLACE = ("fo", "target_protocol", "target_options", "fs")
"""What says where a project is, in the order in which it may be given without names."""


class SharedInstances(_Cached):
    """Makes and shares instances: a relative path is that of now, an instance that is got again looks for changes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # of a metaclass
        """Give an instance; UsageError for options that there aren't."""
        if unknown := sorted(kwargs.keys() - _OF_FSSPEC - _options(cls)):
            near = difflib.get_close_matches(unknown[0], _options(cls), n=1)
            raise UsageError(f"{unknown[0]}: there is no such option{f'; did you mean {near[0]}?' if near else ''}")
        given = dict(zip(_PLACE, args, strict=False)) | kwargs
        place = given.get("fo", "")
        if isinstance(place, str | os.PathLike) and isinstance(text := os.fspath(place), str):
            known = text, given.get("target_protocol"), given.get("target_options"), given.get("fs")
            found = dict(zip(("fo", "target_options", "fs"), settled(*known), strict=True))
            first = [found.get(name, value) for name, value in zip(_PLACE, args, strict=False)]
            args = (*first, *args[len(first) :])
            kwargs = {name: found.get(name, value) for name, value in kwargs.items()}
        made = super().__call__(*args, **kwargs)
        made.look_again()
        return made


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
