"""Engines as parameters of tests: the kernel's is left out where this kernel hasn't what it needs."""

import pytest

from blobdir.erofs.gate import judge, look

NO_KERNEL = "; ".join(judge(look()).reasons) if judge(look()).backing == "none" else ""
KERNEL = pytest.param("kernel", marks=[pytest.mark.platform, pytest.mark.skipif(bool(NO_KERNEL), reason=NO_KERNEL)])
