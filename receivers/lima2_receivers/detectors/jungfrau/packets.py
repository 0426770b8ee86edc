"""The datagrams of a Jungfrau module: header, pixels, and which rows of the module a packet holds.

After PSI's documentation of slsDetectorPackage 9 (udpheader, udpdetspec) and what its virtual detector sends. A
datagram is a header of 48 bytes, little-endian, and 4 rows of 1024 pixels. With one interface a module sends 128
packets per frame; with two, each port sends 64, numbered from 0 on both: the first port the rows 0 to 255, the second
256 to 511.
"""

from __future__ import annotations

import numpy as np

#: Pixels of a module, and of a packet.
MODULE_ROWS, MODULE_COLUMNS = 512, 1024
PACKET_ROWS = 4
PACKET_PIXELS = PACKET_ROWS * MODULE_COLUMNS
PACKETS_PER_MODULE = MODULE_ROWS // PACKET_ROWS

HEADER_BYTES = 48
PAYLOAD_BYTES = PACKET_PIXELS * 2
DATAGRAM_BYTES = HEADER_BYTES + PAYLOAD_BYTES

#: Values of the header's last two fields.
DETECTOR_TYPE = 3
HEADER_VERSION = 2

#: The first frame after the detector's server was started; numbers go on over acquisitions.
FIRST_FRAME_NUMBER = 1

HEADER = np.dtype(
    [
        ("frame_number", "<u8"),
        ("exp_length", "<u4"),  # 100 ns
        ("packet_number", "<u4"),  # within the image of this interface
        ("bunch_id", "<u8"),
        ("timestamp", "<u8"),  # 100 ns since the measurement began
        ("module_id", "<u2"),
        ("row", "<u2"),  # of the port in the grid of ports
        ("column", "<u2"),
        ("reserved", "<u2"),
        ("daq_info", "<u4"),
        ("round_robin", "<u2"),
        ("detector_type", "u1"),
        ("version", "u1"),
    ]
)
assert HEADER.itemsize == HEADER_BYTES

#: Bits of ``daq_info``: high-gain G0, gain stage fixed to G1, to G2, switched to G1, to G2 by force.
DAQ_HIGH_GAIN = 1 << 0
DAQ_FIX_G1 = 1 << 1
DAQ_FIX_G2 = 1 << 2
DAQ_FORCE_G1 = 1 << 12
DAQ_FORCE_G2 = 1 << 13

#: Pixel codes: gain stage in the two highest bits, ADC value in the others.
GAIN_SHIFT = 14
ADC_MASK = 0x3FFF
#: Gain bits of the stages G0, G1, G2; 2 is no stage.
STAGE_BITS = (0, 1, 3)
MISSING_PIXEL = 0xFFFF
SATURATED_PIXEL = 0xC000
ERROR_PIXEL = 0x4000


def packets_per_port(interfaces: int) -> int:
    """Packets of one frame on one port of a module with 1 or 2 interfaces."""
    return PACKETS_PER_MODULE // interfaces


def module_packet(port: int, packet_number: int, interfaces: int) -> int:
    """Which of the 128 packets of a module this is: 0 holds rows 0 to 3; ``port`` 0 or 1 of the module."""
    return port * packets_per_port(interfaces) + packet_number


def port_position(module: int, port: int, interfaces: int, module_rows: int) -> tuple[int, int]:
    """(row, column) in the headers of a port: modules run down ``module_rows`` rows first, ports are rows."""
    column, row = divmod(module, module_rows)
    return row * interfaces + port, column


def centre_out(count: int) -> np.ndarray:
    """Order of ``count`` packets as a module with one interface reads them: 63, 64, 62, 65, ... 0, 127."""
    half = count // 2
    order = np.empty(count, np.int64)
    order[0::2] = np.arange(half)[::-1]
    order[1::2] = np.arange(half, count)
    return order
