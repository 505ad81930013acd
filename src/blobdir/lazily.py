"""Attributes that are computed when they are asked for first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 - as in functools
    """What `functools.cached_property` is from Python 3.12 on: without a lock.

    That of Python 3.11 is one for all objects of a class, held while it's computed: a disk that doesn't answer would
    hold up all projects, and in a process that was forked meanwhile it would never be free. So two threads may compute
    it both; all get what the first one has.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self._name = compute, compute.__name__
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        """What was computed; it's found without this from then on."""
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._compute(instance))  # type: ignore[no-any-return]
