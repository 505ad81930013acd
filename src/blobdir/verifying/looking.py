"""Looks at annotations: in this process, or at many of them in helpers of its own that run beside it.

Helpers are plain interpreters that run this file, which needs nothing but the standard library: they start in 20 ms.
Those of `multiprocessing` import the caller's main module again, which has to be guarded against that.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH = 2000
_READ_BYTES = 64 << 10
_DECODER = json.JSONDecoder()

INVALID, SIDE_INVALID = "annotation-invalid", "side-invalid"
Remark = tuple[str, str, str]
"""Dataset, code of a finding, and an example of it; of `INVALID` and `SIDE_INVALID` the name alone."""


@dataclass(frozen=True, slots=True)
class Job:
    """Annotations, or other JSON files of images, of one folder.

    Attributes
    ----------
    dataset, folder : str
        Path of the dataset in the project, and of the folder on this machine.
    names : list of str
    prefix : str
        What stands before the names in messages.
    is_annotation : bool
        Or another JSON file of an image.
    """

    dataset: str
    folder: str
    names: list[str]
    prefix: str = ""
    is_annotation: bool = True

    def as_tuple(self) -> tuple[str, str, list[str], str, bool]:
        """What makes the same job again. `dataclasses.astuple` would copy the list, name by name."""
        return self.dataset, self.folder, self.names, self.prefix, self.is_annotation

    @property
    def code(self) -> str:
        """Of the finding that one of them is no such file."""
        return INVALID if self.is_annotation else SIDE_INVALID


def look_at(dataset: str, name: str, data: bytes, classes: set[Any], tags: set[Any]) -> list[Remark]:
    """What is wrong with an annotation: whether it is one, and names what ``meta.json`` knows.

    Why it is none isn't said: only the caller's process has what says it (`blobdir.annotations`).
    """
    try:
        value = _DECODER.decode(data.decode())
        size, objects = value["size"], value["objects"]
        if not (isinstance(size["height"], int) and isinstance(size["width"], int) and isinstance(objects, list)):
            return [(dataset, INVALID, name)]
        titles = {item["classTitle"] for item in objects}
        named = {tag["name"] for holder in (value, *objects) for tag in holder.get("tags", ())}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [(dataset, INVALID, name)]
    if titles <= classes and named <= tags:
        return []
    found = [(dataset, "class-unknown", f"{name}: class {title!r} isn't in meta.json") for title in titles - classes]
    return found + [(dataset, "tag-unknown", f"{name}: tag {tag!r} isn't in meta.json") for tag in named - tags]


def look_at_json(dataset: str, name: str, data: bytes) -> list[Remark]:
    """Whether another JSON file of an image is one."""
    try:
        _DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        return [(dataset, SIDE_INVALID, name)]
    return []


def look_at_files(job: Job, classes: set[Any], tags: set[Any]) -> list[Remark]:
    """Look at plain files; one that is a link by now isn't followed."""
    found: list[Remark] = []
    try:
        folder = os.open(job.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return [(job.dataset, job.code, job.prefix + name) for name in job.names]
    try:
        for name in job.names:
            try:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                try:
                    data = os.read(file, _READ_BYTES)
                    if len(data) == _READ_BYTES:
                        data = b"".join([data, *iter(lambda: os.read(file, _READ_BYTES), b"")])  # noqa: B023  # read at once
                finally:
                    os.close(file)
            except OSError:
                found.append((job.dataset, job.code, job.prefix + name))
                continue
            if job.is_annotation:
                found += look_at(job.dataset, job.prefix + name, data, classes, tags)
            else:
                found += look_at_json(job.dataset, job.prefix + name, data)
    finally:
        os.close(folder)
    return found


class Helpers:
    """Processes that look at annotations while this one does something else. A context manager that ends them.

    Parameters
    ----------
    jobs : list of Job
    classes, tags : set
        What ``meta.json`` knows.
    count : int
        Processes; 0 looks in this one, when it is asked for the result.
    """

    def __init__(self, jobs: list[Job], classes: set[Any], tags: set[Any], count: int) -> None:
        self._jobs, self._classes, self._tags = jobs, classes, tags
        self._running: list[tuple[subprocess.Popen[bytes], list[Job]]] = []
        for number in range(min(count, len(jobs))):
            part = jobs[number::count]
            command = [sys.executable, "-I", "-S", __file__]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  # ourselves
            self._running.append((process, part))
            with suppress(BrokenPipeError), _pipe(process.stdin) as pipe:  # one that has died is noticed by its result
                pickle.dump(([job.as_tuple() for job in part], classes, tags), pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process, _part in self._running:
            process.kill()
            _pipe(process.stdout).close()
            process.wait()

    def remarks(self) -> Iterable[Remark]:
        """What was found; of a helper that has died, found out here."""
        if not self._running:
            for job in self._jobs:
                yield from look_at_files(job, self._classes, self._tags)
        for process, part in self._running:
            data = _pipe(process.stdout).read()
            if process.wait() == 0:
                yield from pickle.loads(data)
            else:
                for job in part:
                    yield from look_at_files(job, self._classes, self._tags)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without a pipe")
    return pipe


def serve() -> None:
    """What a helper does: jobs from standard input, remarks to standard output."""
    jobs, classes, tags = pickle.loads(sys.stdin.buffer.read())
    found = [remark for job in jobs for remark in look_at_files(Job(*job), classes, tags)]
    sys.stdout.buffer.write(pickle.dumps(found))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
