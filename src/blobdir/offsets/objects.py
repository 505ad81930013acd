"""The opcodes that in another unpickler import and call: here they make blob images, or refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blobdir.errors import UnsafePickleError
from blobdir.offsets.values import BLOB_IMAGE_INFO, GLOBALS, OBJECT, RECONSTRUCTOR, Constant, Fault, Instance, corrupt

if TYPE_CHECKING:
    from blobdir.offsets.state import Handler, State


def _unsafe(what: str) -> Fault:
    return Fault(UnsafePickleError, f"the pickle names {what}, which no offsets file needs")


def _find_global(module: str, name: str) -> Constant:
    found = GLOBALS.get((module, name))
    if found is None:
        raise _unsafe(f"the global {f'{module}.{name}'[:200]!a}")
    return found


def _global_lines(machine: State, position: int) -> tuple[Constant, int]:
    module, position = machine.line(position)
    name, position = machine.line(position)
    return _find_global(module.decode("utf-8", "replace"), name.decode("utf-8", "replace")), position


def push_global(machine: State, position: int) -> int:
    """GLOBAL: push the class that two lines name."""
    found, after = _global_lines(machine, position)
    machine.stack.append(found)
    return after


def push_stack_global(machine: State, position: int) -> int:
    """STACK_GLOBAL: push the class that two strings name."""
    name = machine.stack.pop()
    module = machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise corrupt("a global whose name isn't a string")
    machine.stack.append(_find_global(module, name))
    return position


def refuse_persistent(machine: State, position: int) -> int:
    """PERSID: every text that begins with a P looks like one."""
    text, _ = machine.line(position, corrupt("the bytes are not a pickle"))
    raise _unsafe(f"the persistent object {text[:200]!r}")


def refuse(what: str) -> Handler:
    """Make a function that refuses an opcode."""

    def refuse_it(_machine: State, _position: int) -> int:
        raise _unsafe(what)

    return refuse_it


def refuse_buffer(_machine: State, _position: int) -> int:
    """NEXT_BUFFER and READONLY_BUFFER."""
    raise corrupt("the pickle wants a buffer from outside the file")


def _make(machine: State, callee: Any, arguments: Any, position: int) -> Instance:
    """Make what ``BlobImageInfo(*arguments)`` makes."""
    if callee is not BLOB_IMAGE_INFO:
        if isinstance(callee, Constant):
            raise _unsafe(f"a call of {callee!r}")
        raise corrupt("something that isn't a class is called")
    if type(arguments) is not tuple or len(arguments) not in (0, 3):
        raise corrupt("a BlobImageInfo is made from other than three values")
    return Instance(machine.base + position - 1, *arguments)


def make_newobj(machine: State, position: int) -> int:
    """NEWOBJ: what protocol 2 and up makes objects with."""
    arguments = machine.stack.pop()
    machine.stack.append(_make(machine, machine.stack.pop(), arguments, position))
    return position


def make_newobj_ex(machine: State, position: int) -> int:
    """NEWOBJ_EX: the same with keyword arguments."""
    keywords = machine.stack.pop()
    arguments = machine.stack.pop()
    instance = _make(machine, machine.stack.pop(), arguments, position)
    if type(keywords) is not dict:
        raise corrupt("keyword arguments that aren't a dictionary")
    instance.update(keywords)
    machine.stack.append(instance)
    return position


def make_reduced(machine: State, position: int) -> int:
    """REDUCE: what protocols 0 and 1 make objects with."""
    arguments = machine.stack.pop()
    callee = machine.stack.pop()
    if callee is RECONSTRUCTOR:
        # By identity: comparing tuples for equality would walk whatever a hostile file put into them.
        fits = type(arguments) is tuple and len(arguments) == 3
        if not fits or arguments[1] is not OBJECT or arguments[2] is not None:
            raise _unsafe("a call of copyreg._reconstructor")
        callee, arguments = arguments[0], ()
    machine.stack.append(_make(machine, callee, arguments, position))
    return position


def make_inst(machine: State, position: int) -> int:
    """INST: what Python 2 made objects of old-style classes with."""
    found, after = _global_lines(machine, position)
    arguments = machine.pop_mark()
    machine.stack.append(_make(machine, found, tuple(arguments), position))
    return after


def make_obj(machine: State, position: int) -> int:
    """OBJ: the same in protocol 1."""
    items = machine.pop_mark()
    if not items:
        raise IndexError
    machine.stack.append(_make(machine, items[0], tuple(items[1:]), position))
    return position


def build(machine: State, position: int) -> int:
    """BUILD: give an object its attributes."""
    state = machine.stack.pop()
    instance = machine.stack[-1]
    if type(instance) is not Instance:
        if isinstance(instance, Constant):
            raise _unsafe(f"attributes for {instance!r}")
        raise corrupt("attributes are set on something that isn't a BlobImageInfo")
    parts = state if type(state) is tuple and len(state) == 2 else (state, None)
    for part in parts:
        if type(part) is dict:
            instance.update(part)
        elif part is not None:
            raise corrupt("the attributes of a BlobImageInfo aren't a dictionary")
    return position
