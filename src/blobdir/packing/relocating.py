"""Folders, and lists, that are moved or copied at once in the middle of an edit.

What is in a folder keeps its names, so that what belongs together there does so at the new place. First it's found out
who has what, then everything is moved, file by file, and then it's noted again who has what. A list in which there are
images and also something that belongs to one of them is moved the same way: each goes where the list says.
"""

from __future__ import annotations

from posixpath import basename
from typing import TYPE_CHECKING

from blobdir.errors import UsageError
from blobdir.packing.renames import in_order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from blobdir.packing.edited import Origin
    from blobdir.packing.editing import Edit
    from blobdir.packing.renames import Rename


def relocate(edit: Edit, source: str, target: str, *, copy: bool = False) -> None:
    """Move or copy what is in a folder, as it is in the edit.

    Images that are moved take along what belongs to them and lies elsewhere; those that are there already are replaced,
    with all that is theirs.

    Parameters
    ----------
    edit : Edit
    source, target : str
        Paths of the folder, and of what it's to be.
    copy : bool
        Whether it stays as well.

    Raises
    ------
    UsageError
        It lies in `target`, and something would have to be in two places meanwhile.
    """
    relocation = _Relocation(edit, [(source, target)])
    if twice := next(iter(relocation.new.keys() & set(relocation.new.values())), None):
        raise UsageError(
            f"{twice}: something else of {source} would take its place; give the folder another name first"
        )
    with edit.whole():
        if copy:
            relocation.copy()
        else:
            relocation.move()


def move_all(edit: Edit, parts: Sequence[Rename]) -> None:
    """Move files and folders of a list, as if at once; each image takes along what belongs to it.

    Parameters
    ----------
    edit : Edit
    parts : sequence of (str, str)
        Paths of what is moved, and those that it's to have; none lies in another one.

    Raises
    ------
    UsageError
        Two would come to one place, or one into itself.
    """
    taken = {path for pair in parts for path in pair}
    for source, target in parts:
        if source != target and f"{target}/".startswith(f"{source}/"):
            raise UsageError(f"{source}: can't be moved into itself, {target}")
    moves = in_order(parts, lambda path: edit.free_name(path, taken))
    if relocate_together(edit, parts):
        return
    for source, target in sorted(moves, key=lambda move: not edit.places.is_image(move[0])):
        if edit.exists(source):
            edit.move(source, target)
        elif edit.holds(source) or edit.folders_below(source):
            relocate(edit, source, target)
        else:
            raise UsageError(f"{source}: went along with what it belongs to; move it by itself, before that")


def relocate_together(edit: Edit, parts: Sequence[Rename], *, copy: bool = False) -> bool:
    """Move or copy files and folders of a list at once, if one of them belongs to an image that another one has.

    Parameters
    ----------
    edit : Edit
    parts : sequence of (str, str)
        Paths of what is moved, and those that it's to have, no two the same; none lies in another one.
    copy : bool
        Whether they stay as well. Files of a list that has no folders are copied one by one.

    Returns
    -------
    bool
        Whether it was done: without such, the parts can be moved one after the other.

    Raises
    ------
    UsageError
        Two would come to one place: one by the list, and one along with an image.
    """
    relocation = _Relocation(edit, parts)
    if not (relocation.crosses_as_copies() if copy else relocation.crosses()):
        return False
    with edit.whole():
        if copy:
            relocation.copy()
        else:
            relocation.move()
    return True


def follow(edit: Edit, source: str, target: str) -> bool:
    """Move what is left of a folder whose files have gone along with images: to the one of this name that has them.

    Returns
    -------
    bool
        Whether it was such a folder.

    Raises
    ------
    UsageError
        They went elsewhere.
    """
    if edit.exists(source) or edit.holds(source) or not edit.folders_below(source):
        return False
    went = edit.side_files.carried_from(source)
    if astray := next((to for to in went if not to.startswith(f"{target}/")), None):
        raise UsageError(f"{source}: what was in it went along with its images, {went[astray]} to {astray}")
    is_there = edit.holds(target) or bool(edit.folders_below(target))
    if not is_there or basename(source) != basename(target):
        return False
    relocate(edit, source, target)
    return True


class _Relocation:
    """Files and folders that get other paths.

    Attributes
    ----------
    new : dict
        Path of each file -> the one that it's to have.
    images : dict
        The same of the images.
    """

    def __init__(self, edit: Edit, parts: Sequence[Rename]) -> None:
        self._edit, self._side_files = edit, edit.side_files
        self._below = {source: _below(edit, source) for source, _ in parts}
        self._parts = [(source, target) for source, target in parts if source != target]
        self.new = {file: to + file.removeprefix(source) for source, to in self._parts for file in self._below[source]}
        self._folders = [(source, target) for source, target in self._parts if source not in self.new]
        self._part = {file: source for source, files in self._below.items() for file in files}
        self.images = {file: to for file, to in self.new.items() if edit.places.is_image(file)}
        self._empty: list[str] = []

    def crosses(self) -> bool:
        """Whether a part has or replaces what belongs to an image of another one, or comes with it."""
        if len(self._parts) < 2 or len(self.images) in (0, len(self.new)):
            return False
        coming = {to: self._part[file] for file, to in self.new.items()}
        for image, to in self.images.items():
            self._edit.check_kind(image, to)
            along = self._side_files.renamed(image, to)
            replaced = self._side_files.of(to) if self._edit.exists(to) else ()
            mine = self._part[image]
            if any(self._part.get(path, mine) != mine for path in (*along, *along.values(), *replaced)):
                return True
            if any(coming.get(path, mine) != mine for path in along.values()):
                return True
        return False

    def crosses_as_copies(self) -> bool:
        """Whether a part has what belongs to an image of another one, and they aren't files only."""
        if len(self._parts) < 2 or not self._folders:
            return False
        return any(
            self._part.get(path, self._part[image]) != self._part[image]
            for image in self.images
            for path in self._side_files.of(image)
        )

    def copy(self) -> None:
        """Have all be at both places."""
        meanings, alone = self._meanings()
        by_itself = {
            to
            for to, file in alone.items()
            if self._part[file] == file or not self._side_files.is_side_file(file) or self._side_files.having(file)
        }
        read = {file: self._edit.read(file) for file in read_late(self.new.items())}
        pasts = {file: self._edit.sources.past(file) for file in self.new}
        labelled = self._begin(replacing=[to for image, to in self.images.items() if self._part[image] != image])
        for file, to in self.new.items():
            data = read[file] if file in read else self._edit.read(file)
            origin: Origin = "copied" if to in by_itself else "moved"
            self._edit.write(to, data, origin=origin, member=file in self.images, past=pasts[file])
        kept = {to: meant for to, meant in meanings.items() if to not in by_itself}
        self._end(labelled, kept, {})

    def move(self) -> None:
        """Have all be at the new places."""
        meanings, alone = self._meanings()
        plain = {to for to, file in alone.items() if not self._side_files.is_side_file(file)}
        had = {to: self._side_files.having(file) for to, file in alone.items() if to not in plain}
        left = {to: {self.images.get(image, image) for image in images} for to, images in had.items()}
        for image, to in self.images.items():
            self._edit.check_kind(image, to)
        labelled = self._begin(replacing=self.images.values())
        self._move()
        for source, _ in self._folders:
            self._side_files.forget_all(self._below[source])
            if not self._edit.holds(source):
                self._edit.remove_folder(source)
        self._end(labelled, {to: meant for to, meant in meanings.items() if to not in plain}, left)

    def _meanings(self) -> tuple[dict[str, set[str] | None], dict[str, str]]:
        """For which images each file is at its new path; and of those that are for none, also the old one."""
        files = {file: to for file, to in self.new.items() if file not in self.images}
        meanings = {to: self._side_files.meaning(file, to, self.images) for file, to in files.items()}
        return meanings, {to: file for file, to in files.items() if meanings[to] == set()}

    def _begin(self, replacing: Iterable[str]) -> list[str]:
        """Make room; the new paths of images whose label comes to where it's theirs."""
        edit = self._edit
        for source, target in self._folders:
            empty = edit.folders_below(source)
            self._empty += [target + path.removeprefix(source) for path in empty]
            edit.places.carry(source, target, [*self._below[source], *empty])
        for folder in self._empty:  # before anything is changed
            edit.places.check_folder(folder)
        labelled = [to for image, to in self.images.items() if self._keeps_label(image, to)]
        for to in replacing:
            if edit.exists(to) and to not in self.new:
                edit.remove(to, keep=self.new)
        return labelled

    def _keeps_label(self, image: str, to: str) -> bool:
        if not self._side_files.has_label(image):
            return False
        label = next(filter(self._edit.exists, self._side_files.labels(image)))
        return self.new.get(label) in self._side_files.labels(to)

    def _move(self) -> None:
        edit = self._edit
        along = list(self._side_files.moving_together(self.images, self.new))
        taken = set(self.new.values())
        for old, places, _ in along:
            if twice := next((to for to in places if to in taken), None):
                raise UsageError(f"{twice}: {old} comes there along with {places[twice][0]}; move the other before")
        follow = {old: next(iter(places)) for old, places, is_shared in along if not is_shared and len(places) == 1}
        moves = self.new | follow
        taken = set(moves.values())
        copied = [(old, places) for old, places, _ in along if old not in follow]
        read = {old: edit.read(old) for old, _ in copied if old in taken}
        pasts = {old: edit.sources.past(old) for old, _ in copied}
        for file, to in self._in_order(moves):
            edit.transfer(file, to)
        for old, places in copied:
            content = read[old] if old in read else edit.read(old)
            for to in places:
                edit.write(to, content, origin="moved", past=pasts[old])
        places_of = {old: places for old, places, _ in along}
        taken.update(*places_of.values())
        for old, _, is_shared in along:
            if not is_shared and old not in follow and old not in taken:
                edit.discard(old)
        edit.note_followed(follow)
        for old, places in places_of.items():
            for to, owners in places.items():
                edit.side_files.carry(old, to, owners)

    def _in_order(self, moves: Mapping[str, str]) -> Iterable[Rename]:
        if moves.keys().isdisjoint(moves.values()):
            return moves.items()
        taken = moves.keys() | moves.values()
        return in_order(moves.items(), lambda path: self._edit.free_name(path, taken))

    def _end(
        self, labelled: Iterable[str], meanings: Mapping[str, set[str] | None], left: Mapping[str, set[str]]
    ) -> None:
        for image in labelled:
            self._side_files.unblank(image)
        for path, meant in meanings.items():
            if path in left:
                self._side_files.wait_for(path, left[path])
            else:
                self._side_files.mean(path, meant)
        for folder in self._empty:
            self._edit.make_folder(folder)


def read_late(copies: Iterable[Rename]) -> list[str]:
    """Of what is copied one after the other, what is read only after something else was copied to its place."""
    written: set[str] = set()
    found = []
    for source, target in copies:
        if source in written:
            found.append(source)
        written.add(target)
    return found


def _below(edit: Edit, path: str) -> Collection[str]:
    """Files of a folder, and a file itself; nothing is written where one lies that is still to be moved."""
    return [path] if edit.exists(path) else sorted(edit.files_below(path), key=lambda file: file.count("/"))
