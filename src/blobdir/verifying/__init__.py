"""Proving a blob project sound: offsets against tars, annotations against images, and what can be repaired."""

from __future__ import annotations

from blobdir.verifying.findings import Finding, VerifyReport
from blobdir.verifying.repair import repair
from blobdir.verifying.verify import verify

__all__ = ["Finding", "VerifyReport", "repair", "verify"]
