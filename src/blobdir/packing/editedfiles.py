"""What belongs to images in the middle of an edit: what the project has, without what goes, and what was written."""

from __future__ import annotations

from posixpath import splitext
from types import MappingProxyType
from typing import TYPE_CHECKING

from blobdir.datasets import DatasetView
from blobdir.discovery import layout
from blobdir.errors import IncompleteListingError, UsageError
from blobdir.filenames import is_image_name
from blobdir.packing.sidefiles import FOLDERS, could_have, is_side_folder, owners, renamed_side, side_files

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping

    from blobdir.packing.edited import Edited, Origin
    from blobdir.packing.provenance import Provenance
    from blobdir.packing.sidefiles import SideFile
    from blobdir.tree import Tree


class _Going:
    """Paths at which nothing will be: those that are named, and those of what moves elsewhere."""

    def __init__(self, named: set[str], moving: Mapping[str, str]) -> None:
        self._named, self._moving = named, moving

    def __contains__(self, path: object) -> bool:
        return path in self._named or path in self._moving


class EditedSideFiles:
    """The side files of images, as they would be.

    Each step leaves what it would leave as a change of its own. An image that is written without a label is *blank*:
    from then on it has one of its own, without objects, which becomes a file when all is committed; so it takes no
    other image's by the stem. Two things are easier than that. A side file that is written, and not moved, when no
    image has it is there for whoever comes; and a new label by the stem that nobody has is for blank images of that
    stem.

    Each file that is written in a step is meant for some images: one that went along with an image for that, one that
    was written by itself for those that had it then. What it isn't meant for doesn't get it. When the step has ended,
    a file is for those who have it, as in a project; what nobody has, and wasn't there before, waits for who comes.

    Parameters
    ----------
    tree : Tree
        The project when the edit began.
    known : Provenance
    edit : Edited
    """

    def __init__(self, tree: Tree, known: Provenance, edit: Edited) -> None:
        self._tree, self._known, self._edit = tree, known, edit
        self._folders: set[str] = set()
        self._side: dict[str, dict[str, None]] = {}  # folder -> side folders in it that something was written to
        self._written: dict[tuple[str, str], dict[str, None]] = {}
        self._views: dict[str, DatasetView] = {}
        # Files that the step wrote -> the images that they're for; None, also later: for whoever comes.
        self._meant: dict[str, set[str] | None] = {}
        # Files that went along with an image -> where they were; new labels by the stem -> images that had them then.
        self._carried: dict[str, str] = {}
        self._new_labels: dict[str, set[str]] = {}
        # Files that were moved by themselves -> the images that had them, which may follow; and the other way round.
        self._awaits: dict[str, set[str]] = {}
        self._left: dict[str, set[str]] = {}
        # Labels that images have without there being a file -> the image; those of images that had another one.
        self._blank: dict[str, str] = {}
        self._lost: dict[str, None] = {}
        # In the step under way: images that came; files that came, or are for others now; images that lost some.
        self._new_images: dict[str, None] = {}
        self._touched: dict[str, None] = {}
        self._bared: dict[str, dict[str, None]] = {}

    def before(self, path: str) -> set[str] | None:
        """What `note` has to know of a file that is going to be written: who has it; None where it isn't there.

        Nor is an image there, where a plain file lies in its place.
        """
        is_there = self._edit.exists(path) and (self._edit.places.is_image(path) or not self._edit.places.of(path)[0])
        return self.having(path) if is_there else None

    def note(self, path: str, before: set[str] | None, origin: Origin) -> None:
        """A file was written.

        Parameters
        ----------
        path : str
        before : set of str or None
            As `before` gave it.
        origin : {"new", "copied", "moved"}
        """
        folder = path.rpartition("/")[0]
        while folder and folder not in self._folders:
            self._folders.add(folder)
            above, _, name = folder.rpartition("/")
            if is_side_folder(name):
                self._side.setdefault(above, {})[name] = None
            folder = above
        dataset, name = self._edit.places.of(path)
        is_image = self._edit.places.is_image(path)
        for base in (name, splitext(name)[0]) if is_image else ():
            self._written.setdefault((dataset, base), {})[name] = None
        self._carried.pop(path, None)
        self._awaits.pop(path, None)
        self._lost.pop(path, None)
        self._touched[path] = None
        if is_image:
            self._note_image(path, is_new=before is None)
            if before is None:
                self._new_images[path] = None
        elif self._is_label(path):
            self._note_label(path, before, origin)
        elif not dataset:
            images = before or self._called_like(path) or self.having(path)
            self._meant[path] = images or (set() if origin == "moved" else None)

    def _note_image(self, image: str, *, is_new: bool) -> None:
        by_name, by_stem = self.labels(image)
        if self._exists(by_name):
            return
        takes = self.is_meant(by_stem, image) if is_new else image in self.having(by_stem)
        if not (self._edit.exists(by_stem) and takes):
            self._blank[by_name] = image

    def _note_label(self, path: str, before: set[str] | None, origin: Origin) -> None:
        self._blank.pop(path, None)
        images = before or self._called_like(path) or self.having(path)
        if not images and origin != "moved":
            images = self._claimed(path, alone=origin == "copied")
        self._meant[path] = images or (set() if origin == "moved" or self._of_stem(path) else None)
        self._new_labels.pop(path, None)
        if not before and origin == "new" and not self._called_like(path):
            self._new_labels[path] = images

    def _claimed(self, path: str, *, alone: bool) -> set[str]:
        """The image without a label that one by the stem is for, which nobody has; none if others could be meant.

        Raises
        ------
        UsageError
            There are several, and one is new: without `alone`.
        """
        named = self.having(path, blank=False)
        images = {image for image in named if self.labels(image)[0] in self._blank}
        if alone and (images != named or len(self._of_stem(path)) > 1):
            return set()
        if len(images) > 1:
            one, other = sorted(images)[:2]
            raise UsageError(f"{path}: is for {one} or for {other}; write {self.labels(one)[0]}; nothing was changed")
        for image in images:
            self.unblank(image)
        return images

    def _of_stem(self, label: str) -> list[str]:
        """Images that could have a label by the stem."""
        dataset = self.dataset_of(label)
        stem = label[len(dataset) + len(layout.ANNOTATIONS) + 2 :].removesuffix(".json")
        return self._named(dataset, stem)

    def wait_for(self, path: str, images: set[str]) -> None:
        """A file was moved here without the images that had it: they may follow.

        If it's a label by the stem, it may be for an image without one that it can only be for.
        """
        meant = self._meant.get(path) or self._called_like(path) or self.having(path)
        if images and not meant and self._is_label(path):
            meant = self._claimed(path, alone=True)
        self._meant[path] = meant
        if not meant:
            self._awaits[path] = set(images)
            for image in images:
                self._left.setdefault(image, set()).add(path)

    def labels(self, image: str) -> tuple[str, str]:
        """Where the label of an image is: by its name, and by its stem if there is none."""
        dataset, name = self._edit.places.of(image)
        by_name, by_stem = (f"{dataset}/{layout.ANNOTATIONS}/{base}.json" for base in (name, splitext(name)[0]))
        return by_name, by_stem

    def blanks(self) -> list[tuple[str, str]]:
        """Images that have no label but the one that they get when all is committed, and where that is to be."""
        return [(image, label) for label, image in self._blank.items()]

    def unblank(self, image: str) -> None:
        """An image has another label."""
        self._blank.pop(self.labels(image)[0], None)

    def has_label(self, image: str) -> bool:
        """Whether an image has a label that is a file."""
        by_name, by_stem = self.labels(image)
        return self._edit.exists(by_name) or (self._edit.exists(by_stem) and image in self.having(by_stem))

    def _exists(self, path: str) -> bool:
        return path in self._blank or self._edit.exists(path)

    def is_side_file(self, path: str) -> bool:
        """Whether a path is one of a side file of some dataset."""
        return self.dataset_of(path) != ""

    def _is_label(self, path: str) -> bool:
        return path.startswith(f"{self.dataset_of(path)}/{layout.ANNOTATIONS}/")

    def meaning(self, path: str, target: str, renamed: Mapping[str, str]) -> set[str] | None:
        """For which images a file is, if some are called otherwise then, and the others don't have it: see `mean`.

        Parameters
        ----------
        path, target : str
            Its path, and the one that it's to have. It's for none that couldn't have it there.
        renamed : mapping
            Path of each image -> the other one.
        """
        images = self._meant[path] if path in self._meant else self.having(path)
        if images is None:
            return None
        return {renamed[image] for image in images if image in renamed and self._could_have(renamed[image], target)}

    def _could_have(self, image: str, path: str) -> bool:
        """Whether a file would belong to an image, if nothing else were there."""
        dataset, name = self._edit.places.of(image)
        begin = f"{dataset}/"
        return path.startswith(begin) and could_have(name, path[len(begin) :])

    def mean(self, path: str, images: set[str] | None) -> None:
        """Say for which images a file is that was written; None: for whoever comes."""
        if path in self._meant:
            self._meant[path] = images
            self._touched[path] = None

    def having(self, path: str, *, blank: bool = True) -> set[str]:
        """Images that have a file; none where that can't be known. Without `blank`, as if none were."""
        try:
            dataset = self.dataset_of(path)
            names = self._owners(dataset, path, blank=blank) if dataset else ()
            return {f"{dataset}/{layout.ITEMS}/{name}" for name in names}
        except IncompleteListingError:
            return set()

    def _called_like(self, path: str) -> set[str]:
        """The image that has a file by its full name, if there is one: a file that is new is for that."""
        dataset = self.dataset_of(path)
        folder, _, name = path[len(dataset) + 1 :].partition("/")
        image = f"{dataset}/{layout.ITEMS}/{name.removesuffix(FOLDERS.get(folder, ''))}"
        is_there = dataset and folder in FOLDERS and self._edit.places.is_image(image) and self._edit.exists(image)
        return {image} if is_there else set()

    def dataset_of(self, path: str) -> str:
        """Dataset of a side file; empty for others."""
        for folder in layout.above(path):
            above, _, name = folder.rpartition("/")
            if is_side_folder(name) and above and self._edit.places.of(path, name)[0] == above:
                return above
        return ""

    def forget(self, path: str) -> None:
        """A file is removed."""
        self._meant.pop(path, None)
        self._carried.pop(path, None)
        self._awaits.pop(path, None)
        if self._edit.places.of(path)[0]:
            self.unblank(path)
            for file in self._left.pop(path, ()):
                self._awaits.get(file, set()).discard(path)
            return
        for image in self._called_like(path):
            self._bared.setdefault(image, {})[path] = None
            by_name, by_stem = self.labels(image)
            if path == by_name and self._edit.exists(by_stem):
                if self._is_for_anybody(by_stem):
                    self._meant[by_stem] = {image}  # it has come
                    self._touched[by_stem] = None
                elif self.having(by_stem) - {image}:
                    self._blank[path] = image
                    self._lost[path] = None

    def forget_all(self, paths: Iterable[str]) -> None:
        """A folder is removed with all that is in it, so nobody could have taken one of its labels for another one."""
        for path in paths:
            if path in self._lost:
                del self._lost[path]
                self._blank.pop(path, None)

    def leave(self, path: str, image: str) -> None:
        """A file stays, and an image that had it goes."""
        if images := self._meant.get(path):
            images.discard(image)

    def join(self, path: str, image: str) -> None:
        """A file is meant for one more image."""
        self._touched[path] = None
        if path not in self._meant:
            self._meant[path] = self.having(path)
        if (images := self._meant[path]) is not None:
            images.add(image)

    def carry(self, old: str, path: str, images: Iterable[str]) -> None:
        """A file was written that goes along with some images."""
        self._carried[path] = old
        self._meant[path] = set(images)

    def carried_from(self, folder: str) -> dict[str, str]:
        """Where files are that went along with images from a folder -> where they were."""
        return {to: old for to, old in self._carried.items() if old.startswith(f"{folder}/")}

    def is_meant(self, path: str, image: str) -> bool:
        """Whether a file was written for an image, or for whoever comes."""
        images = self._meant.get(path, ())
        return images is None or image in images

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path; one that was emptied counts."""
        if path in self._folders:
            return self._edit.holds(path)
        try:
            return self._tree.is_directory(self._tree.find(path, follow=False))
        except IncompleteListingError:
            raise  # nobody can know
        except OSError:
            return False

    def _view(self, dataset: str) -> DatasetView:
        if dataset not in self._views:
            self._views[dataset] = DatasetView(self._tree, dataset)
        return self._views[dataset]

    def _named(self, dataset: str, base: str) -> list[str]:
        """Images that are called so, as a whole or without their extension."""
        names = dict.fromkeys((*self._view(dataset).named(base), *self._written.get((dataset, base), ())))
        paths = {name: f"{dataset}/{layout.ITEMS}/{name}" for name in names}
        return [name for name, path in paths.items() if self._edit.exists(path) and self._is_image_there(path)]

    def _is_image_there(self, path: str) -> bool:
        """Whether what is at a path in ``img/`` is an image: a plain file may have come to the place of a member."""
        return is_image_name(path) or self._edit.is_member(path)

    def _places(self, dataset: str, name: str, going: Container[str] = ()) -> list[SideFile]:
        """Where an image has files, if some are gone by then."""
        folders = dict.fromkeys([layout.ANNOTATIONS, *self._known.side_folders(dataset)])
        folders |= self._side.get(dataset, {})
        return side_files(name, lambda path: self._is_there(f"{dataset}/{path}", going), list(folders))

    def _is_there(self, path: str, going: Container[str]) -> bool:
        return (self._exists(path) and path not in going) or self.is_folder(path)

    def of(self, image: str) -> dict[str, bool]:
        """Path of each file that belongs to an image -> whether others need it too.

        Raises
        ------
        IncompleteListingError
            Something can't be listed, so it isn't known.
        """
        return {path: shared for _, path, shared in self._of(image)}

    def _of(self, image: str) -> Iterator[tuple[SideFile, str, bool]]:
        dataset, name = self._edit.places.of(image)
        for one in self._places(dataset, name):
            yield from ((one, path, shared) for path, shared in self._at(dataset, name, one))

    def _at(self, dataset: str, name: str, one: SideFile) -> list[tuple[str, bool]]:
        full = f"{dataset}/{one.path}"
        is_file = self._edit.exists(full)
        if name not in self._owners(dataset, full if is_file else f"{full}/"):
            return []
        files = [full] if is_file else self._edit.files_below(full)
        return [(path, len(self._owners(dataset, path)) > 1) for path in files]

    def _owners(self, dataset: str, path: str, *, blank: bool = True) -> list[str]:
        exists = self._exists if blank else self._edit.exists
        return owners(
            path[len(dataset) + 1 :],
            lambda base: self._named(dataset, base),
            lambda path: exists(f"{dataset}/{path}"),
        )

    def check_step(self) -> None:
        """Refuse a step that leaves an image with files that aren't meant for it, as if it were a change of its own.

        New images get none of files that others have, nobody gets those that were written for another one, and who lost
        one gets no other image's by the stem.

        Raises
        ------
        UsageError
        """
        images, paths, bared = self._new_images, self._touched, self._bared
        self._new_images, self._touched, self._bared = {}, {}, {}
        new = list(filter(self._edit.exists, images))
        for path in {path: None for image in new for path in self.of(image) if self._is_for_anybody(path)}:
            self._meant[path], paths[path] = self._come(path), None
        for image in new:
            self._check_new_image(image)
        blank = (self.labels(image)[0] for image in images)
        for path in filter(self._exists, [*paths, *blank]):
            mine = {self._blank[path]} if path in self._blank else self._meant.get(path)
            if mine is not None and (others := self.having(path) - mine):
                raise UsageError(f"{path}: would be taken for {min(others)}'s as well; nothing was changed")
        for image, lost in bared.items():
            if self._edit.exists(image):
                self._check_bared(image, lost)
        for path in paths:  # from now on who has a file says for whom it is
            if not (self._is_for_anybody(path) and self._edit.exists(path) and not self.having(path)):
                self._meant.pop(path, None)

    def _come(self, path: str) -> set[str]:
        """Images that a file waited for: of a label, the one of its full name, and the others have none."""
        images = self.having(path)
        first = self._called_like(path) if self._is_label(path) else set()
        for image in images - first if first else ():
            self._blank[self.labels(image)[0]] = image
        return first or images

    def check_all(self, images: Iterable[str]) -> None:
        """Refuse a label of which nobody can know for which image it is, as all is at the end.

        Raises
        ------
        UsageError
        """
        for image in images:
            by_name, by_stem = self.labels(image)
            meant = self._new_labels.get(by_stem, set()) & self.having(by_stem)
            if by_name in self._blank and meant:
                what = f"is for {min(meant)} or for {image}, which has no label either; write {by_name}"
                raise UsageError(f"{by_stem}: {what}; nothing was changed")

    def _check_new_image(self, image: str) -> None:
        dataset, name = self._edit.places.of(image)
        for path, shared in self.of(image).items():
            if not shared or self.is_meant(path, image):
                continue
            other = next(other for other in self._owners(dataset, path) if other != name)
            raise UsageError(
                f"{path}: is {other}'s, and would be taken for {image}'s as well; give the new image another name; "
                "nothing was changed"
            )

    def _check_bared(self, image: str, lost: Iterable[str]) -> None:
        folders = {path[len(self.dataset_of(path)) + 1 :].partition("/")[0] for path in lost}
        for one, path, shared in self._of(image):
            if one.by_stem and one.folder in folders and shared and not self.is_meant(path, image):
                raise UsageError(
                    f"{path}: would be taken for {image}'s, which has none of its own any more; nothing was changed"
                )

    def renamed(self, image: str, target: str) -> dict[str, str]:
        """Path of each file that belongs to an image -> the path that it has to have when the image is `target`."""
        (dataset, name), (new_dataset, new_name) = self._edit.places.of(image), self._edit.places.of(target)
        found = {}
        for one, path, _ in self._of(image):
            found[path] = f"{new_dataset}/{renamed_side(path[len(dataset) + 1 :], one, name, new_name)}"
        return found

    def moving(
        self, image: str, target: str, fixed: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[dict[str, str], set[str]]:
        """What goes along when an image is moved.

        Parameters
        ----------
        image, target : str
            The path that it has, and the one that it's to have. What belongs to an image there goes.
        fixed : mapping
            Path of a file that has got its new one otherwise -> that.

        Returns
        -------
        dict
            Path of each file that is to be written elsewhere -> the path there.
        set
            Paths that stay as they are, and are for it: they were written when no image had them, or went along with
            another image that shares them.

        Raises
        ------
        UsageError
            It would get another one's files, or another one would get its.
        """
        renamed = {old: fixed.get(old, to) for old, to in self.renamed(image, target).items()}
        replaced = self.of(target) if self._edit.exists(target) else {}
        free = replaced.keys() | {to for to in renamed.values() if to in fixed}
        stay = {to for to in renamed.values() if self._is_for_anybody(to) and to not in free}
        stay |= {to for old, to in renamed.items() if old != to and to not in free and self._is_same(old, to)}
        new = {old: to for old, to in renamed.items() if to not in stay and old != to}
        going = {path for path, shared in (replaced | self.of(image)).items() if not shared} - stay
        for path in self._check_free(image, target, list(new.values()), _Going(going, fixed), stay):
            self._meant[path] = (self._meant.get(path) or self.having(path)) | {target}
            stay.add(path)
        return new, stay | {to for old, to in renamed.items() if old == to}

    def moving_together(
        self, images: Mapping[str, str], fixed: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, list[str]], bool]]:
        """What goes along, besides what has got its new path otherwise, when images are moved at once.

        Parameters
        ----------
        images : mapping
            Path of each image -> the one that it's to have.
        fixed : mapping
            As for `moving`.

        Yields
        ------
        (str, dict, bool)
            Path of a file; the paths that it's to be written to, each with the images that it is for there; and whether
            others need it too where it is.
        """
        found: dict[str, dict[str, list[str]]] = {}
        for image, target in images.items():
            for old, to in self.moving(image, target, fixed)[0].items():
                if old not in fixed:
                    found.setdefault(old, {}).setdefault(to, []).append(target)
        for old, places in found.items():
            yield old, places, not self.having(old) <= images.keys()

    def _is_for_anybody(self, path: str) -> bool:
        """Whether a file was written when no image had it."""
        return path in self._meant and self._meant[path] is None

    def _is_same(self, old: str, to: str) -> bool:
        """Whether a file went to a path along with another image already."""
        return self._carried.get(to) == old and self._edit.read(old) == self._edit.read(to)

    def _check_free(
        self, image: str, target: str, new: Collection[str], going: Container[str], stay: set[str]
    ) -> set[str]:
        """Refuse an image's new name where it would get another one's files, or another one would get its.

        Returns what waits there for it.

        Parameters
        ----------
        image, target : str
        new : collection of str
            Paths that its files are to have.
        going : container of str
            What won't be there then.
        stay : set of str
            What is, and is for it.
        """
        dataset, name = self._edit.places.of(target)
        gets_own = not self.has_label(image)
        awaited: set[str] = set()
        for one in self._places(dataset, name, going):
            full = f"{dataset}/{one.path}"
            own = one.by_stem and one.folder in FOLDERS and f"{dataset}/{one.folder}/{name}{FOLDERS[one.folder]}" in new
            is_file = self._edit.exists(full)
            if not could_have(name, one.path if is_file else f"{one.path}/"):
                continue
            below = [full] if is_file else self._edit.files_below(full)
            awaited.update(path for path in below if image in self._awaits.get(path, ()))
            own |= gets_own and one.by_stem and one.folder == layout.ANNOTATIONS
            free = stay | awaited
            left = [path for path in below if path not in free and path not in going]
            if not own and any(not self.is_meant(path, target) for path in left):
                raise UsageError(f"{full}: is there already, and would be taken for {target}'s; move it away first")
        begin = f"{dataset}/"
        for path in (path for path in new if path.startswith(begin)):
            others = owners(
                path[len(begin) :],
                lambda base: [other for other in self._named(dataset, base) if other != name],
                lambda found: f"{begin}{found}" not in going and self._exists(f"{begin}{found}"),
            )
            others = [other for other in others if f"{begin}{layout.ITEMS}/{other}" != image]
            if others:
                raise UsageError(f"{path}: would be taken for {others[0]}'s as well; choose another name")
        return awaited
