"""The contract that every face of a project keeps, as tests to inherit from: for engines and faces of your own too.

Needs pytest. See `blobdir.testing.contract`.
"""

import pytest

pytest.register_assert_rewrite("blobdir.testing.contract", "blobdir.testing.mount_contract")
