"""How quick a backend is, from what its requests took; and the limits for merging ranges that follow. No I/O."""

from __future__ import annotations

from collections import deque
from statistics import median

LATENCY_S, BYTES_PER_S = 0.02, 100e6
"""What is assumed before anything was measured."""
CPU_S = 0.3e-3
"""What a request costs at this end, whatever the server does."""
SMALLEST_GAP, LARGEST_GAP = 64 << 10, 1 << 20
SMALLEST_REQUEST, LARGEST_REQUEST = 1 << 20, 8 << 20
_LARGE = 256 << 10


class Pace:
    """Remembers the last requests: their bytes and seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=64)

    def note(self, size: int, seconds: float) -> None:
        """A request for `size` bytes took so long."""
        if seconds > 0:
            self._seen.append((size, seconds))

    @property
    def bytes_per_s(self) -> float:
        """What one request gets, once it flows."""
        seen = list(self._seen)
        first = min((seconds for _, seconds in seen), default=0.0)  # about what a request without bytes takes
        large = [size / max(seconds - first, seconds / 10) for size, seconds in seen if size >= _LARGE]
        return max(large) if large else BYTES_PER_S

    @property
    def latency_s(self) -> float:
        """Seconds until a request's first byte."""
        seen, rate = list(self._seen), self.bytes_per_s
        return median(max(0.0, seconds - size / rate) for size, seconds in seen) if seen else LATENCY_S


def merge_limits(latency_s: float, bytes_per_s: float, concurrency: int) -> tuple[int, int]:
    """Limits for `blobdir.ranges.merge_ranges`.

    A gap is worth reading when that takes no longer than a request of its own: the latency, shared by those that are
    under way together, or the work at this end. A request is large enough when most of its time is transfer.

    Returns
    -------
    gap, request : int
        Bytes.
    """
    gap = max(latency_s / concurrency, CPU_S) * bytes_per_s
    request = 4 * latency_s * bytes_per_s
    return (
        int(min(LARGEST_GAP, max(SMALLEST_GAP, gap))),
        int(min(LARGEST_REQUEST, max(SMALLEST_REQUEST, request))),
    )
