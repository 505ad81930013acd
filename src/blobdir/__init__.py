"""Blob projects (small images packed in tars, with offset pickles) as ordinary folders."""
