"""Tars written, small files copied. Worker processes run this: it needs the standard library only, and LMDB's for stores."""
