"""Which kernels are trusted with what. Pure."""

import resource

import pytest

from blobdir.erofs.attach import _descriptors
from blobdir.erofs.gate import KernelFacts, judge, look
from blobdir.errors import MountError


def facts(release="7.1.0", **other):
    return KernelFacts(
        **{"system": "Linux", "release": release, "may_mount": True, "has_erofs": True, "has_loops": True} | other
    )


@pytest.mark.parametrize(
    ("release", "backing"),
    [
        ("6.12.80", "file"),
        ("6.18.44-fc-v669", "file"),
        ("6.19.11", "file"),
        ("7.0.0-rc1+", "file"),
        ("12.1", "file"),
        ("6.12.79+deb13-amd64", "loop"),
        ("6.12.1", "loop"),  # CVE-2024-56750
        ("6.15.2", "loop"),  # CVE-2025-38172
        ("6.14.0-24-generic", "loop"),  # its fixes don't show in the number
        ("6.18.20", "loop"),
        ("6.19.10", "loop"),
        ("6.4.0", "loop"),
        ("6.3.13", "none"),
        ("5.15.0-105-generic", "none"),
        ("unknown", "none"),
    ],
)
def test_releases(release, backing):
    verdict = judge(facts(release))
    assert verdict.backing == backing
    assert (verdict.reasons == ()) == (backing == "file")
    assert all(release in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"system": "Darwin"}, "this is Darwin"),
        ({"may_mount": False}, "CAP_SYS_ADMIN"),
        ({"has_erofs": False}, "no EROFS"),
        ({"release": "6.12.5", "has_loops": False}, "no loop devices"),
    ],
)
def test_reasons(other, reason):
    verdict = judge(facts(**other))
    assert verdict.backing == "none"
    assert reason in "; ".join(verdict.reasons)


def test_look():
    found = look()
    assert found.system and found.release
    assert not (found.has_erofs and not found.may_mount)


def test_a_limit_of_files_that_cant_be_raised_is_said(monkeypatch):
    """As in containers, where root may not raise its own."""

    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(MountError, match=r"400 blobs .* 1024 are allowed.*--engine native"), _descriptors(400):
        pass
    with _descriptors(1):
        pass
