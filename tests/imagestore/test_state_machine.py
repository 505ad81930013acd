"""Random steps, held against a dictionary, and against LMDB, which is what people come from."""

from __future__ import annotations

import os
import shutil
import tempfile

import lmdb
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import blobdir
from blobdir import ImageStore
from blobdir.errors import UsageError
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("error::blobdir.BlobdirWarning")
NAMES = st.sampled_from(["a", "a.jpg", "a.jpg.png", "b.png", "f/a", "f/g/c", "f", "é"])
VALUES = st.sampled_from([b"", b"1", b"x" * 600, b"\xff\xd8" + bytes(5000)])
FACTS = st.fixed_dictionaries({}, optional={"k": st.integers(0, 3)})


class Steps(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.base = tempfile.mkdtemp()
        self.store = ImageStore(f"{self.base}/store")
        self.lmdb = lmdb.open(f"{self.base}/lmdb", map_size=1 << 24, sync=False)
        self.now, self.facts = {}, {}
        self.then = None

    def teardown(self):
        self.store.close()
        self.lmdb.close()
        shutil.rmtree(self.base)

    def fits(self, names):
        """Whether none of them would be a folder and an image."""
        return not any(a != b and b.startswith(f"{a}/") for a in names for b in names)

    def put_in_lmdb(self, pairs, overwrite):
        with self.lmdb.begin(write=True) as transaction:
            return sum(
                transaction.put(name.encode(), value, overwrite=overwrite) and name not in self.now
                for name, value in pairs.items()
            )

    @rule(pairs=st.dictionaries(NAMES, VALUES, max_size=4), overwrite=st.booleans(), facts=st.none() | FACTS)
    def put(self, pairs, overwrite, facts):
        facts = dict.fromkeys(pairs, facts) if facts is not None else {}
        if not self.fits([*self.now, *pairs]):
            with pytest.raises(UsageError):
                self.store.put_many(pairs, overwrite=overwrite, metadata=facts)
            return
        report = self.store.put_many(pairs, overwrite=overwrite, metadata=facts)
        assert report.new == self.put_in_lmdb(pairs, overwrite) == len(pairs.keys() - self.now.keys())
        assert sum(report) == len(pairs)
        self.now = self.now | pairs if overwrite else pairs | self.now
        self.facts |= facts

    @rule(names=st.lists(NAMES, max_size=3))
    def delete(self, names):
        if not self.now.keys() >= {*names}:
            with pytest.raises(KeyError):
                self.store.delete_many(names)
            return
        assert self.store.delete_many(names) == len({*names})
        with self.lmdb.begin(write=True) as transaction:
            for name in {*names}:
                assert transaction.delete(name.encode())
        for name in {*names}:
            del self.now[name]
            self.facts.pop(name, None)

    @rule(name=NAMES, facts=FACTS)
    def know(self, name, facts):
        if name in self.now:
            self.store.metadata[name] = facts
            self.facts[name] = facts

    @rule()
    def begin(self):
        if self.then is None:
            self.then = dict(self.now), dict(self.facts)
            self.store.__enter__()

    @rule(keep=st.booleans())
    def end(self, keep):
        if self.then is not None:
            self.store.__exit__(*(None,) * 3 if keep else (KeyError, KeyError(), None))
            if not keep:
                self.now, self.facts = self.then
                with self.lmdb.begin(write=True) as transaction:
                    transaction.drop(self.lmdb.open_db(txn=transaction), delete=False)
                    for name, value in self.now.items():
                        transaction.put(name.encode(), value)
            self.then = None

    @rule()
    def compact(self):
        if self.then is None:
            self.store.compact()

    @invariant()
    def is_the_same(self):
        with self.lmdb.begin() as transaction:
            peer = {key.decode(): value for key, value in transaction.cursor()}
        assert dict(self.store) == self.now == peer
        assert self.store.names == [name.decode() for name in sorted(map(str.encode, peer))]
        assert len(self.store) == len(peer)
        assert dict(self.store.metadata) == {name: facts for name, facts in self.facts.items() if facts}
        committed = self.now if self.then is None else self.then[0]
        reader = ImageStore(self.store.path, "r")
        assert reader.get_many(committed) == list(committed.values())
        assert reader.names == sorted(committed, key=os.fsencode)

    @rule()
    def look_by_other_ways(self):
        if self.then is None:
            project = blobdir.open_project(self.store.path)
            images = project["images"] if self.now else {}
            assert {name: images.get_blob_img_bytes(name) for name in images} == self.now
            assert [one for one in verify(self.store.path).findings if one.severity == "error"] == []


Steps.TestCase.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSteps = Steps.TestCase
