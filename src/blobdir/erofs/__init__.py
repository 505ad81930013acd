"""EROFS images over unmodified blobs: the Linux kernel serves a project by itself, without a daemon."""
