"""Files at a place that aren't the project's: what belongs to another one, or to who changes it there, stays."""

import shutil

import pytest
from folder_bucket import files

from blobdir.errors import UsageError
from blobdir.moving import push

URL = "tested://up"


@pytest.mark.parametrize("state", ["whole", "half", "blobs", "regular", "changing", "empty mark"])
@pytest.mark.parametrize("how", ["delete", "force"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_another_projects_is_not_deleted(bucket, small, tmp_path, state, how, dry_run):
    """Whatever it's like: being pushed, cut off at any point, packed or not, changed where it lies."""
    push(small, URL)
    other = bucket / "others/second"
    shutil.copytree(tmp_path / "plain" if state.startswith("regular") else small, other)
    shutil.rmtree(other / ".blobdir", ignore_errors=True)
    if state not in ("whole", "regular"):
        (other / "meta.json").unlink()
    if state == "half":
        (other / ".blobdir").mkdir()
        (other / ".blobdir/pushing.json").write_text("{}")
        shutil.rmtree(other / "blob")
    elif state == "blobs":
        for path in other.iterdir():
            shutil.rmtree(path) if path.name != "blob" else None
    elif state == "changing":
        (other / ".blobdir/staging").mkdir(parents=True)
        (other / ".blobdir/staging/1").write_text("x")
        shutil.rmtree(other / "blob")
    elif state == "empty mark":
        (other / ".blobdir").mkdir()
        (other / ".blobdir/fetching").write_text("")
    before = files(bucket)
    with pytest.raises(UsageError, match="another project, others/second/"):
        push(small, URL, dry_run=dry_run, **{how: True})
    assert files(bucket) == before


def test_what_only_looks_like_another_project_is_deleted(bucket, small):
    push(small, URL)
    (bucket / "train/ann/meta.json").write_text("{}")  # of an image called meta
    (bucket / "train/ann/sub").mkdir()
    (bucket / "train/ann/sub/meta.json").write_text("{}")
    (bucket / "train/blob").mkdir()
    (bucket / "train/blob/notes.txt").write_text("no tar")
    assert push(small, URL, delete=True).complete
    assert files(bucket) == files(small)


@pytest.mark.parametrize("how", ["delete", "force", "resume"])
def test_what_is_being_changed_where_it_lies_is_not_pushed_over(bucket, small, how):
    push(small, URL)
    (bucket / ".blobdir/journal.json").write_text("{}")
    with pytest.raises(UsageError, match="is being changed where it lies"):
        push(small, URL, **{how: True})
    assert (bucket / ".blobdir/journal.json").exists()
