"""YAML, by PyYAML, which only YOLO's ``data.yaml`` needs: an extra."""

from __future__ import annotations

from typing import Any, Final

from blobdir.errors import UsageError
from blobdir.labels.files import decoded
from blobdir.labels.model import LabelError, brief

_UNDONE: Final = object()


def _library() -> Any:
    try:
        import yaml  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError("YAML needs PyYAML; install it: pip install 'blobdir[labels]'") from error
    return yaml


def read_yaml(data: bytes) -> dict[str, Any]:
    """Content of a file that must hold a mapping.

    Raises
    ------
    LabelError
        It doesn't; the message says at which line.
    UsageError
        PyYAML isn't installed.
    """
    yaml = _library()
    try:
        value = yaml.safe_load(decoded(data))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise LabelError(
            f"{line}isn't YAML: {getattr(error, 'problem', None) or 'it holds a character that none has'}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise LabelError(f"isn't YAML that can be read: {error}") from None
    try:
        value = _joined(value, {})
    except RecursionError:
        raise LabelError("isn't YAML that can be read: it's nested too deeply") from None
    if not isinstance(value, dict):
        raise LabelError("holds no keys with values, as names: […]")
    return {str(key): one for key, one in value.items()}


def _joined(value: Any, known: dict[int, Any]) -> Any:
    """A value whose texts have whole characters: JSON, which is YAML, may write one as two halves.

    Raises
    ------
    LabelError
        A text has one half, or a value holds itself.
    """
    if isinstance(value, str):
        try:
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise LabelError(f"holds half a character: {brief(value)}") from None
    if not isinstance(value, (dict, list, tuple, set)):
        return value
    if id(value) not in known:  # what is there many times, by its anchor, is made once
        known[id(value)] = _UNDONE
        if isinstance(value, dict):
            known[id(value)] = {_joined(key, known): _joined(one, known) for key, one in value.items()}
        else:
            known[id(value)] = type(value)(_joined(one, known) for one in value)
    if known[id(value)] is _UNDONE:
        raise LabelError("isn't YAML that can be read: a value in it holds itself")
    return known[id(value)]


def write_yaml(value: dict[str, Any]) -> bytes:
    """Text of a mapping, lists in one line each."""
    found: str = _library().safe_dump(value, default_flow_style=None, allow_unicode=True, sort_keys=True)
    return found.encode()
