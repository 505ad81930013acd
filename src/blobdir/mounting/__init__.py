"""Blob projects as folders: the mount, its engines, and what keeps track of them."""

from __future__ import annotations

from blobdir.discovery import DiscoveryOptions
from blobdir.mounting.control import Mount, Status, mount, statuses, umount
from blobdir.mounting.options import MountOptions

__all__ = ["DiscoveryOptions", "Mount", "MountOptions", "Status", "mount", "statuses", "umount"]
