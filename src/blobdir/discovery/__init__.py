"""From what is on disk or in a bucket to the rows of the index: discovers, pairs, checks."""

from blobdir.discovery.discover import Progress, discover
from blobdir.discovery.options import DiscoveryOptions
from blobdir.discovery.tars import discover_tars

__all__ = ["DiscoveryOptions", "Progress", "discover", "discover_tars"]
