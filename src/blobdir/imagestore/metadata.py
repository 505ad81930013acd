"""What is known of images, as JSON objects: a mapping beside that of their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blobdir.errors import AnnotationError, UsageError
from blobdir.imagestore.pairs import Items, Values
from blobdir.jsontext import read_certain, read_json, write_json

if TYPE_CHECKING:
    from blobdir.imagestore.store import ImageStore


class Metadata(MutableMapping[str, dict[str, Any]]):
    """Name -> what is known of the image, of those of which anything is; as ``store.metadata``.

    Kept as ``meta/<image>.json`` of the dataset, where the SDK and the platform have it. An empty object is the same as
    none. It goes with its image, and stays when that gets other bytes.
    """

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    def __getitem__(self, name: str) -> dict[str, Any]:
        found = self._store.get_metadata(name)
        if not found:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, value: Mapping[str, Any]) -> None:
        self._store.put_metadata({name: value})

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._store.put_metadata({name: {}})

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs())

    def __len__(self) -> int:
        return sum(1 for _ in self.pairs())

    def pairs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names of the images that are there now, with what is known of them when it's read; as ``items()``."""
        for name in self._store.names:
            with suppress(KeyError):  # removed meanwhile
                if found := self._store.get_metadata(name):
                    yield name, found

    def items(self) -> Items[dict[str, Any]]:
        """Names with what is known of the images."""
        return Items(self)

    def values(self) -> Values[dict[str, Any]]:
        """What is known of the images, in the order of their names."""
        return Values(self)

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(self._store.get_metadata(name))
        except KeyError:
            return False

    def update(self, *given: Any, **named: Any) -> None:
        """Have many be others, in one commit."""
        self._store.put_metadata(dict(*given, **named))

    def __repr__(self) -> str:
        return f"<metadata of {self._store!r}>"


def encoded(name: str, value: Any) -> bytes:
    """The file of an image's metadata.

    Raises
    ------
    UsageError
        They can't be written as JSON, or have keys that aren't texts. Tuples are lists when they are read.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{name}: metadata is a {type(value).__name__}, and must be a dictionary; nothing was written")
    try:
        data = write_json(dict(value))
        read_certain(data)
        _check_keys(value)
    except AnnotationError as error:
        raise UsageError(f"{name}: metadata {error}; nothing was written") from error
    except TypeError as error:
        raise UsageError(f"{name}: metadata can't be written as JSON: {error}; nothing was written") from error
    return data


def _check_keys(value: Any) -> None:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"its key {key!r} isn't a text")
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for one in value:
        _check_keys(one)


def decoded(path: str, data: bytes | None) -> dict[str, Any]:
    """What is in such a file; nothing where there is none.

    Raises
    ------
    AnnotationError
        It isn't an object of JSON.
    """
    if data is None:
        return {}
    try:
        value = read_json(data)
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise AnnotationError(f"{path}: isn't an object")
    return value
