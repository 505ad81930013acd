"""Many small files looked at beside what else is done: by worker processes, or by this one if there are few."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from blobdir.background import start
from blobdir.processes import Job as WorkersJob
from blobdir.processes import Workers, processors
from blobdir.smallfiles import look_at_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Thread
    from types import TracebackType

    from blobdir.smallfiles import Known

MANY = 10_000
"""Files from which on it pays to start processes for them."""


@dataclass(frozen=True, slots=True)
class Job:
    """Files of one kind in one folder.

    Attributes
    ----------
    dataset : str
        Its path in the project.
    folder : str
        On this machine.
    names : list of str
    kind : str
        See `blobdir.smallfiles`.
    prefix : str
        What stands before the names in messages.
    """

    dataset: str
    folder: str
    names: list[str]
    kind: str
    prefix: str = ""


class Looking:
    """Looks at files from its beginning on. A context manager that ends what runs.

    Parameters
    ----------
    jobs : list of Job
    known : Known
    processes : int
        0: one per processor.
    follow_links : bool
        Whether files that are links are looked at.
    """

    def __init__(self, jobs: list[Job], known: Known, processes: int = 0, *, follow_links: bool = False) -> None:
        self._jobs, self._known, self._follow_links = jobs, known, follow_links
        self._found: dict[int, list[tuple[str, str, str]]] = {}
        self._ended = False
        count = min(processes or processors(), len(jobs))
        is_worth_it = count > 1 and sum(len(job.names) for job in jobs) >= MANY
        self._workers = Workers(count if is_worth_it else 0)
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        if self._workers.count:
            with suppress(OSError):  # then they are looked at when somebody asks
                self._thread = start(self._run, name="blobdir looking")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if self._workers.count:
            self._workers.__exit__(kind, error, trace)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            for job, found in self._workers.run(self._asked()):
                self._found[job.about] = found
        except Exception:
            return  # a process has died, or was ended: who wants to know finds out the rest

    def _asked(self) -> Iterator[WorkersJob]:
        for number in range(len(self._jobs)):
            if self._ended:
                return
            yield WorkersJob(look_at_files, self._arguments(number), "looking at small files", number)

    def _arguments(self, number: int) -> tuple[str, bytes, str, Known, bool]:
        job = self._jobs[number]
        return job.folder, os.fsencode("\0".join([*job.names, ""])), job.kind, self._known, self._follow_links

    def remarks(self) -> Iterator[tuple[Job, str, str, str]]:
        """What is wrong: the job, the file's name, a code and what is said of it."""
        if self._thread is not None:
            self._thread.join()
        for number, job in enumerate(self._jobs):
            found = self._found.get(number)
            for name, code, text in look_at_files(*self._arguments(number)) if found is None else found:
                yield job, name, code, text
