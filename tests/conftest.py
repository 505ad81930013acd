"""Fixtures for all tests, and the strict mode in which a skipped test is a failed one."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

pytest_plugins = ["servers", "web_servers"]  # their fixtures

DATA = Path(__file__).parent / "data"
STRICT = os.environ.get("BLOBDIR_TEST_STRICT", "") not in ("", "0")


class DiskPathFactory:
    """What `tmp_path_factory` does, on a disk: in ``BLOBDIR_TEST_DISK``, where temporary files lie in memory."""

    def __init__(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="pytest-blobdir-", dir=os.environ.get("BLOBDIR_TEST_DISK")))
        self._base.chmod(0o755)

    def getbasetemp(self) -> Path:
        """The folder of all."""
        return self._base

    def mktemp(self, basename: str, numbered: bool = True) -> Path:
        """A new folder; always of a number."""
        del numbered
        folder = Path(tempfile.mkdtemp(prefix=f"{basename[:30]}-", dir=self._base))
        folder.chmod(0o755)
        return folder

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._base, ignore_errors=True)


@pytest.fixture(scope="session")
def disk_path_factory() -> Generator[DiskPathFactory]:
    """For what is mounted by the kernel, which takes no image that lies in memory."""
    factory = DiskPathFactory()
    yield factory
    factory.remove()


@pytest.fixture(scope="session")
def sdk_projects(disk_path_factory: DiskPathFactory) -> Path:
    """Folder with the projects that the Supervisely SDK wrote: ``digits`` and ``digits_plain``."""
    folder = disk_path_factory.mktemp("sdk-projects")
    with tarfile.open(DATA / "projects" / "sdk-digits.tar.gz") as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter  # Python 3.11.4; 3.14's default
        tar.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def digits(sdk_projects: Path) -> Path:
    """A blob project. Shared by all tests: not to be changed; see `digits_copy`."""
    return sdk_projects / "digits"


@pytest.fixture(scope="session")
def digits_plain(sdk_projects: Path) -> Path:
    """The items of `digits` as plain files. Not to be changed."""
    return sdk_projects / "digits_plain"


@pytest.fixture
def digits_copy(digits: Path, tmp_path: Path) -> Path:
    """A blob project of the test's own, to change and to damage."""
    return shutil.copytree(digits, tmp_path / "digits")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each time that an index was built."""
    from blobdir.opening import choosing

    count: list[int] = []
    build = choosing.build
    monkeypatch.setattr(choosing, "build", lambda *args: count.append(1) or build(*args))
    return count


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Keep the tests out of the user's cache folder and away from his configuration."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BLOBDIR_CACHE_DIR", "BLOBDIR_CACHE_SIZE", "BLOBDIR_CONFIG"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def _open_to_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let other users reach what tests make for them: pytest's own folders are closed."""
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents[:2]):
        if "pytest-" in folder.name or "popen-" in folder.name:
            folder.chmod(folder.stat().st_mode | 0o055)


LIVES = tuple(
    f"tests/mounting/test_{name}.py"
    for name in ("ending", "ignored_signals", "lifecycle", "moved_over", "programs", "stopped", "systemd", "users")
)
"""Tests of how mounts begin and end, which wait a lot: one process runs them all."""
MOUNTING = (
    "tests/mounting/",
    "tests/libraries/",
    "tests/remote/test_mount",
    "tests/erofs/",
    "tests/judges/",
    "tests/test_",
)
"""Others that mount, or ask what is mounted: another process does. A mount is seen by everybody."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keep the tests of a file together, and all that mount."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "lives" if file.startswith(LIVES) else "mounting" if file.startswith(MOUNTING) else file

    return Scheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under BLOBDIR_TEST_STRICT, fail what is skipped, so that no missing tool goes unnoticed."""
    report = yield
    may_skip = hasattr(report, "wasxfail") or item.get_closest_marker("platform") is not None
    if STRICT and report.skipped and not may_skip:
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under BLOBDIR_TEST_STRICT, fail modules that skip themselves."""
    report = yield
    if STRICT and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped, which BLOBDIR_TEST_STRICT doesn't allow: {reason}"
