"""Which HDF5 group and dataset each channel goes to, by blisswriter 2.0.0."""

from blisswriter.nexus.devices import device_info as all_devices_info
from blisswriter.nexus.mapping import get_primary_dataset_path

__all__ = ["all_devices_info", "get_primary_dataset_path"]
