"""What each pickle opcode does to the machine: one function an opcode, and the tables that find them.

A function is called with the machine and the position after the opcode, and returns the position to go on at.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from blobdir.offsets.literals import (
    ascii_text,
    binary_long,
    decimal,
    decimal_float,
    decimal_long,
    int_or_bool,
    quoted,
    raw_unicode,
    utf8,
)
from blobdir.offsets.objects import (
    build,
    make_inst,
    make_newobj,
    make_newobj_ex,
    make_obj,
    make_reduced,
    push_global,
    push_stack_global,
    refuse,
    refuse_buffer,
    refuse_persistent,
)
from blobdir.offsets.values import (
    MAX_INT_BYTES,
    MAX_MARKS,
    MAX_STRING_BYTES,
    NOT_A_STRING,
    SET,
    corrupt,
    truncated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.offsets.state import Handler, State


_MAX_MEMO_INDEX: Final = 2**32 - 1
_HIGHEST_PROTOCOL: Final = 5


def _unknown(machine: State, position: int) -> int:
    raise corrupt(f"byte 0x{machine.data[position - 1]:02x} is not a pickle opcode")


def _proto(machine: State, position: int) -> int:
    after = machine.check(position, 1)
    if machine.data[position] > _HIGHEST_PROTOCOL:
        raise corrupt(f"pickle protocol {machine.data[position]} is not known")
    return after


def _frame(machine: State, position: int) -> int:
    after = machine.check(position, 8)
    if machine.base + after + int.from_bytes(machine.data[position:after], "little") > machine.file_bytes:
        raise truncated()
    return after


def _mark(machine: State, position: int) -> int:
    if len(machine.frames) >= MAX_MARKS:  # each costs a hundred bytes, for one byte of the file
        raise corrupt(f"more than {MAX_MARKS} marks are open")
    machine.frames.append((machine.stack, machine.fence))
    machine.stack, machine.fence = [], 0
    return position


def _pop(machine: State, position: int) -> int:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()
    return position


def _pop_mark(machine: State, position: int) -> int:
    machine.pop_mark(keep_runs=True)
    return position


def _dup(machine: State, position: int) -> int:
    machine.stack.append(machine.stack[-1])
    return position


# ---------------------------------------------------------------------------------------------------- plain values


def _constant(value: Any) -> Handler:
    def push(machine: State, position: int) -> int:
        machine.stack.append(value)
        return position

    return push


def _fixed(layout: str) -> Handler:
    """Push a number of fixed size."""
    form = struct.Struct(layout)
    size, unpack_from = form.size, form.unpack_from

    def push(machine: State, position: int) -> int:
        after = position + size
        if after > machine.size:
            raise truncated()
        machine.stack.append(unpack_from(machine.data, position)[0])
        return after

    return push


def _counted(width: int, decode: Callable[[bytes], Any], limit: int, signed: bool = False) -> Handler:
    """Push what follows a length of `width` bytes."""

    def push(machine: State, position: int) -> int:
        first = machine.check(position, width)
        count = int.from_bytes(machine.data[position:first], "little", signed=signed)
        if not 0 <= count <= limit:
            raise corrupt(f"a value of {count} bytes, where at most {limit} make sense")
        after = machine.check(first, count)
        machine.stack.append(decode(machine.data[first:after]))
        return after

    return push


def _short_string(machine: State, position: int) -> int:
    # The same as `_counted` does, without the calls: most of what the bulk path leaves is this.
    data = machine.data
    if position >= machine.size:
        raise truncated()
    first = position + 1
    after = first + data[position]
    if after > machine.size:
        raise truncated()
    machine.stack.append(utf8(data[first:after]))
    return after


def _lined(decode: Callable[[bytes], Any]) -> Handler:
    """Push what a line of text says (protocol 0)."""

    def push(machine: State, position: int) -> int:
        text, after = machine.line(position)
        machine.stack.append(decode(text))
        return after

    return push


# ------------------------------------------------------------------------------------------------------ containers


def _empty_list(machine: State, position: int) -> int:
    machine.stack.append([])
    return position


def _empty_dict(machine: State, position: int) -> int:
    machine.stack.append({})
    return position


def _list(machine: State, position: int) -> int:
    items = machine.pop_mark(keep_runs=True)
    machine.stack.append(items)
    return position


def _tuple(machine: State, position: int) -> int:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))
    return position


def _tuple_of(count: int) -> Handler:
    def push(machine: State, position: int) -> int:
        stack = machine.stack
        if len(stack) < count:
            raise IndexError
        value = tuple(stack[-count:])
        del stack[-count:]
        stack.append(value)
        return position

    return push


def _append(machine: State, position: int) -> int:
    value = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is not list:
        raise corrupt("an item is appended to something that isn't a list")
    target.append(value)
    return position


def _appends(machine: State, position: int) -> int:
    items = machine.pop_mark(keep_runs=True)
    machine.need(1)
    target = machine.stack[-1]
    if type(target) is not list:
        raise corrupt("items are appended to something that isn't a list")
    target.extend(items)
    return position


def _fill(target: Any, items: list[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise corrupt("items are set in something that isn't a dictionary, or a key has no value")
    keys, values = items[::2], items[1::2]
    if set(map(type, keys)) == {str}:
        target.update(zip(keys, values, strict=True))
    else:
        target.update(zip((key if type(key) is str else NOT_A_STRING for key in keys), values, strict=True))


def _dict(machine: State, position: int) -> int:
    target: dict[Any, Any] = {}
    _fill(target, machine.pop_mark())
    machine.stack.append(target)
    return position


def _setitem(machine: State, position: int) -> int:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _fill(machine.stack[-1], [key, value])
    return position


def _setitems(machine: State, position: int) -> int:
    items = machine.pop_mark()
    machine.need(1)
    _fill(machine.stack[-1], items)
    return position


def _additems(machine: State, position: int) -> int:
    machine.pop_mark(keep_runs=True)
    machine.need(1)
    if machine.stack[-1] is not SET:
        raise corrupt("items are added to something that isn't a set")
    return position


def _frozenset(machine: State, position: int) -> int:
    machine.pop_mark(keep_runs=True)
    machine.stack.append(SET)
    return position


# ------------------------------------------------------------------------------------------------------------ memo


def _memoize(machine: State, position: int) -> int:
    if machine.sparse_memo:
        machine.put(len(machine.memo) + len(machine.sparse_memo))
    else:
        machine.memo.append(machine.stack[-1])
    return position


def _put(width: int) -> Handler:
    def put(machine: State, position: int) -> int:
        after = machine.check(position, width)
        machine.put(int.from_bytes(machine.data[position:after], "little"))
        return after

    return put


def _short_get(machine: State, position: int) -> int:
    if position >= machine.size:
        raise truncated()
    index = machine.data[position]
    if index < len(machine.memo) and type(machine.memo[index]) is str:
        machine.stack.append(machine.memo[index])
        return position + 1
    return machine.get(index, position + 1, 2)


def _get(width: int) -> Handler:
    def get(machine: State, position: int) -> int:
        after = machine.check(position, width)
        return machine.get(int.from_bytes(machine.data[position:after], "little"), after, width + 1)

    return get


def _memo_index(raw: bytes) -> int:
    index = decimal(raw)
    if not 0 <= index <= _MAX_MEMO_INDEX:
        raise corrupt(f"memo index {raw[:20].decode()} makes no sense")
    return index


def _put_line(machine: State, position: int) -> int:
    text, after = machine.line(position)
    machine.put(_memo_index(text))
    return after


def _get_line(machine: State, position: int) -> int:
    text, after = machine.line(position)
    return machine.get(_memo_index(text), after)


STOP: Final = ord(".")

_STRINGS: Final = MAX_STRING_BYTES
_TABLE: Final[dict[str, tuple[int, Handler]]] = {
    # opcode: how many single items of the stack it reaches, what it does
    "\x80": (0, _proto), "\x95": (0, _frame), "(": (0, _mark), "0": (1, _pop), "1": (0, _pop_mark), "2": (1, _dup),
    "N": (0, _constant(None)), "\x88": (0, _constant(True)), "\x89": (0, _constant(False)),
    "J": (0, _fixed("<i")), "K": (0, _fixed("<B")), "M": (0, _fixed("<H")), "G": (0, _fixed(">d")),
    "\x8a": (0, _counted(1, binary_long, MAX_INT_BYTES)),
    "\x8b": (0, _counted(4, binary_long, MAX_INT_BYTES, signed=True)),
    "I": (0, _lined(int_or_bool)), "L": (0, _lined(decimal_long)), "F": (0, _lined(decimal_float)),
    "\x8c": (0, _short_string), "X": (0, _counted(4, utf8, _STRINGS)),
    "\x8d": (0, _counted(8, utf8, _STRINGS)), "V": (0, _lined(raw_unicode)),
    "U": (0, _counted(1, ascii_text, _STRINGS)), "T": (0, _counted(4, ascii_text, _STRINGS, signed=True)),
    "S": (0, _lined(quoted)),
    "C": (0, _counted(1, bytes, _STRINGS)), "B": (0, _counted(4, bytes, _STRINGS)),
    "\x8e": (0, _counted(8, bytes, _STRINGS)), "\x96": (0, _counted(8, bytearray, _STRINGS)),
    "\x97": (0, refuse_buffer), "\x98": (1, refuse_buffer),
    "]": (0, _empty_list), "a": (2, _append), "e": (0, _appends), "l": (0, _list),
    ")": (0, _constant(())), "t": (0, _tuple),
    "\x85": (1, _tuple_of(1)), "\x86": (2, _tuple_of(2)), "\x87": (3, _tuple_of(3)),
    "}": (0, _empty_dict), "d": (0, _dict), "s": (3, _setitem), "u": (0, _setitems),
    "\x8f": (0, _constant(SET)), "\x90": (0, _additems), "\x91": (0, _frozenset),
    "\x94": (1, _memoize), "q": (1, _put(1)), "r": (1, _put(4)), "p": (1, _put_line),
    "h": (0, _short_get), "j": (0, _get(4)), "g": (0, _get_line),
    "c": (0, push_global), "\x93": (2, push_stack_global), "i": (0, make_inst), "o": (0, make_obj),
    "\x81": (2, make_newobj), "\x92": (3, make_newobj_ex), "R": (2, make_reduced), "b": (2, build),
    "P": (0, refuse_persistent), "Q": (1, refuse("a persistent object")),
    "\x82": (0, refuse("an extension code")), "\x83": (0, refuse("an extension code")),
    "\x84": (0, refuse("an extension code")), ".": (1, _unknown),
}  # fmt: skip

HANDLERS: Final[list[Handler]] = [_TABLE[chr(code)][1] if chr(code) in _TABLE else _unknown for code in range(256)]
OPERANDS: Final = bytes(_TABLE[chr(code)][0] if chr(code) in _TABLE else 0 for code in range(256))
