"""Every command with each defect planted before it: it refuses, and nothing has changed; or it does what it would do.

Either way, when the defect is taken back, the project is what it was or what the command makes of a sound one.
"""

from __future__ import annotations

import pytest
from changes.defects import DEFECTS
from changes.looking import faults, shown
from changes.operations import OPERATIONS, copied, mended, next_change, prepare, state, upload
from changes.samples import files_below

from blobdir.errors import BlobdirError

WITHOUT_PROJECT = ("pack", "pack with packed annotations")
FROM_MEMORY = ("fetch",)
USED = {
    name: one for name, one in OPERATIONS.items() if name not in (*WITHOUT_PROJECT, *FROM_MEMORY, "verify --repair")
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("defects"))


@pytest.fixture(scope="module")
def results(base, tmp_path_factory):
    """What each operation makes of the sound project."""
    found = {}
    upload(base)
    for name, operation in USED.items():
        folder = copied(base, tmp_path_factory.mktemp("sound") / "base")
        operation.before(folder)
        operation.run(folder)
        found[name] = state(operation, folder)
    return found


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("number", [0, 3], ids=["one", "another"])
@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("name", USED)
def test_refused_or_right(base, results, tmp_path, name, defect, number):
    operation, folder = USED[name], copied(base, tmp_path / "base")
    operation.before(folder)
    root = folder / "p"
    source = shown(root)
    with DEFECTS[defect](root, tmp_path / "outside", number):
        before = files_below(folder)
        try:
            operation.run(folder)
        except (BlobdirError, OSError) as error:
            assert isinstance(error, BlobdirError), f"refused by an accident: {error!r}"
            assert files_below(folder) == before, "refused, and something was changed"
            refused = True
        else:
            refused = False
            if operation.makes:
                made = state(operation, folder)
                assert made is not None
                assert made | source == results[name] | source if defect == "missing_meta" else made == results[name]
    assert shown(root) == (source if refused or operation.makes else results[name])
    assert faults(root) == []
    assert next_change(root, [shown(root)])


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("defect", sorted(DEFECTS.keys() - {"cut_pickle", "offsets_that_miss"}))
def test_repair_of_what_cannot_be_mended(base, tmp_path, defect):
    """`verify --repair` beside a defect takes nothing away: when the defect is taken back, all is there."""
    folder = copied(base, tmp_path / "base")
    with DEFECTS[defect](folder / "p", tmp_path / "outside", 1):
        mended(folder)
    found = {path: data for path, data in shown(folder / "p").items() if ".backup-" not in path}
    assert found == shown(base / "p")
