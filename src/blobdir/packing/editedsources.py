"""What label files said of datasets, in the middle of an edit: it comes to where side files of images come."""

from __future__ import annotations

from posixpath import basename
from typing import TYPE_CHECKING, NamedTuple

from blobdir.discovery import layout
from blobdir.labels.supervisely import SOURCE
from blobdir.packing.labelsources import Part, check_classes, put_together, source_of, titles_used

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from blobdir.packing.edited import Edited
    from blobdir.packing.editedfiles import EditedSideFiles
    from blobdir.packing.provenance import Provenance


class Past(NamedTuple):
    """Where the content of a file comes from.

    Attributes
    ----------
    dataset : str
        Path of the dataset that it was in when the edit began; where it's newer, of the one that it was written to.
    is_chosen : bool
        Whether it's a `SOURCE` as somebody wants it: he has written it, or named it.
    """

    dataset: str
    is_chosen: bool = False


class EditedSources:
    """Which images, and files of such, come from another dataset, and what `SOURCE` has to say then.

    It's put together when all is known, so that what lies in a third place for a while, and what swaps places, is of
    the dataset that it was in at first. A `SOURCE` that comes along in a folder counts as such; one that somebody
    writes, or copies or moves by its name, stays as he wants it.

    Parameters
    ----------
    known : Provenance
        What there is in the project, as it was before.
    edit : Edited
    side_files : EditedSideFiles
    """

    def __init__(self, known: Provenance, edit: Edited, side_files: EditedSideFiles) -> None:
        self._known, self._edit, self._side_files = known, edit, side_files
        self._came: dict[str, str] = {}
        self._chosen: set[str] = set()
        self._gone: set[str] = set()

    def past(self, path: str) -> Past:
        """Where the content of a file comes from, before it's copied or moved."""
        return Past(self._came.get(path) or self._dataset_of(path), path in self._chosen)

    def note(self, path: str, past: Past | None) -> None:
        """A file was written; None: with something new."""
        self.forget(path)
        if past is not None and past.dataset:
            self._came[path] = past.dataset
        if basename(path) == SOURCE and (past is None or past.is_chosen):
            self._chosen.add(path)

    def forget(self, path: str, *, gone: bool = False) -> None:
        """A file is something else from now on, or `gone`."""
        self._came.pop(path, None)
        self._chosen.discard(path)
        if gone and basename(path) == SOURCE:
            self._gone.add(path)

    def choose(self, paths: Iterable[str]) -> None:
        """Files were copied or moved by their names."""
        self._chosen.update(path for path in paths if basename(path) == SOURCE)

    def _dataset_of(self, path: str) -> str:
        """Dataset of an image, of a file of one, or of a `SOURCE`; empty for others."""
        folder, _, name = path.rpartition("/")
        if name == SOURCE:
            return folder
        return (self._edit.places.of(path)[0] if self._edit.places.is_image(path) else "") or (
            self._side_files.dataset_of(path)
        )

    def bring(self) -> list[str]:
        """Write what there has to be, when nothing else comes; gives what can't be in it as it was, for warnings.

        Raises
        ------
        UsageError
            It can't be put together: images would have another license, say.
        """
        said = []
        for path, content, lost in list(self._wanted()):
            if not (self._edit.exists(path) and self._edit.read(path) == content):
                self._edit.write(path, content)
            said += [f"{path}: {'; '.join(lost)}"] if lost else []
        return said

    def _wanted(self) -> Iterator[tuple[str, bytes, list[str]]]:
        """Path and content of each file that is to be written, and what can't be in it."""
        coming: dict[str, dict[str, None]] = {}
        for path, dataset in self._came.items():
            target = self._dataset_of(path)
            if target and target != dataset and self._edit.exists(path):
                coming.setdefault(target, {})[dataset] = None
        for target, datasets in coming.items():
            path = f"{target}/{SOURCE}"
            if path in self._chosen and self._edit.exists(path):
                continue
            parts = [Part(self._own(target), self._users(target, target))]
            parts += [Part(self._before(dataset), self._users(target, dataset)) for dataset in datasets]
            check_classes(target, parts)
            content, lost = put_together(target, [part.content for part in parts])
            if content is not None:
                yield path, content, lost

    def _own(self, dataset: str) -> bytes | None:
        """What there was of a dataset, unless that has gone and not come back."""
        path = f"{dataset}/{SOURCE}"
        return None if path in self._gone and self._came.get(path) != dataset else source_of(self._known, dataset)

    def _before(self, dataset: str) -> bytes | None:
        """What there was of a dataset that images come from, or what somebody has written in its place."""
        path = f"{dataset}/{SOURCE}"
        is_chosen = path in self._chosen and self._edit.exists(path)
        return self._edit.read(path) if is_chosen else source_of(self._known, dataset)

    def _users(self, target: str, dataset: str) -> Callable[[Collection[str]], Collection[str]]:
        def labels() -> Iterator[bytes]:
            for path in self._edit.files_below(f"{target}/{layout.ANNOTATIONS}"):
                if self._came.get(path, target) == dataset:
                    yield self._edit.read(path)

        return lambda titles: titles_used(labels(), titles)
