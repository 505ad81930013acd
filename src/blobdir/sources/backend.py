"""An fsspec backend that is asked politely: again after failures that pass, never past a deadline, many at a time.

It is made anew after a fork, which event loops and sockets don't survive, and after a connection broke.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import selectors
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec.asyn
from fsspec import AbstractFileSystem

from blobdir.background import Background
from blobdir.errors import BlobdirError, ReadError, UsageError, to_keep
from blobdir.sources import turns
from blobdir.sources.clock import Clock, Trial
from blobdir.sources.connecting import Renewals, connected, in_time
from blobdir.sources.getting import Call, Coming, Failed, Getting, Steps
from blobdir.sources.pace import Pace
from blobdir.sources.retries import (
    PUT_OFF,
    guarded,
    is_answer,
    is_denied,
    is_temporary,
    pause_s,
    retry_after_s,
    said,
    status_of,
)
from blobdir.sources.secrecy import without_secrets
from blobdir.sources.tasks import awaited, close, is_cancelled, look_at, running_loop, start_task
from blobdir.sources.transports import Azure, Blocking, Web, behind_copies, transport_of
from blobdir.sources.turns import Turns, size_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from blobdir.sources.model import Stat
    from blobdir.sources.transports import Answer, General
    from blobdir.sources.webindex import Listed

T = TypeVar("T")

_PARENTS: list[asyncio.AbstractEventLoop] = []


def _note_loop() -> None:
    _PARENTS[:] = [loop for loop in fsspec.asyn.loop if loop is not None]


def _let_go_of_parents_loop() -> None:
    """In a forked process: what it closes must not be taken out of the epoll instance that it shares with its parent.

    fsspec drops the parent's filesystems when the child makes its first one, and their sessions close their sockets
    in an event loop that isn't the child's. The parent would wait for ever for answers that have come.
    """
    for loop in _PARENTS:
        if isinstance(loop, asyncio.SelectorEventLoop):
            loop._selector = selectors.DefaultSelector()  # type: ignore[attr-defined]  # noqa: SLF001  # no other way


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_loop, after_in_child=_let_go_of_parents_loop)

STALL_S = 20.0
"""Seconds of silence after which a request is made anew; twice as many after each such try."""
FIRST_TRIES, FIRST_S = 4, 5.0
"""Tries, and seconds, of the first request: a server that has never answered is more likely misspelt than down."""
CONCURRENCY, SMALL_CONCURRENCY = 16, 64
"""Requests under way together: for large ranges, and for small files."""
AHEAD = 4096
"""Results of small requests that may be there before those in front of them."""
LIST_OF = "list of "
"""What messages call the list of a folder."""
FORBIDDEN, NO_PROXY = 403, 407
_MOST_AHEAD = 32 << 20
"""Bytes that such results hold."""
_MESSAGE_LENGTH = 500
_GRACE_S = 5.0
_MANY, _RECENT = 0.1, 1 / 16
"""Of answers, the share that is many, and the weight of the last one."""
_THREADED = frozenset(("webdav", "dav"))
"""Protocols of backends that block, and that several threads may use; the others get one thread."""


class Backend:
    """Requests to one backend.

    Parameters
    ----------
    url : str, optional
        From which the backend is made.
    options : dict, optional
        Options for it. Never part of a message: they hold credentials.
    fs : AbstractFileSystem, optional
        A backend that exists already, instead of `url`.
    timeout_s : float
        Deadline of one request, all tries together: seconds of silence, see `blobdir.sources.clock`.

    Attributes
    ----------
    has_answered : bool
        Whether the server has ever said anything.
    """

    def __init__(
        self,
        url: str = "",
        options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
        *,
        timeout_s: float,
    ) -> None:
        self.timeout_s = timeout_s
        self.pace = Pace()
        self._steps = Steps()
        self._heard = time.monotonic()
        self._url = url
        self._options = options or {}
        self._given = fs
        self._fs: AbstractFileSystem | None = None
        self._threads: Background | None = None
        self._turns: asyncio.Semaphore | None = None
        self._pid = self._threads_pid = 0
        self._broken = False
        self._renewals = Renewals()
        self._transport: General | Blocking | None = None
        self._width = 1
        self.has_answered = False
        self._put_off = 0.0
        self._making = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_fs", "_transport", "_threads", "_turns", "_making")
        return self.__dict__ | dict.fromkeys(dropped) | {"_pid": 0, "_threads_pid": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._making = threading.Lock()

    @property
    def fs(self) -> AbstractFileSystem:
        """The backend, of this very process."""
        if self._fs is None or self._pid != os.getpid() or self._broken:
            self._make()
        return self._fs

    def _make(self) -> None:
        if self._pid != os.getpid():
            self._making = threading.Lock()  # another thread may have held it when the process forked
        with self._making:
            if self._fs is not None and self._pid == os.getpid() and not self._broken:
                return  # another thread has made it meanwhile; fsspec's own is the one that broke
            if self._broken and self._fs is not None and self._pid == os.getpid():
                old = self._fs
                again = {**old.storage_options, "skip_instance_cache": True}
                self._fs = in_time(self._url, self.timeout_s, lambda: type(old)(*old.storage_args, **again))
            elif self._given is None:
                options = _with_few_retries(self._url, self._options)
                self._fs = behind_copies(connected(self._url, options, self.timeout_s)[0])
            else:
                self._fs = self._revive(behind_copies(self._given))
            self._broken = False
            self._transport = transport_of(self._fs)
            self._width = CONCURRENCY if _protocols(self._fs) & _THREADED else 1
            self._pid = os.getpid()

    @staticmethod
    def _revive(fs: AbstractFileSystem) -> AbstractFileSystem:
        if getattr(fs, "async_impl", False) and getattr(fs, "_pid", os.getpid()) != os.getpid():
            return type(fs)(*fs.storage_args, **fs.storage_options)
        return fs

    @property
    def transport(self) -> General | Blocking:
        """What makes its requests, in this very process."""
        fs, found = self.fs, self._transport
        return found if found is not None and found.fs is fs else transport_of(fs)

    @property
    def is_async(self) -> bool:
        """Whether many requests can be under way in one thread."""
        return not isinstance(self._transport or self.transport, Blocking)

    def _here(self) -> tuple[Background, asyncio.Semaphore]:
        """Threads for a backend that blocks, and turns to use them, of this very process."""
        if self._turns is None or self._threads_pid != os.getpid():
            self._turns, self._threads = asyncio.Semaphore(self._width), None
            self._threads_pid = os.getpid()
        if self._threads is None:
            self._threads = Background(self._width, "blobdir-backend")
        return self._threads, self._turns

    def _give_up_threads(self) -> None:
        """One of them waits for a server, perhaps for ever; others, with a connection of their own, go on."""
        self._threads = None
        self._making = threading.Lock()

    # -- single requests -----------------------------------------------------------------------------------------

    async def _call(self, call: Callable[[], Any], trial: Trial) -> Any:
        """One try: in this event loop, or in a thread where the backend blocks, when it's free."""
        loop = asyncio.get_running_loop()
        if self.is_async:
            async with asyncio.timeout(trial.begin(loop.time())) as limit:
                trial.moves(limit)
                return await awaited(call)
        async with self._here()[1]:
            done = asyncio.wrap_future(self._here()[0].submit(guarded, call))
            done.add_done_callback(look_at)
            try:
                async with asyncio.timeout(trial.begin(loop.time())):
                    return await done
            except TimeoutError:
                if done.cancelled():  # else the backend has said so itself
                    self._give_up_threads()
                raise
            finally:
                del done  # what failed is raised with this frame, and all that called it: a circle, which stays a while

    async def _in_turn(self, what: str, call: Callable[[], Any], *, timeout_s: float | None = None) -> Any:
        """A request that is one call; each try has `timeout_s`, where that's given."""
        return await self._tried(what, Call(call), timeout_s)

    async def _tried(self, what: str, call: Call, timeout_s: float | None = None) -> Any:
        """Make a request until it's done, can't be, or its clock has run down.

        A backend that blocks is given to others between two tries. Time runs while it's one's turn, and in pauses.
        """
        loop = asyncio.get_running_loop()
        asked, is_anew = _Asked(what, self.timeout_s, timeout_s), False
        while True:
            trial, renewed = asked.trial(loop.time()), self._renewals.count
            try:
                found = await self._call(call.begin(self._noting(loop, trial)), trial)
                trial.end(loop.time())
                is_done, answer = call.add(found, trial.took)
            except FileNotFoundError as error:
                self.has_answered = True
                raise FileNotFoundError(what) from error
            except Exception as error:
                if isinstance(error, BlobdirError) or is_cancelled():
                    raise
                trial.end(loop.time())
                self.has_answered |= is_answer(error)
                if status_of(error) in (404, 410):
                    raise FileNotFoundError(what) from error
                after = call.failed(error)
                if is_denied(error) and not is_anew and self._is_renewed(renewed):
                    after, is_anew = after._replace(again=True), True
                pause = asked.failed(trial, error, after, has_answered=self.has_answered)
                is_late = isinstance(error, TimeoutError)
                if not is_late:
                    self._heard = time.monotonic()
                self._broken |= not self.is_async  # a connection of its own, perhaps: made anew for the next try
                self._answered(put_off=is_late or status_of(error) in PUT_OFF)
                await turns.pause(pause)
            else:
                self.has_answered = True
                self._heard = time.monotonic()
                self._answered(put_off=False)
                size = size_of(found)
                self.pace.note(size, trial.took)
                if is_done:
                    return answer
                asked.came(trial, size)

    def _answered(self, *, put_off: bool) -> None:
        turns.answered(put_off=put_off)
        self._put_off += (put_off - self._put_off) * _RECENT

    @property
    def puts_off(self) -> bool:
        """Whether it has put off many of the last requests: then none are made for which nobody waits."""
        return self._put_off > _MANY

    def _is_renewed(self, count: int) -> bool:
        """Whether a backend that refuses who asks is another one now, with what its credentials are by now.

        Credentials in files are renewed by others. Of a web server they stand in the URL or the options.
        """
        before = self._renewals.count
        if self.web is not None or not self._renewals.is_worth(count, time.monotonic()):
            return False
        self._broken |= self._renewals.count != before  # else another request has seen to it
        return True

    def _noting(self, loop: asyncio.AbstractEventLoop, trial: Trial) -> Callable[[int], None]:
        """What is told of bytes while they come."""

        def came(size: int) -> None:
            self.has_answered = True
            self._heard = time.monotonic()
            trial.came(loop.time(), size)

        return came

    def get(
        self, path: str, start: int | None, end: int | None, what: str, *, versioned: bool = True
    ) -> Awaitable[Answer]:
        """Bytes ``start:end`` of a file, half-open, or all of it, with the version they are of.

        Most backends are asked for the version by a second request; without `versioned` they aren't.
        """
        is_streamed = (self._transport or self.transport).is_streamed
        request = Getting(
            lambda: self.transport, self._steps, path, start, end, is_streamed=is_streamed, versioned=versioned
        )
        return self._tried(what, request)

    def info(self, path: str, what: str) -> Awaitable[Stat]:
        """Attributes of a file as they are now; FileNotFoundError where there is none."""
        return self._in_turn(what, lambda: self.transport.info(path))

    @property
    def web(self) -> Web | None:
        """What can be asked of a web server: for the pages of its folders."""
        return self.transport if isinstance(self.transport, Web) else None

    def list_page(self, key: str, what: str, *, anywhere: bool = False) -> Awaitable[Listed]:
        """What the page of a folder on a web server lists, as `Web.list_page` says; FileNotFoundError: none."""
        web = self.web
        if web is None:
            raise UsageError(f"{what}: isn't on such a server")
        return self._tried(what, Coming(lambda came: web.list_page(key, came, anywhere=anywhere)))

    def look(self, key: str, what: str) -> Awaitable[Listed | None]:
        """What a name on a web server lists; None where it's a file's, as `Web.look` says."""
        web = self.web
        if web is None:
            raise UsageError(f"{what}: isn't on such a server")
        return self._tried(what, Coming(lambda came: web.look(key, came)))

    def is_file(self, key: str, what: str) -> Awaitable[int]:
        """Bytes of what a web server has under just this name, and not as a folder; -1 where it has nothing."""
        web = self.web
        if web is None:
            raise UsageError(f"{what}: isn't on such a server")
        return self._in_turn(what, lambda: web.size(key))

    @property
    def azure(self) -> Azure | None:
        """What can be asked of Azure: for the blobs' own names."""
        return self.transport if isinstance(self.transport, Azure) else None

    def list_blobs(self, root: str, what: str, timeout_s: float) -> Awaitable[list[tuple[str, dict[str, Any]]]]:
        """All blobs below a folder by their own names, and what the backend says of them."""
        azure = self.azure
        if azure is None:
            raise UsageError(f"{what}: isn't on such a server")
        return self._in_turn(what, lambda: azure.list_blobs(root), timeout_s=timeout_s)

    def call(self, what: str, name: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> Awaitable[Any]:
        """Any other method of the backend, by its name: ``find``, ``ls``, ``put_file``."""
        return self._in_turn(what, lambda: self.transport.call(name, *args, **kwargs), timeout_s=timeout_s)

    # -- from a thread that blocks ---------------------------------------------------------------------------------

    def submit(self, coroutine: Awaitable[T], inner: Awaitable[T] | None = None) -> concurrent.futures.Future[T]:
        """Start a request; its result is waited for elsewhere. One in it, which may never begin, is ended with it.

        UsageError in the event loop that would have to make it, where who waits for it waits in vain.
        """
        loop = self._loop()
        if running_loop() is loop:
            for one in (coroutine, inner):
                close(one)
            raise UsageError("called in fsspec's event loop, which must not wait: await asyncio.to_thread(…) instead")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        loop.call_soon_threadsafe(start_task, loop, coroutine, future, inner)
        return future

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self.fs.loop if self.is_async else fsspec.asyn.get_loop()
        return loop

    def wait(self, future: concurrent.futures.Future[T], what: str, timeout_s: float | None = None) -> T:
        """The result of a request, or its error; never later than a little after the deadline of who hears nothing.

        The request has a clock of its own; so that it doesn't count while it waits for its turn, this is only about
        whether the backend says anything to anybody.
        """
        seconds = (self.timeout_s if timeout_s is None else timeout_s) + _GRACE_S
        until = time.monotonic() + seconds
        try:
            while True:
                try:
                    return future.result(until - time.monotonic())
                except concurrent.futures.TimeoutError as error:
                    if future.done():
                        return future.result()
                    if (later := self._heard + seconds) <= until:
                        if not self.is_async:
                            self._broken = True
                            self._give_up_threads()
                        raise ReadError(f"{what}: no answer in {seconds:.0f} s") from error
                    until = later
        except BaseException:
            future.cancel()
            raise
        finally:
            del future  # see `_call`

    def run(self, coroutine: Awaitable[T], what: str, timeout_s: float | None = None) -> T:
        """Make one request, and wait for it."""
        return self.wait(self.submit(coroutine), what, timeout_s)

    def run_many(
        self,
        coroutines: Iterable[tuple[str, Awaitable[T]]],
        concurrency: int,
        timeout_s: float | None = None,
        *,
        ahead: int = 0,
    ) -> Iterator[T]:
        """Make many requests, some at a time; their results in order.

        What was started is cancelled when one fails, or when nobody takes the results any more.

        Parameters
        ----------
        coroutines : iterable of (str, Awaitable)
            What each is for, and the request.
        concurrency : int
            Requests under way.
        timeout_s : float, optional
            Of each.
        ahead : int
            Results that may be there before those in front of them, as long as they are small: then one that has to
            be tried again holds up nobody.
        """
        window: deque[tuple[str, concurrent.futures.Future[T]]] = deque()
        held = _Held()
        taking, loop = Turns(concurrency, held.is_too_much), self._loop()
        try:
            for what, coroutine in coroutines:
                future = self.submit(taking.run(coroutine), coroutine)
                future.add_done_callback(held.add)
                window.append((what, future))
                del future  # an error in what reads the results is raised with this frame
                while len(window) >= max(ahead, concurrency):
                    yield held.taken(self._first(window, timeout_s), loop, taking)
            while window:
                yield held.taken(self._first(window, timeout_s), loop, taking)
        finally:
            for _, future in window:
                future.cancel()

    def _first(self, window: deque[tuple[str, concurrent.futures.Future[T]]], timeout_s: float | None) -> T:
        what, future = window.popleft()
        try:
            return self.wait(future, what, timeout_s)
        finally:
            del future  # see `_call`


class _Held:
    """Bytes of the results that nobody has taken yet."""

    def __init__(self) -> None:
        self._come = self._taken = 0  # each is counted by one thread
        self._is_waited_for = False

    def is_too_much(self) -> bool:
        """Whether no more should come; who has asked is told when that may have changed."""
        self._is_waited_for = True  # before it's counted: who takes one meanwhile sees it, or has been counted
        self._is_waited_for = is_so = self._come - self._taken >= _MOST_AHEAD
        return is_so

    def add(self, future: concurrent.futures.Future[Any]) -> None:
        """Note one that has come, or has failed."""
        if not future.cancelled() and future.exception() is None:
            self._come += size_of(future.result())

    def taken(self, result: T, loop: asyncio.AbstractEventLoop, waiting: Turns) -> T:
        """Note one that somebody has taken; those that have waited for that go on."""
        self._taken += size_of(result)
        if self._is_waited_for:
            loop.call_soon_threadsafe(waiting.wake)
        return result


class _Asked:
    """The tries of one request.

    Parameters
    ----------
    what : str
        For messages.
    seconds : float
        Of silence, after which none is made any more.
    each_s : float, optional
        That each try has, however long all take.
    """

    def __init__(self, what: str, seconds: float, each_s: float | None) -> None:
        self._what = what
        self._each_s = each_s
        self._clock = Clock(seconds)
        self._least_s = min(
            1.0, seconds / 8
        )  # else tries, ever shorter, would each bring a few bytes, and so another one
        self._tries = self._in_vain = self._stalls = 0
        self._said = ""
        self._is_cut = False

    def trial(self, now: float) -> Trial:
        """The next try."""
        seconds = STALL_S * 2**self._stalls if self._each_s is None else self._each_s
        self._is_cut = self._each_s is None and self._clock.left(now) <= seconds
        return Trial(self._clock, seconds, is_alone=self._each_s is not None)

    def came(self, trial: Trial, size: int) -> None:
        """Note that a try has brought a part of what was asked for."""
        self._in_vain = self._stalls = 0
        if not trial.size:
            self._clock.gain(size)

    def failed(self, trial: Trial, error: Exception, after: Failed, *, has_answered: bool) -> float:
        """Seconds to wait before the next try; ReadError where there is none."""
        self._tries += 1
        self._in_vain += 1
        if after.lost == "nothing" and trial.size:
            self._in_vain, self._stalls = 1, 0
        elif isinstance(error, TimeoutError):
            self._stalls += 1
        if after.lost != "nothing":
            trial.lose(is_all=after.lost == "all")
        if not self._said or not isinstance(error, TimeoutError) or not self._is_cut:
            self._said = _said(error)  # a try that had only what was left of the time says nothing of the server
        pause = pause_s(self._in_vain, retry_after_s(error))
        late = self._tries >= FIRST_TRIES or self._clock.ran > FIRST_S
        goes_on = is_temporary(error) if after.again is None else after.again
        if not goes_on or (late and not has_answered) or pause + self._least_s > self._clock.left():
            tries = f" ({self._tries} tries in {self._clock.ran:.0f} s)" if self._tries > 1 else ""
            raise ReadError(f"{self._what}: {self._said}{tries}{_advice(self._what, error)}") from error
        self._clock.spend(pause)
        return pause


def _said(error: Exception) -> str:
    """What a failed try said, without secrets."""
    text = without_secrets(said(error))[:_MESSAGE_LENGTH].removesuffix(".")
    return f"{type(error).__name__}: {text or 'no answer in time'}"


def _advice(what: str, error: Exception) -> str:
    """What may help against an error, behind what is said of it."""
    if isinstance(error, UnicodeEncodeError):
        return (
            "; the name or the password in the URL has letters that can't be sent so: give them as a header, by the "
            'storage option client_kwargs={"headers": {"Authorization": "Basic …"}}'
        )
    if status_of(error) == NO_PROXY or "Proxy" in type(error).__name__:
        return "; that is the proxy, which http_proxy, https_proxy or all_proxy names: no_proxy excepts servers from it"
    if not is_denied(error):
        return ""
    if status_of(error) == FORBIDDEN and LIST_OF in what:
        return (
            "; the credentials are missing or wrong, or the server lists no folders: an index beside the project "
            "(`blobdir index --beside`, before it's uploaded) makes lists needless"
        )
    return "; the credentials are missing, wrong or expired"


async def outcome(call: Awaitable[T]) -> T | OSError:
    """What a request gives, or its error, where one that fails mustn't end the others."""
    try:
        return await call
    except OSError as error:
        return to_keep(error)


def _with_few_retries(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options under which botocore doesn't repeat requests by itself: s3fs does, and so do we, and tries multiply."""
    config = options.get("config_kwargs") or {}
    if url.partition("://")[0] not in ("s3", "s3a") or "::" in url or "retries" in config:
        return options
    return {**options, "config_kwargs": {**config, "retries": {"total_max_attempts": 1}}}


def _protocols(fs: AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
