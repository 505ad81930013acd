"""The pickle machine's state: what it holds of the file, the stack with its marks, and the memo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blobdir.offsets.bulk import BulkScanner, Run
from blobdir.offsets.values import BLOB_IMAGE_INFO, MAX_STRING_BYTES, Fault, corrupt, truncated


class State:
    """The state of the machine within one pickle.

    Parameters
    ----------
    data : bytes
        The file, or its beginning.
    bulk : BulkScanner, optional
        Of `data`.
    more : callable, optional
        Gives what follows `data` in the file, piece by piece, and no bytes at its end. A piece must be longer than any
        opcode with its argument.
    file_bytes : int, optional
        Size of the file, if `data` isn't all of it.

    Attributes
    ----------
    data, base : bytes, int
        What is held of the file, and which of its bytes is the first of that.
    stack : list
        Items since the last MARK. A `Run` in it stands for many items.
    fence : int
        The index after the uppermost run in `stack`, 0 where there is none. An opcode that reaches below it gets that
        run expanded first.
    fences : list of int
        For each run, in all of the frames, the fence before it came.
    frames : list of (stack, fence)
        What lies below each open MARK.
    memo, sparse_memo : list, dict
        The memo up to the first index that was left out, and the rest of it.
    """

    def __init__(
        self,
        data: bytes,
        bulk: BulkScanner | None = None,
        more: Callable[[], bytes] | None = None,
        file_bytes: int = 0,
    ) -> None:
        self.data = data
        self.size = len(data)
        self.bulk = bulk
        self.base = 0
        self.file_bytes = max(file_bytes, self.size)
        self._more = more
        self.reset()

    def reset(self) -> None:
        """Begin a pickle: nothing is on the stack, or remembered."""
        self.stack: list[Any] = []
        self.fence = 0
        self.fences: list[int] = []
        self.frames: list[tuple[list[Any], int]] = []
        self.memo: list[Any] = []
        self.sparse_memo: dict[int, Any] = {}

    def feed(self, position: int) -> bool:
        """Let go of the bytes before `position` and take the next piece of the file; False where there is none."""
        more = self._more() if self._more is not None else b""
        if not more:
            return False
        self.data = self.data[position:] + more
        self.size = len(self.data)
        self.base += position
        self.file_bytes = max(self.file_bytes, self.base + self.size)
        if self.bulk is not None:
            self.bulk = BulkScanner(self.data, self.base)
        return True

    @property
    def leftover(self) -> bool:
        """Whether the last pickle ended with other values on the stack."""
        return bool(self.stack or self.frames)

    def need(self, count: int) -> None:
        """Make sure that the uppermost `count` items aren't runs.

        Each run is expanded once, with hardly anything above it: to look at the whole stack would be quadratic.
        """
        while self.fence and len(self.stack) - self.fence < count:
            at = self.fence - 1
            self.stack[at:] = [*self.stack[at].expand(), *self.stack[at + 1 :]]
            self.fence = self.fences.pop()

    def pop_mark(self, *, keep_runs: bool = False) -> list[Any]:
        """Take all items since the last MARK."""
        if not self.frames:
            raise corrupt("an opcode looks for a mark that isn't there")
        items = self.stack
        if self.fence and not keep_runs:
            items = []
            for item in self.stack:
                if type(item) is Run:
                    items.extend(item.expand())
                else:
                    items.append(item)
        while self.fence:
            self.fence = self.fences.pop()
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
                self.fences.append(self.fence)
                self.fence = len(self.stack)
                self.memo.extend([run] * (3 * (run.high - run.low)))
                return int(run.block.after[run.high - 1])
        self.stack.append(value)
        return position


Handler = Callable[[State, int], int]
"""What an opcode does: from the position after the opcode to the position to go on at."""
