"""A stand-in for the SDK's class, so that the standard library can pickle it as the SDK does."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest


@dataclass
class BlobImageInfo:
    name: Any
    offset_start: Any
    offset_end: Any


BlobImageInfo.__module__ = "supervisely.api.image_api"


class StandIn:
    """Pickles and unpickles with the stand-in in the place of the SDK, and only for as long as that takes."""

    Info = BlobImageInfo

    @staticmethod
    @contextlib.contextmanager
    def _installed() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("supervisely", "supervisely.api", "supervisely.api.image_api"):
                module = ModuleType(name)
                patch.setitem(sys.modules, name, module)
            module.BlobImageInfo = BlobImageInfo
            yield

    def dumps(self, value: Any, protocol: int = 4, *, python: bool = False) -> bytes:
        """Pickle; with `python`, by the pickler that is written in Python, which frames differently."""
        with self._installed():
            if not python:
                return pickle.dumps(value, protocol)
            out = io.BytesIO()
            pickle._Pickler(out, protocol).dump(value)
            return out.getvalue()

    def load_all(self, data: bytes) -> list[Any]:
        """Unpickle everything in a file."""
        stream, found = io.BytesIO(data), []
        with self._installed():
            while stream.tell() < len(data):
                found.append(pickle.load(stream))
        return found
