"""Files and other sources of archives."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tarscan_cases import (
    BASE,
    BLOCK,
    END,
    Bytes,
    header,
    member,
    names,
    scan,
)

from blobdir.errors import DamagedTarError
from blobdir.tarscan import scan_tar


def test_shrinking_file(tmp_path: Path) -> None:
    """Cut by another process in the middle of the scan, at several places."""
    path = tmp_path / "shrinking.tar"
    data = member(b"m", b"x" * 3000) * 10_000 + END
    for left in (0, 100, 3584 * 6000, 3584 * 6000 + 700, len(data) - 10):
        path.write_bytes(data)

        def cut(done: int, left: int = left) -> None:
            if done < len(data):
                os.truncate(path, left)

        with pytest.raises(DamagedTarError, match="scan again"):
            scan_tar(path, progress=cut)


def test_progress_and_path_types(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    data = member(b"m", bytes(3000)) * 8000 + END
    path.write_bytes(data)
    seen: list[int] = []
    assert len(scan_tar(str(path), progress=seen.append)) == 8000
    assert seen == sorted(seen) and seen[-1] == len(data) and len(seen) >= 3
    assert len(scan_tar(path)) == 8000


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_tar(tmp_path / "missing.tar")
    with pytest.raises(IsADirectoryError):
        scan_tar(tmp_path)
    os.mkfifo(tmp_path / "pipe.tar")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.tar").st_mode)
    with pytest.raises(DamagedTarError, match="not a regular file"):
        scan_tar(tmp_path / "pipe.tar")


def test_a_source_with_short_answers() -> None:
    class Dribble(Bytes):
        def read_at(self, start: int, n: int) -> bytes:
            return super().read_at(start, min(n, 700))

    assert names(scan_tar(Dribble(BASE))) == names(scan(BASE))

    class Lies(Bytes):
        @property
        def size(self) -> int:
            return len(self.data) + 5000

    with pytest.raises(DamagedTarError, match="scan again"):
        scan_tar(Lies(member(b"a", b"1")))


def test_reads_little_more_than_headers_of_large_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.tar"
    with open(path, "wb") as file:
        for i in range(200):
            file.write(header(b"%d" % i, 1 << 20))
            file.seek(1 << 20, os.SEEK_CUR)
        file.write(END)
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(n) or pread(fd, n, at))
    assert len(scan_tar(path)) == 200
    assert sum(read) < 200 * BLOCK + (32 << 10)


def test_reads_small_members_in_long_stretches() -> None:
    source = Bytes(member(b"m", bytes(3000)) * 10_000 + END)
    scan_tar(source)
    assert source.calls < 20


def test_table_rejects_wrong_rows() -> None:
    table = scan(member(b"a") + END)
    assert len(table) == 1 and table.name(0) == b"a"
    for i in (-1, 1):
        with pytest.raises(IndexError):
            table.name(i)
