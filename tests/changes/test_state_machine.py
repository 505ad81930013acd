"""Any sequence of changes against a plain model: with kills, with defects planted in between, with odd names.

BLOBDIR_TEST_CHANGES=10000 makes so many steps, other ones each time; by default there are few, always the same.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from functools import partial

import fsspec
import pytest
from changes.defects import DEFECTS
from changes.looking import annotation_of, differences, faults, shown
from changes.one_change import DEFECT, KILL, Action, ProjectAndModel
from changes.plain_model import Model, name_of
from changes.samples import (
    DATASETS,
    IMAGE_NAMES,
    annotation,
    files_of,
    packed,
    parts_of,
    pickles,
    picture,
    picture_of,
    tars,
    with_side_files,
    write,
)  # fmt: skip
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from blobdir.cli.app import run
from blobdir.moving import fetch, push
from blobdir.packing import SubsetOptions, add, compact, merge, move, recover, remove, subset
from blobdir.verifying import repair, verify

STEPS = int(os.environ.get("BLOBDIR_TEST_CHANGES", "0"))
A_RUN = 14

NUMBER = st.integers(0, 10**6)
HOW = st.one_of(
    st.just(()), st.just(()), st.tuples(st.just(KILL), st.integers(0, 45)),
    st.tuples(st.just(DEFECT), st.sampled_from(sorted(DEFECTS)), NUMBER),
)  # fmt: skip
DATASET = st.sampled_from(DATASETS)
IMAGES = st.dictionaries(st.sampled_from(IMAGE_NAMES), NUMBER, min_size=1, max_size=5)


class Changes(ProjectAndModel, RuleBasedStateMachine):
    """A project, and the model of it."""

    # -- beginnings ------------------------------------------------------------------------------------------

    @initialize(
        datasets=st.dictionaries(DATASET, IMAGES, min_size=2, max_size=4),
        beside=st.booleans(), shared=st.booleans(), annotations=st.sampled_from(("loose", "packed")),
    )  # fmt: skip
    def pack(self, datasets, beside, shared, annotations):
        images = {
            f"{d}/{n}": picture_of(n, f"{d} {n} {seed}") for d, found in datasets.items() for n, seed in found.items()
        }
        files = with_side_files(files_of(images)) if beside else files_of(images)
        if shared:
            for dataset in datasets:
                notes = f"{dataset}/ann/a.png.json", f"{dataset}/ann/a.bmp.json"
                if all(path in files for path in notes):
                    files[f"{dataset}/ann/a.json"] = files.pop(notes[0])
                    del files[notes[1]]
        packed(self.root, files, shard_images=3, annotations=annotations)
        self.model = Model(files)

    # -- commands --------------------------------------------------------------------------------------------

    def some_images(self, numbers):
        """Images that exist, as one types them -> their paths."""
        there = self.model.images()
        found = {there[number % len(there)]: None for number in numbers} if there else {}
        return {typed: path for path in found if (typed := self.model.typed(path))}

    @rule(dataset=DATASET, images=IMAGES, noted=st.booleans(), replace=st.booleans(), how=HOW)
    def add(self, dataset, images, noted, replace, how):
        for name in images:  # what has files beside it isn't replaced: whether they are the new one's nobody can know
            if self.model.side_files(f"{dataset}/img/{name}"):
                return
        folder = self.fresh("new")
        data = {name: picture_of(name, f"new {seed}") for name, seed in images.items()}
        noted = noted or any(self._has_annotation(dataset, name) for name in images)
        notes = {name: annotation(f"new {seed}") for name, seed in images.items()} if noted else None
        files = [write(folder / "img" / name, content) for name, content in data.items()]
        for name, content in (notes or {}).items():
            write(folder / "ann" / f"{name}.json", content)
        self.perform(
            Action(
                lambda root: add(
                    root, name_of(dataset), files, annotations=folder / "ann" if noted else None, replace=replace
                ),
                lambda model: model.add(name_of(dataset), data, notes, replace=replace),
            ),
            how,
        )

    def _has_annotation(self, dataset, name):
        """Whether there is an annotation for a new image already: another's of the same stem, say."""
        path = f"{dataset}/img/{name}"
        return path not in self.model.files and bool(annotation_of(self.model.files, path))

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=3), how=HOW)
    def remove(self, numbers, how):
        images = self.some_images(numbers)
        if images:
            self.perform(
                Action(lambda root: remove(root, list(images)), lambda model: model.remove(images.values())), how
            )

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=3), dataset=DATASET, how=HOW)
    def move(self, numbers, dataset, how):
        images = self.some_images(numbers)
        if images and not self._meets_files(images.values(), dataset):
            self.perform(
                Action(
                    lambda root: move(root, list(images), name_of(dataset)),
                    lambda model: model.move(images.values(), name_of(dataset)),
                ),
                how,
            )

    def _meets_files(self, images, dataset):
        """Whether an image would come to where a file waits for it that is nobody's, or another's by its stem."""
        return any(self._has_annotation(dataset, parts_of(image)[2]) for image in images)

    @rule(how=HOW)
    def compact(self, how):
        self.perform(Action(compact), how)

    @rule(dataset=DATASET, images=IMAGES, copy=st.booleans(), how=HOW)
    def merge(self, dataset, images, copy, how):
        found = {f"{dataset}/{name}": picture_of(name, f"other {seed}") for name, seed in images.items()}
        if any(self._has_annotation(dataset, name) for name in images):
            return
        other = Model(with_side_files(files_of(found)))
        folder = packed(self.fresh("other"), other.files)
        self.others.append((folder, other))
        self.perform(Action(lambda root: merge(root, folder, copy=copy), lambda model: model.merge(other)), how)

    @rule(numbers=st.lists(NUMBER, min_size=4, max_size=12), blobs=st.sampled_from(("link", "copy")), how=HOW)
    def subset(self, numbers, blobs, how):
        images, target = self.some_images(numbers), self.fresh("subset")
        if not images:
            return

        def change(model):
            model.subset(set(images.values()))
            datasets = model.datasets()
            for path in model.loose():
                folder = path.rpartition("/")[0]
                if folder and folder not in datasets:  # what belongs to no image doesn't come along
                    del model.files[path]

        options = SubsetOptions(names=list(images), blobs=blobs)
        self.perform(Action(lambda root: subset(root, target, options), change, target), how)

    @rule(killed=st.none() | st.integers(0, 60))
    def push_and_fetch(self, killed):
        target, place = self.fresh("fetched"), f"changes{id(self)}-{self.number}"
        push(self.root, f"memory://{place}")
        try:
            action = Action(lambda root: fetch(f"memory://{place}", target, resume=True), target=target)
            self.perform(action, () if killed is None else (KILL, killed))
        finally:
            fsspec.filesystem("memory").rm(f"/{place}", recursive=True)

    @precondition(lambda self: self.model.images())  # else there is nothing to be packed
    @rule()
    def unpack_and_pack(self):
        folder, target = self.fresh("unpacked"), self.fresh("packed")
        with warnings.catch_warnings():
            assert run(["unpack", "-q", str(self.root), str(folder)]) == 0
            assert run(["pack", "-q", "--processes", "1", str(folder), str(target)]) == 0
        self._take(Action(compact, target=target), self.model)

    @rule(how=HOW)
    def repair(self, how):
        if not how or how[0] == KILL:
            self.perform(Action(lambda root: repair(root, verify(root, processes=1))), how)

    @rule()
    def recover(self):
        self.perform(Action(recover))

    # -- transactions ----------------------------------------------------------------------------------------

    @rule(
        parts=st.lists(
            st.tuples(st.sampled_from(("new", "noted", "again", "labels", "notes", "rm", "mv")), NUMBER, DATASET,
                      st.sampled_from(IMAGE_NAMES)),
            min_size=1, max_size=5,
        ),
        how=HOW,
    )  # fmt: skip
    def transaction(self, parts, how):
        model, steps, touched = self.model.copy(), [], set()
        for kind, number, dataset, name in parts:
            there = [path for path in model.images() if path not in touched]
            image = there[number % len(there)] if there else None
            new = f"{dataset}/img/{name}"
            is_free = new not in model.files and new not in touched and not annotation_of(model.files, new)
            planned = self._step(kind, number, image, new if is_free else None)
            for method, *arguments in planned:
                steps.append((method, *arguments))
                touched |= {argument for argument in arguments if isinstance(argument, str)}
                _IN_MODEL[method](model, *arguments)
        if steps:
            self.perform(Action(partial(_in_transaction, steps), lambda m: setattr(m, "files", model.files)), how)

    @staticmethod
    def _step(kind, number, image, new):
        """Calls of the filesystem: (method, arguments)."""
        if kind == "notes":
            return [("pipe", f"notes {number % 3}.txt", b"%d" % number)]
        if new and kind in ("new", "noted"):
            dataset, _, name = parts_of(new)
            noted = [("pipe", f"{dataset}/ann/{name}.json", annotation(f"noted {number}"))] if kind == "noted" else []
            return [*noted, ("pipe", new, picture_of(name, f"piped {number}"))]
        if image and kind == "again":
            return [("pipe", image, picture_of(image, f"piped again {number}"))]
        if image and kind == "labels":
            dataset, _, name = parts_of(image)
            return [("pipe", f"{dataset}/ann/{name}.json", annotation(f"labels {number}"))]
        if image and kind == "rm":
            return [("rm", image)]
        if image and new and kind == "mv" and image.rpartition(".")[2] == new.rpartition(".")[2]:
            return [("mv", image, new)]
        return []

    # -- by hand, as people do it ----------------------------------------------------------------------------

    @rule(number=NUMBER, in_folder=st.booleans())
    def plain_image_by_hand(self, number, in_folder):
        datasets = [d for d in self.model.datasets() if (self.root / d).is_dir()]
        name = f"{'sub/' if in_folder else ''}by hand {number}.png"
        if datasets:
            dataset = datasets[number % len(datasets)]
            files = {f"{dataset}/img/{name}": picture(f"hand {number}"), f"{dataset}/ann/{name}.json": annotation(name)}
            for path, data in files.items():
                write(self.root / path, data)
            self.model = Model(self.model.files | files)

    @rule(number=NUMBER)
    def double_as_a_file(self, number):
        images = [path for path in self.model.images() if not (self.root / path).exists()]
        if images:
            image = images[number % len(images)]
            write(self.root / image, self.model.files[image])

    @rule(number=NUMBER)
    def double_in_another_blob(self, number):
        found = pickles(self.root, False)
        if found:
            pickle = found[number % len(found)]
            stem = pickle.name.removesuffix("_offsets.pkl")
            blob = next(tar for tar in tars(self.root) if tar.stem == stem)
            twin = self.fresh("twin").name
            shutil.copy(blob, blob.with_name(f"{twin}.tar"))
            shutil.copy(pickle, pickle.with_name(f"{twin}_offsets.pkl"))

    # -- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def is_as_the_model_says(self):
        if self.model.files:
            assert differences(shown(self.root), self.model.files) == []
            assert faults(self.root) == []

    @precondition(lambda self: self.removed)
    @rule()
    def removed_bytes_are_gone_after_compact(self):
        compact(self.root)
        content = b"".join(tar.read_bytes() for tar in tars(self.root))
        there = set(self.model.files.values())
        left = [data for data in self.removed - there if data.startswith((b"\x89PNG", b"BM")) and data in content]
        assert not left, "bytes of images that were removed are in the blobs after compact"

    def teardown(self):
        try:
            if self.model.files and sys.exc_info()[0] is None:  # else something else has failed, and is told
                folder = self.fresh("unpacked")
                with warnings.catch_warnings():
                    assert run(["unpack", "-q", str(self.root), str(folder)]) == 0
                files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
                assert differences(files, self.model.files) == []
                for root, model in self.others:  # what it was made of is as it was
                    assert differences(shown(root), model.files) == []
        finally:
            shutil.rmtree(self.base, ignore_errors=True)


_IN_MODEL = {
    "pipe": lambda model, path, data: model.write(path, data),
    "rm": lambda model, path: model.unlink(path),
    "mv": lambda model, path, target: model.rename(path, target),
}


def _in_transaction(steps, root):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        for method, *arguments in steps:
            getattr(fs, method)(*arguments)


@pytest.mark.timeout(0 if STEPS else 300)
def test_any_sequence_of_changes():
    run_state_machine_as_test(
        Changes,
        settings=settings(
            max_examples=max(1, STEPS // A_RUN) if STEPS else 20,
            stateful_step_count=A_RUN,
            derandomize=not STEPS,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if STEPS else [Phase.generate],
            report_multiple_bugs=False,
            verbosity=Verbosity.normal,
            print_blob=False,
        ),
    )
