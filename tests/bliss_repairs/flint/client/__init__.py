"""The part of Flint that BLISS imports."""
