"""A file, or a range of it, got in as many answers as it takes: what has come isn't asked for again.

Where a connection breaks, a server stalls or sends less than it was asked for, the rest is asked for, if it's surely of
the same version: by its etag, or its time where it has none. Else all is asked for anew.

A backend that gives a body only whole says nothing while it's on its way. One that wasn't there in time is asked for an
eighth of it, and then for the next; and so are all that follow, until answers come quickly again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from blobdir.sources.pace import LARGEST_REQUEST
from blobdir.sources.retries import NoRangesError, RangeIgnoredError, WrongAnswerError, is_refused, status_of
from blobdir.sources.transports import Answer, Blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.sources.model import Stat
    from blobdir.sources.transports import General

LEAST_STEP: Final = 256 << 10
_FEWER, _QUICK_S = 8, 2.0
IGNORED_TRIES: Final = 6
"""Times that a server which has served ranges may send all of a file instead, before that is an error."""


class Failed(NamedTuple):
    """What became of a request by a try that failed.

    Attributes
    ----------
    lost : {"all", "try", "nothing"}
        What was thrown away: what has come until now, what this try brought, or nothing.
    again : bool or None
        Whether to try again; None where the error says it.
    """

    lost: Literal["all", "try", "nothing"] = "all"
    again: bool | None = None


class Call:
    """A request that is one call, and gives what that gives.

    Parameters
    ----------
    call : callable
        A try. It gives what is to be awaited, or, in a thread, the result.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def begin(self, came: Callable[[int], None]) -> Callable[[], Any]:  # noqa: ARG002  # it comes at once
        """What a try calls; `came` is to be told of bytes."""
        return self._call

    def add(self, found: Any, seconds: float) -> tuple[bool, Any]:  # noqa: ARG002
        """Take the outcome of a try: whether that's all, and what the request gives then."""
        return True, found

    def failed(self, error: Exception) -> Failed:  # noqa: ARG002
        """Take the error of a try."""
        return Failed()


class Coming(Call):
    """The same, where bytes are told of while they come.

    Parameters
    ----------
    call : callable
        A try, given what is to be told.
    """

    def __init__(self, call: Callable[[Callable[[int], None]], Any]) -> None:
        super().__init__(lambda: None)
        self._telling = call

    def begin(self, came: Callable[[int], None]) -> Callable[[], Any]:
        """What a try calls."""
        return lambda: self._telling(came)


class Steps:
    """How much a backend is asked for at once, as far as it gives a body only whole; of one event loop."""

    def __init__(self) -> None:
        self.most = LARGEST_REQUEST

    def stalled(self, asked: int | None) -> None:
        """Note that an answer wasn't there in time."""
        self.most = max(LEAST_STEP, min(self.most, asked or LARGEST_REQUEST) // _FEWER)

    def came(self, size: int, seconds: float) -> None:
        """Note one that came."""
        if size >= self.most and seconds < _QUICK_S:
            self.most = min(LARGEST_REQUEST, 2 * self.most)


class Getting(Call):
    """One file, or a range of it.

    Parameters
    ----------
    transport : callable
        What makes the requests, perhaps made anew between them.
    is_streamed : bool
        Whether it says what comes while it's on its way.
    steps : Steps
    path : str
    start, end : int or None
        Half-open; all of it where there are none.
    versioned : bool
        Whether it's asked for the version, too.
    """

    def __init__(
        self,
        transport: Callable[[], General | Blocking],
        steps: Steps,
        path: str,
        start: int | None,
        end: int | None,
        *,
        is_streamed: bool,
        versioned: bool,
    ) -> None:
        self._transport = transport
        self._steps = steps
        self._path = path
        self._is_streamed = is_streamed
        self._versioned = versioned
        self._low, self._end = start, end
        self._pieces: list[bytes] = []
        self._have = 0
        self._version: Stat | None = None  # of the pieces
        self._asked: tuple[int | None, int | None] = (start, end)
        self._now: list[bytes] = []  # pieces of this try
        self._now_version: Stat | None = None
        self._in_steps = self._only_whole = False
        self._ignored = 0

    def begin(self, came: Callable[[int], None]) -> Callable[[], Any]:
        """What a try calls."""
        low, high = self._next()
        self._asked, self._now, self._now_version = (low, high), [], None
        path, transport = self._path, self._transport
        versioned = self._versioned or self._in_steps or self._have > 0

        def piece(data: bytes, version: Stat) -> None:
            if data:
                self._now.append(data)
                self._now_version = version
            came(len(data))

        return lambda: transport().get(path, low, high, versioned=versioned, came=piece)

    def _next(self) -> tuple[int | None, int | None]:
        """What is still to be asked for, or as much of it as fits a step."""
        low, high = self._low, self._end
        if low is None and self._have and self._version is not None:
            low, high = 0, self._version.size
        if low is None or high is None:
            return None, None
        low += self._have
        self._in_steps = not self._is_streamed and not self._only_whole and high - low > self._steps.most
        return low, (low + self._steps.most if self._in_steps else high)

    def add(self, found: Answer, seconds: float) -> tuple[bool, Any]:
        """Take an answer: whether that's all, and the answer for all of it."""
        low, high = self._asked
        size = len(found.data)
        if not self._is_streamed:
            self._now_version = found.version
            self._steps.came(size, seconds)
        if self._version is not None and not self._version.is_surely(self._now_version or found.version):
            self._drop()
            raise WrongAnswerError("it was replaced while it was being read")
        if low is not None and high is not None and self._goes_on(low, high, size, found.version.size):
            if not _is_told(self._now_version):
                self._drop()
                if self._is_streamed:
                    raise WrongAnswerError(f"asked for bytes {low} to {high}, the server sent {size}")
                self._only_whole = True  # nothing says that parts of it belong together
                return False, None
            self._keep([found.data])
            return False, None
        self._now = []
        if not self._have:
            return True, found
        data = b"".join([*self._pieces, found.data])
        self._pieces = []
        is_whole = self._version is not None and found.version.size < 0  # a range may not say how long the file is
        return True, Answer(data, self._version if is_whole and self._version is not None else found.version)

    def _goes_on(self, low: int, high: int, size: int, total: int) -> bool:
        """Whether there is more to ask for behind an answer."""
        if self._is_streamed:  # less than was asked for, where the file doesn't end
            return total >= 0 and low + size < min(high, total)
        return self._in_steps and size == high - low

    def failed(self, error: Exception) -> Failed:
        """Take an error: keep what has come, if the rest may be asked for."""
        now, version, self._now = self._now, self._now_version, []
        again = self._again(error)
        if now and version is not None and not isinstance(error, WrongAnswerError) and self._may_go_on(version):
            self._keep(now)
            now = []
        return Failed("all" if not self._have else "try" if now else "nothing", again)

    def _again(self, error: Exception) -> bool | None:
        """Whether an error is one after which to try again, if it doesn't say so itself."""
        is_ignored = isinstance(error, NoRangesError | RangeIgnoredError)
        if self._low is None and self._have and (is_ignored or is_refused(status_of(error))):
            self._drop()  # the rest can't be had alone
            self._only_whole = True
            return True
        if is_ignored:
            self._ignored += 1
            return False if self._ignored >= IGNORED_TRIES else None
        if isinstance(error, TimeoutError) and not self._is_streamed:
            low, high = self._asked
            self._steps.stalled(None if low is None or high is None else high - low)
        return None

    def _may_go_on(self, version: Stat) -> bool:
        if self._version is not None:
            return self._version.is_surely(version)
        return _is_told(version) and (self._low is not None or (version.size > 0 and not self._only_whole))

    def _keep(self, pieces: list[bytes]) -> None:
        self._pieces += pieces
        self._have += sum(map(len, pieces))
        self._version = self._version or self._now_version
        self._now = []

    def _drop(self) -> None:
        self._pieces, self._now, self._have, self._version = [], [], 0, None


def _is_told(version: Stat | None) -> bool:
    """Whether it can be told by a version that two answers are of the same one."""
    return version is not None and bool(version.etag or version.mtime_ns)
