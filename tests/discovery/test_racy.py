"""Files that were changed in the tick of the clock in which they were looked at."""

from blobdir.discovery import inputs


def test_is_racy():
    record = inputs.SourceRecord("a", "offsets", 1, 5_000_000_000, ctime_ns=5_000_000_001)
    assert inputs.is_racy(record, 5_000_000_001 + inputs.TICK_NS - 1)
    assert not inputs.is_racy(record, 5_000_000_001 + inputs.TICK_NS)
    coarse = inputs.SourceRecord("a", "offsets", 1, 5_000_000_000, ctime_ns=5_000_000_000)
    assert inputs.is_racy(coarse, 5_000_000_000 + inputs.COARSE_TICK_NS - 1)
    assert not inputs.is_racy(coarse, 5_000_000_000 + inputs.COARSE_TICK_NS)
