"""Folders that are moved or copied in the middle of an edit, with all that is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blobdir.packing.editing import Edit


def relocate(edit: Edit, source: str, target: str, *, copy: bool = False) -> None:
    """Move or copy what is in a folder, as it is in the edit. Labels and side files stay meant for the same images.

    Parameters
    ----------
    edit : Edit
    source, target : str
        Paths of the folder, and of what it's to be.
    copy : bool
        Whether it stays as well.
    """
    with edit.whole():
        below, empty = edit.files_below(source), edit.folders_below(source)
        for file in below:
            if not edit.exists(file):
                continue  # it has gone with its image
            to = target + file.removeprefix(source)
            meant = edit.side_files.meaning(file, (source, target))
            if copy:
                edit.write(to, edit.read(file))
            else:
                edit.move(file, to)
            if not edit.is_image(to):
                edit.side_files.mean(to, meant)
        if not copy:
            edit.remove_folder(source)
        for folder in empty:
            edit.make_folder(target + folder.removeprefix(source))
