"""What BLISS 2.3 and 2.4 import of a blisswriter between 2.0 and 3.0 that is not on PyPI, made of blisswriter 2.0.0."""

from __future__ import annotations

from blisswriter.writer import main, scan_url_info, types

__all__ = ["scan_url_info"]

# BLISS tells LImA 1 from LImA 2; for blisswriter 2.0.0 both are references to frames
for _name in ("LIMA1_STATUS", "LIMA2_STATUS"):
    if not hasattr(types.ChannelDataType, _name):
        setattr(types.ChannelDataType, _name, types.ChannelDataType.LIMA_STATUS)

# BLISS no longer gives the data store, which blisswriter 2.0.0 keeps and never uses
main.ScanWriterWithState.initialize.__defaults__ = (None,)
