"""Tars written, small files copied. Worker processes run it: it needs the standard library only; for stores, LMDB's."""
