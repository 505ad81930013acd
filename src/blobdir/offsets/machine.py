"""A pickle machine that can make nothing but blob images and plain values.

It runs the opcodes of protocols 0 to 5 over a buffer. Nothing is ever imported or called: the five allowed globals
become constants, and the opcodes that would call something accept these constants only. Time is linear in the size
of the file, and memory in the number of opcodes: declared sizes are checked against the file before they are used,
memo indexes are keys and not sizes, and there is no recursion.

The opcodes are those of CPython's ``Lib/pickletools.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blobdir.offsets.opcodes import HANDLERS, OPERANDS, STOP
from blobdir.offsets.values import BLOB_IMAGE_INFO, MAX_STRING_BYTES, Fault, Run, corrupt, truncated

if TYPE_CHECKING:
    from blobdir.offsets.bulk import BulkScanner


class Machine:
    """The state of the machine within one pickle.

    Attributes
    ----------
    stack : list
        Items since the last MARK. A `Run` in it stands for many items.
    fence : int
        Items below this index may be runs. An opcode that reaches below it gets them expanded first.
    frames : list of (stack, fence)
        What lies below each open MARK.
    memo, sparse_memo : list, dict
        The memo up to the first index that was left out, and the rest of it.
    """

    def __init__(self, data: bytes, bulk: BulkScanner | None = None) -> None:
        self.data = data
        self.size = len(data)
        self.bulk = bulk
        self._reset()

    def _reset(self) -> None:
        self.stack: list[Any] = []
        self.fence = 0
        self.frames: list[tuple[list[Any], int]] = []
        self.memo: list[Any] = []
        self.sparse_memo: dict[int, Any] = {}

    def load(self, position: int) -> tuple[Any, int]:
        """Run one pickle.

        Parameters
        ----------
        position : int
            Its first byte.

        Returns
        -------
        value : object
            A `str`, `int`, `bool`, `float`, `bytes` or None, a `Constant`, an `Instance`, or a `list`, `tuple` or
            `dict` of such. A list may hold `Run` items, each of which stands for many.
        position : int
            The byte after the pickle.

        Raises
        ------
        Fault
            With the position of the opcode that failed.
        """
        self._reset()
        data, size, handlers, operands = self.data, self.size, HANDLERS, OPERANDS
        try:
            while True:
                if position >= size:
                    raise truncated()
                opcode = data[position]
                if self.fence and len(self.stack) - self.fence < operands[opcode]:
                    self.expand_runs()
                if opcode == STOP:
                    value = self.stack.pop()
                    break
                position = handlers[opcode](self, position + 1)
        except IndexError:
            fault = corrupt("an opcode takes more from the stack than there is")
            fault.position = position
            raise fault from None
        except Fault as fault:
            fault.position = position
            raise
        return value, position + 1

    @property
    def leftover(self) -> bool:
        """Whether the last pickle ended with other values on the stack."""
        return bool(self.stack or self.frames)

    def expand_runs(self) -> None:
        """Replace the runs in the current stack by single objects."""
        items: list[Any] = []
        for item in self.stack:
            if type(item) is Run:
                items.extend(item.expand())
            else:
                items.append(item)
        self.stack = items
        self.fence = 0

    def need(self, count: int) -> None:
        """Make sure that the uppermost `count` items aren't runs."""
        if self.fence and len(self.stack) - self.fence < count:
            self.expand_runs()

    def pop_mark(self, *, keep_runs: bool = False) -> list[Any]:
        """Take all items since the last MARK."""
        if not self.frames:
            raise corrupt("an opcode looks for a mark that isn't there")
        if self.fence and not keep_runs:
            self.expand_runs()
        items = self.stack
        self.stack, self.fence = self.frames.pop()
        return items

    def check(self, position: int, count: int) -> int:
        """Return the end of `count` bytes at `position`."""
        end = position + count
        if end > self.size:
            raise truncated()
        return end

    def line(self, position: int, missing: Fault | None = None) -> tuple[bytes, int]:
        """Return the line at `position` without its newline, and the position after it."""
        end = self.data.find(b"\n", position, position + MAX_STRING_BYTES)
        if end < 0:
            if missing is not None:
                raise missing
            if self.size - position > MAX_STRING_BYTES:
                raise corrupt("a line of more than 1 MiB")
            raise truncated()
        return self.data[position:end], end + 1

    def put(self, index: int) -> None:
        """Remember the uppermost item."""
        value = self.stack[-1]
        if index < len(self.memo):
            self.memo[index] = value
        elif index == len(self.memo) and not self.sparse_memo:
            self.memo.append(value)
        else:
            self.sparse_memo[index] = value

    def get(self, index: int, position: int, opcode_size: int = 0) -> int:
        """Push what was remembered; return the position to go on at, which the bulk path may move far ahead."""
        if index < len(self.memo):
            value = self.memo[index]
            if type(value) is Run:
                value = self.memo[index] = value.recall(index)
        elif index in self.sparse_memo:
            value = self.sparse_memo[index]
        else:
            raise corrupt(f"memo {index} was never set")
        if value is BLOB_IMAGE_INFO and opcode_size and self.bulk is not None and not self.sparse_memo:
            run = self.bulk.run_at(position - opcode_size, self.memo)
            if run is not None:
                self.stack.append(run)
                self.fence = len(self.stack)
                self.memo.extend([run] * (3 * (run.high - run.low)))
                return int(run.block.after[run.high - 1])
        self.stack.append(value)
        return position
