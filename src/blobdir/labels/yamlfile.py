"""YAML, by PyYAML, which only YOLO's ``data.yaml`` needs: an extra."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from blobdir.errors import UsageError
from blobdir.labels.files import decoded, without_mark
from blobdir.labels.model import LabelError, brief

_NEXT_LINE: Final = "\x85"
_UNDONE: Final = object()
_BEFORE: Final = re.compile(rb"(?:\s+|#[^\n]*|%[^\n]*|---(?=\s))*")
"""What may stand before the first key."""
_KEY: Final = re.compile(rb"(?P<indent> *)(?P<key>\"[^\"]*\"\s*|'[^']*'\s*|[^\s#\-\"'\[{][^:]*|-[^\s:][^:]*):(?=\s|$)")
"""A line that has a key."""
_MARKS: Final = re.compile(r"(?:[&!]\S*\s+)+")
"""Anchors and kinds in front of a key."""
_PARSED_BYTES: Final = 1 << 20
"""YAML in braces is read up to this size to know it; PyYAML takes some seconds for that."""
_IN_BRACES: Final = re.compile(rb"[{,]\s*(?P<key>\"[^\"]*\"|'[^']*'|\w[\w.\- ]*)\s*:")


def _library() -> Any:
    try:
        import yaml  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError("YAML needs PyYAML; install it: pip install 'blobdir[labels]'") from error
    return yaml


def _loader(yaml: Any) -> Any:
    """PyYAML's safe loader; it takes the last of two values of one key without a word, which this one refuses."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # PyYAML's
            known: dict[tuple[str, str], Any] = {}
            for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
                if not isinstance(key, yaml.ScalarNode):
                    continue
                first = known.setdefault((key.tag, key.value), value)
                if (first.tag, first.value) != (value.tag, value.value):
                    line = key.start_mark.line + 1
                    raise LabelError(f"line {line}: has the key {brief(key.value)} a second time; leave one")
            return super().construct_mapping(node, deep)

    return Loader


def _dumper(yaml: Any) -> Any:
    """PyYAML's safe dumper; it writes what YAML takes for the end of a line as it is, and would read a space."""

    class Dumper(yaml.SafeDumper):
        pass

    def told(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _NEXT_LINE in text else None)

    Dumper.add_representer(str, told)
    return Dumper


def keys_of(data: bytes) -> set[str]:
    """The keys at the top of a YAML file, also of a damaged one; of anything else mostly none.

    All of a file is read only if it can't be told line by line: it's in braces, as JSON is, which is YAML.

    Parameters
    ----------
    data : bytes
        As `blobdir.labels.files.head_of` gives it.
    """
    data = without_mark(data)
    start = _BEFORE.match(data)
    begin = start.end() if start else 0
    if data[begin : begin + 1] != b"{":
        indent = data[data.rfind(b"\n", 0, begin) + 1 : begin]
        indent = indent if indent.isspace() else b""
        keys = (found for line in data.splitlines() if (found := _KEY.match(line)) and found["indent"] == indent)
        return {_unquoted(found["key"]) for found in keys}
    if b"names" not in data:
        return set()
    try:
        value = json.loads(data[begin:])  # the quicker one
        return set(value) if isinstance(value, dict) else set()
    except (ValueError, RecursionError):
        pass
    try:
        if len(data) <= _PARSED_BYTES:
            return set(read_yaml(data))
    except (LabelError, UsageError):
        pass  # who reads it says so
    return {_unquoted(found["key"]) for found in _IN_BRACES.finditer(data)}


def _unquoted(key: bytes) -> str:
    return _MARKS.sub("", key.decode("utf-8", "replace").strip()).strip("\"'")


def read_yaml(data: bytes) -> dict[str, Any]:
    """Content of a file that must hold a mapping.

    Raises
    ------
    LabelError
        It doesn't; the message says at which line.
    UsageError
        PyYAML isn't installed.
    """
    value = read_any_yaml(data)
    if not isinstance(value, dict):
        raise LabelError("holds no keys with values, as names: […]")
    return {str(key): one for key, one in value.items()}


def read_any_yaml(data: bytes) -> Any:
    """Content of a file, whatever it holds; raises what `read_yaml` does."""
    yaml = _library()
    try:
        value = yaml.load(decoded(data), Loader=_loader(yaml))  # a safe one
    except LabelError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise LabelError(
            f"{line}isn't YAML: {getattr(error, 'problem', None) or 'it holds a character that none has'}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise LabelError(f"isn't YAML that can be read: {error}") from None
    try:
        return _joined(value, {})
    except RecursionError:
        raise LabelError("isn't YAML that can be read: it's nested too deeply") from None


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
    yaml = _library()
    found: str = yaml.dump(value, Dumper=_dumper(yaml), default_flow_style=None, allow_unicode=True, sort_keys=True)
    return found.encode()
