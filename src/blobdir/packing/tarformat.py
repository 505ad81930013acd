"""Members of a tar, byte for byte: `blobdir.tarwriting.format`."""

from blobdir.tarwriting.format import archive_end, member_header, padding

__all__ = ["archive_end", "member_header", "padding"]
