"""Tars written, and small files copied. Worker processes run this: it needs the standard library only."""
