"""What label files said of datasets, where images of several are to be in one: put together, or refused.

Side files of images refer to it: licenses by number, objects by classes that stand for others. So it goes where they
go, by this one rule: `blobdir.packing.merging`, `blobdir.packing.growing.move` and `blobdir.packing.editedsources` ask
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

from blobdir.annotations import annotation_fault, classes_of, read_object
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, BlobdirError, PackError, UsageError
from blobdir.labels.sources import merged_sources, names_of_classes
from blobdir.labels.supervisely import SOURCE
from blobdir.packing.loose import why_unread
from blobdir.packing.report import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from blobdir.packing.belongings import Belongings
    from blobdir.packing.provenance import Provenance
    from blobdir.packing.report import ChangeReport
    from blobdir.packing.writer import ProjectWriter


@dataclass(frozen=True, slots=True)
class Part:
    """Images that are, or come to be, in a dataset together with others.

    Attributes
    ----------
    content : bytes or None
        Of the `SOURCE` that they had until then.
    uses : callable
        Of some titles of classes, those that their objects have, or may have.
    """

    content: bytes | None
    uses: Callable[[Collection[str]], Collection[str]]

    @property
    def standing(self) -> dict[str, Any]:
        """Title of a class -> the name that it has in the label files."""
        if self.content is None:
            return {}
        try:
            return names_of_classes(self.content)
        except AnnotationError:  # some other file of this name; whether both can be one is seen when it's taken
            return {}


def source_of(known: Provenance, dataset: str) -> bytes | None:
    """Content of a dataset's `SOURCE`; None where there is none, and PackError where it can't be read."""
    path = f"{dataset}/{SOURCE}"
    try:
        return known.storage.read(path) if known.is_file(path) else None
    except PackError:
        raise
    except (OSError, BlobdirError) as error:
        raise PackError(f"{path}: can't be read: {why_unread(known.root, path, error)}; nothing was changed") from error


def check_classes(target: str, parts: Sequence[Part], of: str = "dataset") -> None:
    """Refuse where a title stands for another class in one part, and for itself in another one that has objects of it.

    Parameters
    ----------
    target : str
        Path of the dataset.
    parts : sequence of Part
    of : str
        What messages say that the parts are of.

    Raises
    ------
    UsageError
    """
    standing = [part.standing for part in parts]
    for (mine, _), (others, other) in permutations(zip(standing, parts, strict=True), 2):
        wrong = {title: name for title, name in mine.items() if others.get(title, title) != name}
        for title in sorted(other.uses(wrong)) if wrong else ():
            raise UsageError(
                f"{target}: the class {title!r} stands for {wrong[title]!r} in the labels of one {of} ({SOURCE}), and "
                "not in those of the other; give it another name there; nothing was changed"
            )


def put_together(target: str, contents: Iterable[bytes | None], of: str = "dataset") -> tuple[bytes | None, list[str]]:
    """Contents of `SOURCE` in one, and what can't be in it as it was; None where there is none.

    Parameters
    ----------
    target : str
        Path of the dataset.
    contents : iterable of bytes or None
        What they differ in is kept of the first.
    of : str
        As for `check_classes`.

    Raises
    ------
    UsageError
        They can't be one: images would have another license, say.
    """
    found: bytes | None = None
    lost: list[str] = []
    for content in contents:
        if found is None or content is None or content == found:
            found = content if found is None else found
            continue
        try:
            found, more = merged_sources(found, content)
        except AnnotationError as error:
            text = f"both {of}s have it, and they can't be put together: {error}; make them the same"
            raise UsageError(f"{target}/{SOURCE}: {text}; nothing was changed") from error
        lost += more
    return found, lost


def bring_sources(
    writer: ProjectWriter, images: Mapping[str, Mapping[str, Belongings]], target: str, report: ChangeReport
) -> None:
    """Have a dataset's `SOURCE` say what those of the datasets say that images come from.

    Parameters
    ----------
    writer : ProjectWriter
    images : mapping
        Path of each dataset -> name of each image that comes -> what belongs to it.
    target : str
        Path.
    report : ChangeReport
        Told of what can't be in it as it was.

    Raises
    ------
    UsageError
        It can't be put together.
    """
    before = source_of(writer.known, target)
    parts = [Part(before, lambda titles: titles_used(_labels(writer, target), titles))]
    for dataset, found in images.items():
        parts.append(Part(source_of(writer.known, dataset), _users(writer, dataset, found)))
    check_classes(target, parts)
    content, lost = put_together(target, [part.content for part in parts])
    path = f"{target}/{SOURCE}"
    report.problems += [Problem("kept", path, text) for text in lost]
    if content is None or content == before:
        return
    writer.change.expect(path)
    if not writer.change.dry_run:
        writer.change.stage(path).write_bytes(content)


def titles_used(annotations: Iterable[bytes], titles: Collection[str]) -> set[str]:
    """Of some titles of classes, those that objects of annotations have; nothing is said of one that can't be read."""
    found: set[str] = set()
    raw = [title.encode("utf-8", "surrogatepass") for title in titles]
    for data in annotations:
        if len(found) == len(titles):
            break
        if b"\\" not in data and not any(title in data for title in raw):
            continue  # a title that is written otherwise has a backslash in it
        try:
            value = read_object(data)
        except AnnotationError:
            continue  # it has no objects for anybody
        if not annotation_fault(value):
            found.update(title for title in classes_of(value) if title in titles)
    return found


def _users(
    writer: ProjectWriter, dataset: str, images: Mapping[str, Belongings]
) -> Callable[[Collection[str]], Collection[str]]:
    return lambda titles: titles_used(_labels_of(writer, dataset, images), titles)


def _labels_of(writer: ProjectWriter, dataset: str, images: Mapping[str, Belongings]) -> Iterator[bytes]:
    """Annotations of some images."""
    for mine in images.values():
        for path in mine.files:
            if path.startswith(f"{layout.ANNOTATIONS}/"):
                yield writer.read(f"{dataset}/{path}")
        for _, origin, _ in mine.packed:
            for entry in origin.entries:
                yield writer.read_entry(entry.pickle, entry.start, entry.end)


def _labels(writer: ProjectWriter, dataset: str) -> Iterator[bytes]:
    """All annotations of a dataset, if there is such a one."""
    known, shown = writer.known, f"{dataset}/{layout.ANNOTATIONS}"
    if not known.is_dataset(dataset):
        return
    for path in known.files_below(shown):
        yield writer.read(path)
    for pickle in known.pickles(dataset):
        for _, table in known.tables(pickle) if pickle.shown == shown else ():
            for _, start, end in table.entries():
                yield writer.read_entry(pickle, start, end)
