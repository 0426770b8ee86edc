"""Stands where BLISS 2.2 and later look for Flint, which is not on PyPI: says that there is none."""
