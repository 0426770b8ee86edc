"""Ports, orders and addresses of a simulated Jungfrau, and the headers of its datagrams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import DAQ_HIGH_GAIN, DATAGRAM_BYTES, HEADER, module_packet
from lima2_receivers.detectors.jungfrau.wire import (
    Content,
    Exposure,
    WireLayout,
    documented_pattern,
    frame_datagrams,
    parse_addresses,
    pattern_content,
    read_stamps,
)
from lima2_receivers.detectors.jungfrau.wire.layout import resolved

ORDERS = ["ascending", "descending", "centre_out"]
LAYOUTS = st.builds(WireLayout, st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2]), st.sampled_from(ORDERS))


@given(LAYOUTS)
def test_every_port_sends_each_of_its_packets_once(layout):
    orders = layout.orders()
    assert orders.shape == (layout.modules * layout.interfaces, 128 // layout.interfaces)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(layout.packets), (layout.ports, 1)))


def test_real_modules_send_from_their_centre_outwards():
    one, two = WireLayout(), WireLayout(interfaces=2)
    assert one.packet_order(0)[:5].tolist() == [63, 64, 62, 65, 61]
    assert one.packet_order(0)[-2:].tolist() == [0, 127]
    assert two.packet_order(0).tolist() == list(range(63, -1, -1))
    assert two.packet_order(1).tolist() == list(range(64))


@given(LAYOUTS)
def test_every_port_has_its_own_place_in_the_grid_of_ports(layout):
    places = {layout.position(port) for port in range(layout.ports)}
    rows = layout.modules_y * layout.interfaces
    assert places == {(row, column) for row in range(rows) for column in range(layout.modules_x)}


def test_modules_of_a_4m_run_down_the_first_column_first():
    layout = WireLayout(2, 4, 2)
    assert [layout.position(port) for port in (0, 1, 2, 7, 8, 15)] == [(0, 0), (1, 0), (2, 0), (7, 0), (0, 1), (7, 1)]


@settings(max_examples=30, deadline=None)
@given(
    layout=LAYOUTS,
    number=st.integers(0, 2**62 - 1),
    ticks=st.integers(0, 2**62),
    daq_info=st.integers(0, 2**32 - 1),
)
def test_headers_say_what_the_frame_is(layout, number, ticks, daq_info):
    content = Content(pattern_content(layout).pixels, daq_info)
    bytes_ = frame_datagrams(layout, content, Exposure(0, number, ticks=ticks))
    assert bytes_.shape == (layout.ports, layout.packets, DATAGRAM_BYTES)
    headers = np.frombuffer(bytes_[:, :, : HEADER.itemsize].tobytes(), HEADER).reshape(bytes_.shape[:2])
    for name, value in {
        "frame_number": number, "timestamp": ticks, "daq_info": daq_info, "exp_length": 100,
        "detector_type": 3, "version": 2, "reserved": 0, "round_robin": 0,
    }.items():  # fmt: skip
        assert (headers[name] == value).all(), name
    np.testing.assert_array_equal(headers["packet_number"], layout.orders())
    for port in range(layout.ports):
        assert set(zip(headers["row"][port].tolist(), headers["column"][port].tolist(), strict=True)) == {
            layout.position(port)
        }
        assert set(headers["module_id"][port]) == {1234 + port // layout.interfaces}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("interfaces", [1, 2])
def test_packets_put_where_their_numbers_say_give_the_frame(interfaces, order):
    layout = WireLayout(2, 1, interfaces, order)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 65536, (3, 2, 512, 1024)).astype(np.uint16)
    found = frame_datagrams(layout, Content(pixels, DAQ_HIGH_GAIN), Exposure(4, 5))
    back = np.zeros((2, 128, 4096), np.uint16)
    for port, order_of_port in enumerate(layout.orders()):
        module, interface = divmod(port, interfaces)
        for datagram, packet in zip(found[port], order_of_port, strict=True):
            back[module, module_packet(interface, packet, interfaces)] = datagram[48:].view("<u2")
    np.testing.assert_array_equal(back.reshape(2, 512, 1024), pixels[4 % 3])


def test_a_stamp_is_the_frame_number_in_every_packet():
    layout = WireLayout(order="ascending")
    found = frame_datagrams(layout, pattern_content(layout, stamp=True), Exposure(0, 0x1234_5678_9ABC))
    raw = found[0, :, 48:].copy().view("<u2").reshape(512, 1024)
    assert (read_stamps(raw) == 0x1234_5678_9ABC).all()
    expected = documented_pattern()
    expected[::4, :4] = raw[::4, :4]
    np.testing.assert_array_equal(raw, expected)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 1), "at least 1 x 1"),
        ((1, 1, 3), "1 or 2"),
        ((1, 1, 1, "random"), "centre_out"),
        ((1, 2, 1, "ascending", (1,)), "1 module ids given for 2"),
        ((1, 1, 1, "ascending", (70000,)), "65535"),
    ],
)
def test_impossible_detectors_are_refused(arguments, says):
    with pytest.raises(ParameterError, match=says):
        WireLayout(*arguments)


def test_addresses_are_given_one_by_one_or_counted_up():
    assert parse_addresses("a:1,b:2", 2) == [("a", 1), ("b", 2)]
    assert parse_addresses("host:50001+", 3) == [("host", 50001), ("host", 50002), ("host", 50003)]
    for wrong in ("50001", "host:", ":1", "a:1,b", "a:1+,b:2"):
        with pytest.raises(ParameterError, match="HOST:PORT"):
            parse_addresses(wrong, 2)


@pytest.mark.parametrize(
    ("destinations", "says"),
    [
        ([], "0 receivers"),
        ([[("127.0.0.1", 1)]] * 33, "1 to 32"),
        ([[("127.0.0.1", 1)] * 2], "2 addresses"),
        ([[("127.0.0.1", 0)]], "65535"),
    ],
)
def test_destinations_that_do_not_fit_are_refused(destinations, says):
    with pytest.raises(ParameterError, match=says):
        resolved(WireLayout(), destinations)
