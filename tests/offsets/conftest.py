"""Fixtures of the tests of offsets."""

from __future__ import annotations

import pytest
from sdk_stand_in import StandIn


@pytest.fixture(scope="session")
def sdk() -> StandIn:
    return StandIn()
