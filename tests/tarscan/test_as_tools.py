"""Archives that Python's tarfile and GNU tar make."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tarscan_cases import (
    FORMATS,
    Spec,
    build,
    check_as_tarfile,
    names,
    scan,
)

from blobdir.tarscan import scan_tar

# Archives made by Python's tarfile

name_part = st.one_of(
    st.text("abc.-_ ", min_size=1, max_size=8),
    st.text("äß漢🙂é", min_size=1, max_size=6),
    st.text("ab\udcff\udc80", min_size=1, max_size=5),
    st.integers(90, 130).map(lambda n: "l" * n),
).filter(lambda part: part.strip(".") != "")
member_names = st.one_of(
    st.lists(name_part, min_size=1, max_size=4).map("/".join),
    st.lists(name_part, min_size=1, max_size=2).map(lambda parts: "./" + "/".join(parts)),
    st.sampled_from(["same", "dir/same"]),
)


specs = st.builds(
    Spec,
    kind=st.sampled_from([b"0", b"0", b"0", b"\0", b"7", b"5", b"1", b"2", b"6"]),
    name=member_names,
    size=st.integers(0, 2000),
    mtime=st.one_of(st.integers(0, 2**33 - 1), st.floats(0, 4e9), st.just(1.5e-5)),
    mode=st.integers(0, 0o7777),
    target=st.integers(0, 50),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(specs, max_size=12), st.sampled_from(FORMATS))
@example([Spec(b"0", "p" * 120 + "/" + "n" * 100, 5, 1.0, 0o600, 0)], tarfile.USTAR_FORMAT)
def test_finds_what_tarfile_finds(members: list[Spec], tar_format: int) -> None:
    data = build(members, tar_format)
    table = scan(data)
    if not table.not_extracted:  # tarfile follows hard links to what tar can't extract
        check_as_tarfile(data, table)


@pytest.mark.parametrize("tar_format", FORMATS)
def test_many_members_of_all_sizes_as_tarfile(tar_format: int, tmp_path: Path) -> None:
    """More headers than one chunk holds, and both kinds of window."""
    rng = random.Random(tar_format)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for i in range(5000):
            info = tarfile.TarInfo(f"{'deep/' * rng.choice([0, 0, 25])}{i:05d}.png")
            info.size = rng.choice([0, 1, 511, 512, 513, 4000, 200_000 if rng.random() < 0.1 else 7])
            info.mtime = rng.choice([i, i + 0.5])  # type: ignore[assignment]
            info.mode = rng.choice([0o644, 0o600, 0o755])
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    path = tmp_path / "many.tar"
    path.write_bytes(out.getvalue())
    table = scan_tar(path)
    assert len(table) == 5000 and table.warnings == ()
    check_as_tarfile(out.getvalue(), table)


# Archives made by GNU tar

GNU_TAR = shutil.which("tar")


def gnu_tar(folder: Path, *options: str) -> bytes:
    assert GNU_TAR is not None, "these tests need the tar program"
    target = folder.parent / "made.tar"
    subprocess.run([GNU_TAR, "-cf", target, *options, "-C", folder, "."], check=True)
    return target.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for i, size in enumerate([0, 1, 512, 513, 5000]):
        (root / "sub" / f"file {i}.bin").write_bytes(bytes([i + 1]) * size)
        os.utime(root / "sub" / f"file {i}.bin", ns=(0, 1_700_000_000_123_456_789 + i))
    (root / "umlaut ä").write_bytes(b"1")
    (root / "secret").write_bytes(b"2")
    (root / "secret").chmod(0o4711)
    os.link(root / "secret", root / "zz hard")
    return root


@pytest.mark.parametrize("tar_format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_gnu_tar(folder: Path, tar_format: str) -> None:
    if tar_format != "v7":
        long = folder / ("d" * 90) / ("e" * 60)
        long.mkdir(parents=True)
        (long / ("n" * 80)).write_bytes(b"long")
        if tar_format != "ustar":  # which has 100 bytes for what a link names
            os.link(long / ("n" * 80), long / "zz linked")
        (folder / "symlink").symlink_to("secret")
    data = gnu_tar(folder, f"--format={tar_format}")
    table = scan(data)
    check_as_tarfile(data, table)
    assert len(table) == {"v7": 8, "ustar": 9}.get(tar_format, 10)
    contents = {table.name(i): data[table.start[i] : table.end[i]] for i in range(len(table))}
    assert contents[b"./sub/file 4.bin"] == b"\5" * 5000
    assert contents[b"./secret"] == contents[b"./zz hard"] == b"2"
    if tar_format == "posix":
        assert 1_700_000_000_123_456_793 in table.mtime_ns.tolist()
    assert [w for w in table.warnings if "symbolic" in w] == (
        [] if tar_format == "v7" else [f"left out 1 symbolic link: './symlink' at byte {table.left_out[0].position}"]
    )


def test_gnu_incremental_headers_have_no_prefix(folder: Path) -> None:
    """Old GNU headers keep times where ustar has the prefix; Python's tarfile takes them for a folder."""
    data = gnu_tar(folder, "--format=gnu", f"--listed-incremental={folder.parent / 'snapshot'}")
    table = scan(data)
    assert b"./secret" in names(table) and len(table) == 8
    assert table.warnings == ()


@pytest.mark.parametrize(
    "options", [["gnu"], ["oldgnu"], *(["posix", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_members_are_left_out_by_name(folder: Path, options: list[str]) -> None:
    """Their maps may take blocks of their own, before the data."""
    with open(folder / "holes.bin", "wb") as file:
        for i in range(40):
            file.seek(i << 20)
            file.write(b"data")
    data = gnu_tar(folder, "--sparse", f"--format={options[0]}", *options[1:])
    table = scan(data)
    assert len(table) == 8 and b"./zz hard" in names(table)
    (left,) = table.left_out
    assert left.name == b"./holes.bin" and data[left.position + 257 :].startswith(b"ustar")
    (warning,) = table.warnings
    assert "holes.bin" in warning and "--sparse" in warning and f"byte {left.position}" in warning
