"""Folders that are moved or copied in the middle of an edit, with all that is in them.

What is in the folder keeps its names, so that what belongs together there does so at the new place. First it's found
out who has what, then everything is moved, file by file, and then it's noted again who has what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.errors import UsageError

if TYPE_CHECKING:
    from blobdir.packing.editing import Edit


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
    side_files = edit.side_files
    below, empty = edit.files_below(source), edit.folders_below(source)
    below.sort(key=lambda path: path.count("/"))  # nothing is written where one lies that is still to be moved
    new = {file: target + file.removeprefix(source) for file in below}
    images = {file: to for file, to in new.items() if edit.places.is_image(file)}
    if twice := next(iter(new.keys() & set(new.values())), None):
        raise UsageError(
            f"{twice}: something else of {source} would take its place; give the folder another name first"
        )
    with edit.whole():
        edit.places.carry(source, target, [*below, *empty])
        for image, to in images.items():
            edit.check_kind(image, to)
        meanings = {to: side_files.meaning(file, (source, target)) for file, to in new.items() if file not in images}
        alone = [file for file, to in new.items() if file not in images and meanings[to] == set()]
        left = {new[file]: side_files.having(file) - images.keys() for file in alone}
        labelled = [to for image, to in images.items() if side_files.has_label(image) and _label(edit, image) in new]
        for to in filter(edit.exists, images.values()):
            edit.remove(to)
        if copy:
            for file, to in new.items():
                edit.write(to, edit.read(file), origin="moved")
        else:
            _move(edit, new, images)
            side_files.forget_all(new)
            edit.remove_folder(source)
        for image in labelled:
            side_files.unblank(image)
        for path, meant in meanings.items():
            if path in left:
                side_files.wait_for(path, left[path])
            else:
                side_files.mean(path, meant)
        for folder in empty:
            edit.make_folder(target + folder.removeprefix(source))


def _move(edit: Edit, new: dict[str, str], images: dict[str, str]) -> None:
    along = list(edit.side_files.moving_together(images, new))
    contents = [edit.read(old) for old, _, _ in along]
    for file, to in new.items():
        edit.transfer(file, to)
    for (old, places, is_shared), content in zip(along, contents, strict=True):
        for to, owners in places.items():
            edit.write(to, content, origin="moved")
            edit.side_files.carry(old, to, owners)
        if not is_shared:
            edit.discard(old)


def _label(edit: Edit, image: str) -> str:
    return next(filter(edit.exists, edit.side_files.labels(image)))
