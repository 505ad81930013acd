"""The Python API: projects and datasets by the names that their users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blobdir.datasets import DatasetView, ProjectView, changeable_root
from blobdir.filesystem import BlobDirFileSystem
from blobdir.images import decode_image
from blobdir.wording import counted

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    from blobdir.packing import ChangeReport
    from blobdir.tree import Tree


def open_project(
    url: str | os.PathLike[str], *, storage_options: dict[str, Any] | None = None, **options: Any
) -> Project:
    """Open a blob project, or tars as they are.

    Parameters
    ----------
    url : str or path
        The folder that holds ``meta.json``; a tar, or a pattern of tars (``shards/*.tar``, ``x-{0000..0099}.tar``); any
        fsspec URL. Of tars there are no datasets, but files: `Project.filesystem`.
    storage_options : dict, optional
        Options for the URL's backend.
    **options
        Those of `BlobDirFileSystem`: ``index``, ``show_blobs``, ``follow_links``, ``on_conflict``, ``on_defect``,
        ``target_protocol``, ``progress``.

    Returns
    -------
    Project

    Raises
    ------
    NotAProjectError
        There is nothing at the place, or nothing that is a blob project, nor a tar.
    """
    return Project(BlobDirFileSystem(url, target_options=storage_options, skip_instance_cache=True, **options))


class Project(ProjectView["Dataset"]):
    """A blob project: a mapping of its datasets, by name.

    A nested dataset answers to its name, ``train/hard``, and to its path on disk, ``train/datasets/hard``; iteration
    gives names.

    Attributes
    ----------
    filesystem : BlobDirFileSystem
        The same project as files.
    """

    def __init__(self, filesystem: BlobDirFileSystem) -> None:
        super().__init__(filesystem.view)
        self.filesystem = filesystem

    @property
    def tree(self) -> Tree:
        """The view below."""
        return self.filesystem.view

    @classmethod
    def create(cls, path: str | os.PathLike[str], meta: dict[str, Any] | None = None) -> Project:
        """Make an empty blob project, and open it.

        Parameters
        ----------
        path : path
            Must not exist.
        meta : dict, optional
            Content of ``meta.json``; without classes and tags by default.

        Raises
        ------
        UsageError
            It's there already.
        """
        from blobdir.packing import create_project

        create_project(path, meta)
        return open_project(path)

    def add_blob_file(self, tar: str | os.PathLike[str], dataset: str, *, link: bool = False) -> ChangeReport:
        """Take a tar of images into the project, as a blob of a dataset; the project shows it then.

        `Dataset` objects that were made before keep what they show. See `blobdir.packing.add_blob_file`.
        """
        from blobdir.packing import add_blob_file

        report = add_blob_file(self._folder(), tar, dataset, link=link)
        self.filesystem.show_change(f"{self._folder()}: the change was made")
        return report

    def create_blob_readme(self, *, title: str = "", description: str = "", replace: bool = False) -> Path:
        """Write the project's ``README.md``: see `blobdir.packing.create_blob_readme`."""
        from blobdir.packing import create_blob_readme

        path = create_blob_readme(self._folder(), title=title, description=description, replace=replace)
        self.filesystem.show_change(f"{self._folder()}: the change was made")
        return path

    def _folder(self) -> str:
        return changeable_root(self.tree)

    def _dataset(self, tree: Tree, path: str) -> Dataset:
        return Dataset(self.filesystem, path, tree)

    def __reduce__(self) -> tuple[Any, ...]:
        return Project, (self.filesystem,)

    def __repr__(self) -> str:
        return f"<Project {self.url}: {counted(len(self), 'dataset')}>"


class Dataset(DatasetView):
    """The images and annotations of one dataset.

    Attributes
    ----------
    name : str
        As in ``train/hard``.
    path : str
        As on disk, ``train/datasets/hard``.
    """

    def __init__(self, filesystem: BlobDirFileSystem, path: str, tree: Tree | None = None) -> None:
        super().__init__(tree or filesystem.view, path)
        self._filesystem = filesystem

    def __repr__(self) -> str:
        return f"<Dataset {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset, (self._filesystem, self.path)

    def get_blob_img_np(self, name: str, keep_alpha: bool = False) -> NDArray[Any]:
        """Pixels of an image, as the SDK gives them.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB, turned as EXIF says; with `keep_alpha`, and of NRRD, see `blobdir.images.decode_image`.

        Raises
        ------
        ImageError
            The image can't be decoded; the message names it.
        """
        return decode_image(self.get_blob_img_bytes(name), keep_alpha=keep_alpha, name=f"{self._images}/{name}")
