"""Tars written, and small files copied, byte for byte. Worker processes run this: it needs the standard library only."""
