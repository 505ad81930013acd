"""A pickle machine that can make nothing but blob images and plain values.

It runs the opcodes of protocols 0 to 5 over a buffer. Nothing is ever imported or called: the five allowed globals
become constants, and the opcodes that would call something accept these constants only. Time is linear in the size
of the file, and memory in the number of opcodes: declared sizes are checked against the file before they are used,
memo indexes are keys and not sizes, and there is no recursion. A file can be fed piece by piece, so what isn't a pickle
is refused after the first piece, however long the file is.

The opcodes are those of CPython's ``Lib/pickletools.py``.
"""

from __future__ import annotations

from typing import Any

from blobdir.errors import TruncatedOffsetsError
from blobdir.offsets.opcodes import HANDLERS, OPERANDS, STOP
from blobdir.offsets.state import State
from blobdir.offsets.values import Fault, corrupt, truncated


class Machine(State):
    """A machine that runs one pickle after the other of a file; the parameters are those of its state."""

    def load(self, position: int) -> tuple[Any, int]:
        """Run one pickle.

        Parameters
        ----------
        position : int
            Its first byte in `data`.

        Returns
        -------
        value : object
            A `str`, `int`, `bool`, `float`, `bytes` or None, a `Constant`, an `Instance`, or a `list`, `tuple` or
            `dict` of such. A list may hold `Run` items, each of which stands for many.
        position : int
            The byte after the pickle, in what `data` is then.

        Raises
        ------
        Fault
            With the position in the file of the opcode that failed.
        """
        self.reset()
        handlers, operands = HANDLERS, OPERANDS
        while True:
            data, size = self.data, self.size
            try:
                while True:
                    if position >= size:
                        raise truncated()
                    opcode = data[position]
                    if self.fence and len(self.stack) - self.fence < operands[opcode]:
                        self.need(operands[opcode])
                    if opcode == STOP:
                        return self.stack.pop(), position + 1
                    position = handlers[opcode](self, position + 1)
            except IndexError:
                fault = corrupt("an opcode takes more from the stack than there is")
                fault.position = self.base + position
                raise fault from None
            except Fault as fault:
                # An opcode looks whether its bytes are there before it does anything: it can be run again.
                if fault.kind is TruncatedOffsetsError and self.feed(position):
                    position = 0
                    continue
                fault.position = self.base + position
                raise
