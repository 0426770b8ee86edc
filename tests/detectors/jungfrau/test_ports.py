"""The UDP ports of receivers: given, or chosen so that no two of a host meet."""

import contextlib
import socket

import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau import ports as module
from lima2_receivers.detectors.jungfrau.ports import BLOCK, BLOCK_PORTS, FIRST_BLOCK, LAST_BLOCK, UdpPorts


def _binds(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
        try:
            each.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_receivers_of_a_host_choose_other_blocks_and_give_them_back():
    chosen = [UdpPorts({}, "127.0.0.1") for _ in range(3)]
    try:
        firsts = [each.first for each in chosen]
        assert len(set(firsts)) == 3
        for each in chosen:
            assert FIRST_BLOCK <= each.first <= LAST_BLOCK
            assert each.first % BLOCK == 0
            assert _binds(each.first)  # free for the sockets of an acquisition
            assert not _binds(each.first + BLOCK_PORTS)
            assert (each.address, each.bind) == ("127.0.0.1", "127.0.0.1")
    finally:
        for each in chosen:
            each.close()
            each.close()
    assert all(_binds(first + BLOCK_PORTS) for first in firsts)


def test_a_block_in_which_somebody_has_a_port_is_left_out():
    before = UdpPorts({}, "127.0.0.1")
    before.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", before.first + 17))
        after = UdpPorts({}, "127.0.0.1")
        after.close()
    assert after.first > before.first


def test_a_host_without_a_free_block_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(module, "LAST_BLOCK", FIRST_BLOCK)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with contextlib.suppress(OSError):  # another receiver of this host has the block
            other.bind(("127.0.0.1", FIRST_BLOCK + 3))
        with pytest.raises(ParameterError, match=r"no block of 64 free UDP ports.*udp_first_port.*ss -ulpn"):
            UdpPorts({}, "127.0.0.1")


def test_a_chosen_block_carries_63_ports_and_given_ports_any_number():
    chosen, given = UdpPorts({}, "127.0.0.1"), UdpPorts({"udp_first_port": "50001"}, "127.0.0.1")
    try:
        chosen.check(63)
        with pytest.raises(ParameterError, match=r"64 UDP ports.*chooses its ports has 63.*udp_first_port"):
            chosen.check(64)
        assert given.first == 50001
        given.check(512)
        with pytest.raises(ParameterError, match=r"last would be 70000; set it to 45536 at most"):
            given.check(20000)
    finally:
        chosen.close()
        given.close()


@pytest.mark.parametrize("text", ["fifty", "0", "1023", "65536", "-5", "5000.0"])
def test_a_first_port_that_is_none_is_refused(text):
    with pytest.raises(ParameterError, match=r"udp_first_port = .*from 1024 to 65535"):
        UdpPorts({"udp_first_port": text}, "127.0.0.1")


def test_the_detector_is_told_the_address_of_its_own_interface():
    given = {"udp_first_port": "50001", "udp_address": "127.0.0.1"}
    assert (UdpPorts(given, "0.0.0.0").address, UdpPorts(given, "0.0.0.0").bind) == ("127.0.0.1", "127.0.0.1")
    everywhere = UdpPorts({"udp_first_port": "50001"}, "*")
    assert (everywhere.address, everywhere.bind) == (socket.gethostname(), "0.0.0.0")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("no such host.invalid", "udp_address = .*no IPv4 address"),
        ("::1", "udp_address = '::1'.*no IPv4"),
        ("192.0.2.7", "no interface with address 192.0.2.7"),
    ],
)
def test_an_address_that_cannot_be_is_named(address, text):
    with pytest.raises(ParameterError, match=text):
        UdpPorts({"udp_address": address}, "127.0.0.1")
