"""What label files said of datasets, in the middle of an edit: it comes to where side files of images come."""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from fnmatch import fnmatchcase
from posixpath import basename, dirname
from typing import TYPE_CHECKING, NamedTuple

from fsspec.utils import glob_translate

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.labels.supervisely import SOURCE
from blobdir.packing.labelsources import Part, check_classes, put_together, source_of, titles_used

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from blobdir.packing.edited import Edited
    from blobdir.packing.editedfiles import EditedSideFiles
    from blobdir.packing.provenance import Provenance


class Past(NamedTuple):
    """What the content of a file means.

    Attributes
    ----------
    source : bytes or None
        What the `SOURCE` of its dataset said when it was last there.
    dataset : str
        Path of the dataset that it's in.
    since : int
        Step in which it came there with that; -1: it says what the dataset's own files say.
    """

    source: bytes | None
    dataset: str
    since: int


class EditedSources:
    """What label files said of the files of each dataset, step by step, and what `SOURCE` has to say in the end.

    A file that leaves a dataset keeps what the `SOURCE` there says at that time, whatever becomes of that, and wherever
    the file goes. It's put together at the end, of what the files say that are there then, so that what lies in a third
    place for a while, and what swaps places, changes nothing. A `SOURCE` that comes along in a folder says something
    like any other file; one that somebody writes, or copies or moves by its name, stays as he wants it, and holds for
    all that is in the dataset then. Where one goes, what stays has none any more.

    Parameters
    ----------
    known : Provenance
        What there is in the project, as it was before.
    edit : Edited
    side_files : EditedSideFiles
    """

    def __init__(self, known: Provenance, edit: Edited, side_files: EditedSideFiles) -> None:
        self._known, self._edit, self._side_files = known, edit, side_files
        self._step = 0
        self._came: dict[str, tuple[bytes | None, int]] = {}  # file -> what it says, and the step in which it came
        # Dataset -> what those of its files say that didn't come; and the last step whose files, and those before, do.
        self._own: dict[str, bytes | None] = {}
        self._until: dict[str, int] = {}
        self._chosen: set[str] = set()
        # Of the step under way: what was chosen, and what has gone.
        self._new: set[str] = set()
        self._gone: set[str] = set()

    def past(self, path: str) -> Past | None:
        """What a file says before it's copied or moved; None: nothing of labels."""
        dataset = self._dataset_of(path)
        return self._said(path, dataset) if dataset or path in self._came else None

    def note(self, path: str, past: Past | None) -> None:
        """A file was written; None: with something new."""
        self.forget(path)
        if past is not None:
            since = past.since if past.dataset == self._dataset_of(path) else self._step
            if since >= 0:
                self._came[path] = past.source, since
        elif basename(path) == SOURCE:
            self.choose([path])

    def forget(self, path: str, *, gone: bool = False) -> None:
        """A file is something else from now on, or `gone`."""
        self._came.pop(path, None)
        if basename(path) == SOURCE:
            self._chosen.discard(path)
            self._new.discard(path)
            if gone:
                self._gone.add(path)

    def choose(self, paths: Iterable[str]) -> None:
        """Files were copied or moved by their names."""
        self._new.update(path for path in paths if basename(path) == SOURCE and self._edit.exists(path))
        self._chosen |= self._new

    def end_step(self) -> None:
        """What was done since the last time was one step: from here on, files leave datasets as they are now."""
        for path in self._gone:
            self._hold(path, None, self._step - 1)
        for path in self._new:
            self._hold(path, self._edit.read(path), self._step)
        if self._gone or self._new:
            self._gone, self._new = set(), set()
        self._step += 1

    def _hold(self, path: str, content: bytes | None, until: int) -> None:
        """Have a `SOURCE` be what all files of its dataset say, but for those that came after a step."""
        dataset = dirname(path)
        self._own[dataset], self._until[dataset] = content, until

    def settle(self, given: Iterable[str]) -> None:
        """Have each `SOURCE` be there that's going to be copied, moved or removed by itself, and say what it has to.

        Parameters
        ----------
        given : iterable of str
            Paths, and patterns. What can't be put together is no error of a pattern, which fits other files, too.

        Raises
        ------
        UsageError
        """
        meant = [one for one in given if fnmatchcase(SOURCE, basename(one))]
        if not meant:
            return
        for dataset, parts in self._coming().items():
            path = f"{dataset}/{SOURCE}"
            is_named = path in meant
            if is_named or any(re.match(glob_translate(one), path) for one in meant):
                with nullcontext() if is_named else suppress(UsageError):
                    content, _ = self._together(dataset, parts)
                    self._settle(path, content)

    def _settle(self, path: str, content: bytes | None) -> None:
        if content is None:
            return
        if not (self._edit.exists(path) and self._edit.read(path) == content):
            self._edit.write(path, content)
        self._new.discard(path)
        self._chosen.discard(path)
        self._hold(path, content, self._step)
        self._step += 1

    def _dataset_of(self, path: str) -> str:
        """Dataset of an image, of a file of one, or of a `SOURCE`; empty for others."""
        folder, _, name = path.rpartition("/")
        if name == SOURCE:
            return folder
        return (self._edit.places.of(path)[0] if self._edit.places.is_image(path) else "") or (
            self._side_files.dataset_of(path)
        )

    def _own_of(self, dataset: str) -> bytes | None:
        if dataset not in self._own:
            self._own[dataset] = source_of(self._known, dataset) if dataset else None
        return self._own[dataset]

    def _said(self, path: str, dataset: str) -> Past:
        """What a file says that is in a dataset, or elsewhere."""
        source, since = self._came.get(path, (None, -1))
        if since > self._until.get(dataset, -1):
            return Past(source, dataset, since)
        return Past(self._own_of(dataset), dataset, -1)

    def bring(self) -> list[str]:
        """Write what there has to be, when nothing else comes; gives what can't be in it as it was, for warnings.

        Raises
        ------
        UsageError
            It can't be put together: images would have another license, say.
        """
        said = []
        wanted = [(dataset, *self._together(dataset, parts)) for dataset, parts in self._coming().items()]
        for dataset, content, lost in wanted:
            path = f"{dataset}/{SOURCE}"
            if content is not None and not (self._edit.exists(path) and self._edit.read(path) == content):
                self._edit.write(path, content)
            said += [f"{path}: {'; '.join(lost)}"] if lost else []
        return said

    def _coming(self) -> dict[str, list[bytes | None]]:
        """Dataset to which files came, and where nobody has said what he wants -> all that its files say."""
        coming: dict[str, dict[bytes | None, None]] = {}
        for path in self._came:
            dataset = self._dataset_of(path)
            if dataset and self._edit.exists(path):
                found = coming.setdefault(dataset, {self._own_of(dataset): None})
                found[self._said(path, dataset).source] = None
        return {
            dataset: list(found)
            for dataset, found in coming.items()
            if f"{dataset}/{SOURCE}" not in self._chosen and any(one is not None for one in found)
        }

    def _together(self, dataset: str, contents: list[bytes | None]) -> tuple[bytes | None, list[str]]:
        check_classes(dataset, [Part(content, self._users(dataset, content)) for content in contents])
        return put_together(dataset, contents)

    def _users(self, dataset: str, content: bytes | None) -> Callable[[Collection[str]], Collection[str]]:
        def labels() -> Iterator[bytes]:
            for path in self._edit.files_below(f"{dataset}/{layout.ANNOTATIONS}"):
                if self._said(path, dataset).source == content:
                    yield self._edit.read(path)

        return lambda titles: titles_used(labels(), titles)
