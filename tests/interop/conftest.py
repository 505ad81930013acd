"""Tests against the real Supervisely SDK. They run in an environment of their own: ``scripts/test`` makes it."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

import pytest

if find_spec("supervisely") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether these tests run."""
    if find_spec("supervisely") is None:
        return "interop: left out, supervisely isn't installed here (scripts/test runs them in .venv-sdk)"
    return f"interop: supervisely {version('supervisely')}"
