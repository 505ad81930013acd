"""Which images of a project are meant: by name, pattern, dataset, class, tag, and so many of each class."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING, Literal, get_args

from blobdir.annotations import meta_problems
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, IncompleteListingError, NotFoundError, UsageError
from blobdir.packing.labelreading import read_labels
from blobdir.packing.report import Problem, texts
from blobdir.packing.typed import Pattern, all_readings, is_exact, meant, path_of, readings
from blobdir.wording import counted, near

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.packing.typed import Image

Blobs = Literal["link", "symlink", "copy"]


@dataclass(frozen=True, slots=True)
class SubsetOptions:
    """Which images a subset has; all conditions hold together, and none takes everything.

    Attributes
    ----------
    names : list of str, optional
        ``train/img/a.jpg``, ``train/a.jpg``, or ``a.jpg`` of any dataset. Each must be there.
    patterns : tuple of str
        Shell patterns for ``train/a.jpg``, any of which fits. Each must fit some image.
    datasets : tuple of str
    classes, tags : tuple of str
        Images with an object of any of these classes; with any of these tags, on the image or an object.
    per_class : int
        So many images of each class, chosen by `seed`, or all where there are fewer; 0 is all. One that is chosen
        counts for all its classes, so that of common classes there can be more.
    seed : int
    blobs : {"link", "symlink", "copy"}
        Hard links (nothing is copied, either project may be removed), symbolic links (other filesystems; needs
        ``follow_links`` to read), or copies.
    follow_links : bool
        Whether what a symbolic link leads to outside the project is taken as well.
    strict : bool
        Whether the first annotation that can't be used is an error; if not, its image isn't chosen where that depends
        on classes or tags, and the report names it.
    """

    names: list[str] | None = None
    patterns: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    per_class: int = 0
    seed: int = 0
    blobs: Blobs = "link"
    follow_links: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if self.blobs not in get_args(Blobs):
            raise UsageError(f"blobs={self.blobs!r}: choose one of {', '.join(get_args(Blobs))}")
        if self.per_class < 0:
            raise UsageError("per_class can't be negative")
        for what in ("patterns", "datasets", "classes", "tags"):
            object.__setattr__(self, what, tuple(texts(what, getattr(self, what))))
        if self.names is not None:
            object.__setattr__(self, "names", texts("names", self.names))

    @property
    def by_annotation(self) -> bool:
        """Whether the choice depends on annotations."""
        return bool(self.classes or self.tags or self.per_class)

    @property
    def takes_all(self) -> bool:
        """Whether all images of the datasets are meant."""
        return self.names is None and not self.patterns and not self.by_annotation


@dataclass(slots=True)
class Choice:
    """What was chosen.

    Attributes
    ----------
    images : dict
        Path of each dataset that was looked at -> names of the images, sorted.
    considered : set of str
        Datasets with images among which annotations had to choose, or all were meant.
    problems : list of Problem
        Annotations that can't be used, so that their images aren't chosen.
    without_annotation : int
        Images that weren't chosen because they have none, and so neither class nor tag.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    considered: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    without_annotation: int = 0

    @property
    def count(self) -> int:
        """Images."""
        return sum(map(len, self.images.values()))

    def said(self) -> str:
        """What else is to be said where nothing is chosen: perhaps annotations can't be used."""
        if not self.problems:
            return ""
        first = self.problems[0]
        return (
            f"; {counted(len(self.problems), 'annotation')} can't be used, the first is {first.path}: {first.message}"
        )


def choose(project: ProjectView[DatasetView], options: SubsetOptions) -> Choice:
    """Choose images.

    Raises
    ------
    UsageError
        A dataset, class or tag isn't known, or a name stands for two images.
    NotFoundError
        A name isn't there, or a pattern fits nothing.
    AnnotationError
        With ``strict``, the first annotation that can't be used; or ``meta.json`` doesn't say which classes and tags
        there are.
    IncompleteListingError
        The images of a dataset aren't all known.
    """
    for name in options.datasets:
        project.chosen(name)
    _check_known(project, options)
    datasets = [
        dataset
        for dataset in (project[name] for name in project)
        if not options.datasets or {dataset.name, dataset.path} & set(options.datasets)
    ]
    names = {dataset.path: dataset.names for dataset in datasets}
    if options.names is not None:
        wanted = find_images(project, options.names)
        names = {path: sorted(wanted.get(path, ())) for path in names}
    if options.patterns:
        names = _fitting(project, names, options.patterns, options.datasets)
    choice = Choice(names, {path for path, some in names.items() if some or options.takes_all})
    if options.by_annotation:
        labels = _labels(project, choice, options)
        if options.per_class:
            labels = sample(labels, options.per_class, options.seed)
        choice.images = {path: [n for n in some if (path, n) in labels] for path, some in names.items()}
    return choice


def datasets_of(project: ProjectView[DatasetView], choice: Choice) -> list[str]:
    """Paths of the datasets that a project made of a choice has.

    Those with images; those above them, so that each keeps its place, though it has nothing of its own; and those that
    have no image in the project either, which no condition can have meant to leave out.
    """
    known = project.tree.index.header.datasets
    wanted = {path for path, names in choice.images.items() if names}
    above: set[str] = set()
    for path in wanted:
        while path := path.rpartition("/")[0]:
            above.add(path)
    wanted |= {path for path, names in choice.images.items() if not names and not len(project[path])}
    return [path for path in known if path in wanted or path in above]


def _check_known(project: ProjectView[DatasetView], options: SubsetOptions) -> None:
    """Refuse classes and tags that ``meta.json`` doesn't have: one that is misspelt would give an empty subset."""
    if not options.classes and not options.tags:
        return
    try:
        meta = project.meta
    except NotFoundError:
        return  # nobody knows them then
    if problems := meta_problems(meta):
        raise AnnotationError(f"{layout.META}: {'; '.join(problems)}")
    for key, name, what, wanted in (
        ("classes", "title", "class", options.classes),
        ("tags", "name", "tag", options.tags),
    ):
        known = [item[name] for item in meta.get(key, [])]
        for typed in wanted:
            if typed not in known:
                others = near(typed, known, "it has", f"it has no {key}")
                raise UsageError(f"{typed}: isn't a {what} of {layout.META}, so no image is chosen by it; {others}")


def _fitting(
    project: ProjectView[DatasetView],
    names: Mapping[str, list[str]],
    patterns: tuple[str, ...],
    chosen: tuple[str, ...],
) -> dict[str, list[str]]:
    """Names that a pattern fits, in the datasets that were `chosen`, or all; NotFoundError where one fits none."""
    fits = {pattern: Pattern(pattern) for pattern in patterns}
    unused = dict.fromkeys(patterns)
    found: dict[str, list[str]] = {}
    for path, some in names.items():
        called = project[path].name
        found[path] = []
        for name in some:
            fitting = [pattern for pattern, one in fits.items() if one.fits(path, called, name)]
            if fitting:
                found[path].append(name)
                for pattern in fitting:
                    unused.pop(pattern, None)
    for one in fits.values():
        one.check()
    for pattern in unused:
        if not chosen and (why := project.why_unseen()):
            raise IncompleteListingError(
                f"{pattern}: no image fits that could be listed, and others may be there: {why}"
            )
        raise NotFoundError(f"{pattern}: no image fits; {near_pattern(project, names, pattern)}")
    return found


def near_pattern(project: ProjectView[DatasetView], names: Mapping[str, list[str]], pattern: str) -> str:
    """What a pattern that fits no image may be meant to be."""
    others = dict.fromkeys((f"*/{pattern}", pattern.replace(f"/{layout.ITEMS}/", "/"), pattern.removeprefix("/")))
    for other in others:
        fit = re.compile(translate(other)).match
        for path, some in names.items():
            if other != pattern and any(fit(f"{project[path].name}/{name}") for name in some):
                return f"patterns are for names such as train/a.jpg: {other} would fit"
    full = [f"{project[path].name}/{name}" for path, some in names.items() for name in some[:1000]]
    return (
        near(pattern, full[:5000], "patterns are for names such as", "there are no images")
        if full
        else ("there are no images")
    )


def find_images(project: ProjectView[DatasetView], typed: Iterable[str]) -> dict[str, set[str]]:
    """Path of each dataset -> names of its images that are meant by what somebody has typed.

    By the rule of `blobdir.packing.typed`; ``a.jpg`` are those of all datasets.

    Raises
    ------
    NotFoundError
        Nothing is meant by one of them.
    IncompleteListingError
        What is meant may be in a folder that can't be listed.
    UsageError
        One of them is two images: ``a/b.jpg`` in dataset ``a``, in a folder, say, and in a dataset ``a/b``.
    """
    datasets = {project[name].path: project[name] for name in project}
    by_name = {project[path].name: path for path in datasets}
    bare: dict[str, list[str]] = {}
    wanted: dict[str, set[str]] = {}

    def called(text: str) -> list[str]:
        return [path for path in dict.fromkeys((text, by_name.get(text, ""))) if path in datasets]

    def there(images: list[Image]) -> list[Image]:
        return [image for image in images if _has(datasets[image[0]], image[1])]

    for text in typed:
        possible = readings(text, called)
        found = meant(text, there(possible))
        is_path = any(is_exact(text, image) for image in possible)
        if not found and not is_path:
            if not bare:
                bare = _everywhere(datasets)
            found = [(path, text) for path in bare.get(text, ())]
        if not found and (why := project.why_unseen(text.rpartition("/")[0])):
            raise IncompleteListingError(
                f"{text}: isn't among the images that could be listed, and may be among the others: {why}"
            )
        if not found:
            others = " and ".join(map(path_of, there(all_readings(text, called))))
            other = f"; if {others} is meant, write so" if others else ""
            raise NotFoundError(f"{text}: no dataset of {project.url} has an image of this name{other}")
        for path, name in found:
            wanted.setdefault(path, set()).add(name)
    return wanted


def _has(dataset: DatasetView, name: str) -> bool:
    return name in dataset and name in dataset.named(name)  # a file that is no image isn't meant


def _everywhere(datasets: Mapping[str, DatasetView]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, dataset in datasets.items():
        for name in dataset.names:
            found.setdefault(name, []).append(path)
    return found


def _labels(project: ProjectView[DatasetView], choice: Choice, options: SubsetOptions) -> dict[Image, Collection[str]]:
    """Images that the conditions for classes and tags hold for -> their classes."""
    classes, tags = frozenset(options.classes), frozenset(options.tags)
    found: dict[Image, Collection[str]] = {}
    for path, name, file, fault, labels in read_labels(project, choice.images):
        if fault:
            if options.strict:
                raise AnnotationError(f"{file}: {fault} (--strict)")
            choice.problems.append(Problem("unreadable", file, f"{fault}; {path_of((path, name))} isn't chosen"))
        elif labels is None:
            choice.without_annotation += 1
        else:
            titles, tagged = labels
            if classes:
                titles = tuple(title for title in titles if title in classes)
            if (titles or not classes) and (not tags or not tags.isdisjoint(tagged)):
                found[path, name] = titles
    return found


def sample(labels: Mapping[Image, Collection[str]], per_class: int, seed: int) -> dict[Image, Collection[str]]:
    """So many images of each class, or all where there are fewer: the same ones for the same seed, wherever it runs.

    Classes take turns, the rarest first, and an image counts for all its classes: what is common needs fewer of its own
    then. Each image has a rank that depends on nothing but its name and the seed, so other images hardly change the
    choice. Takes time linear in the pairs of image and class.
    """
    of_class: dict[str, list[Image]] = {}
    for _, image in sorted([(_rank(image, seed), image) for image in labels]):
        for title in labels[image]:
            of_class.setdefault(title, []).append(image)
    kept: dict[Image, Collection[str]] = {}
    counts = dict.fromkeys(of_class, 0)
    for title in sorted(of_class, key=lambda title: (len(of_class[title]), title)):
        for image in of_class[title]:
            if counts[title] >= per_class:
                break
            if image not in kept:
                kept[image] = labels[image]
                for other in labels[image]:
                    counts[other] += 1
    return kept


def _rank(image: Image, seed: int) -> bytes:
    text = f"{seed}\0{image[0]}\0{image[1]}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()
