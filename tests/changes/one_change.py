"""One change of a project and of its model: done, killed in the middle, or tried with a defect planted before it."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from changes.children import killed_at
from changes.defects import DEFECTS, CantBePlanted
from changes.looking import differences, seen, shown
from changes.plain_model import Model, Refused
from hypothesis import note

from blobdir.errors import BlobdirError, BlobdirWarning
from blobdir.packing import compact, recover

KILL, DEFECT = "killed", "defect"


@dataclass
class Action:
    """What is done to a project, and to the model.

    Attributes
    ----------
    run : callable
        Given the project's folder.
    change : callable
        Given the model.
    target : Path, optional
        Where it makes another project.
    """

    run: Callable[[Path], object]
    change: Callable[[Model], object] = lambda model: None
    target: Path | None = None


class ProjectAndModel:
    """A project, and what it has to be.

    Attributes
    ----------
    root : Path
    model : Model
    others : list of (Path, Model)
        Projects that others were made of.
    removed : set of bytes
        What was in the project once.
    """

    def __init__(self):
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="changes-"))
        self.root = self.base / "p"
        self.model = Model({})
        self.others: list[tuple[Path, Model]] = []
        self.number = 0
        self.removed: set[bytes] = set()

    def fresh(self, what):
        self.number += 1
        return self.base / f"{what}{self.number}"

    def perform(self, action, how=()):
        old, new, refused = self.model, self.model.copy(), False
        try:
            action.change(new)
        except Refused:
            new, refused = old.copy(), True
        self.removed |= set(old.files.values()) - set(new.files.values())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlobdirWarning)
            if how and how[0] == KILL:
                self._killed(action, new, how[1], refused)
            elif how:
                self._with_defect(action, new, how, refused)
            else:
                self._done(action, new, refused)

    def _done(self, action, new, refused):
        try:
            action.run(self.root)
        except BlobdirError as error:
            assert refused, f"a change of a sound project was refused: {error!r}"
        else:
            assert not refused, "a change that would lose something was made"
            self._take(action, new)

    def _take(self, action, new):
        if action.target is not None:
            self.others.append((self.root, self.model))
            self.root = action.target
        self.model = new

    def _killed(self, action, new, number, refused):
        killed, was_refused = killed_at(lambda: action.run(self.root), number)
        note(f"killed: {killed}")
        if not killed:
            assert was_refused == refused
            if not refused:
                self._take(action, new)
            return
        views = [self.model.files, new.files] if action.target is None else [self.model.files]
        for options in ({}, {"index": "auto"}):
            found = seen(self.root, **options)
            assert found is None or not all(differences(found, view) for view in views), "half a change is shown"
        if action.target is not None:
            if action.target.exists():
                assert not differences(shown(action.target), new.files), "half a project stands at its place"
                shutil.rmtree(action.target)
            self._done(action, new, refused)
            return
        if number % 2:
            compact(self.root)  # whatever the next change is
        else:
            recover(self.root)
        if differences(shown(self.root), self.model.files):
            assert not refused
            self._take(action, new)

    def _with_defect(self, action, new, how, refused):
        outside = self.fresh("outside")
        try:
            with DEFECTS[how[1]](self.root, outside, how[2]):
                try:
                    action.run(self.root)
                except (BlobdirError, OSError) as error:
                    note(f"refused: {error!r:.300}")
                    if action.target is not None:
                        assert not action.target.exists()
                else:
                    assert not refused, "with a defect, a change was made that would lose something"
                    if action.target is not None:
                        assert not differences(shown(action.target), new.files)
                    self._take(action, new)
        except CantBePlanted:
            return
