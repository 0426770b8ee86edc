"""Sources prepared, prepared again, refused, and closed: ports, files and threads are where they should be."""

import os
import socket
import threading

import psutil
import pytest
from intake_rig import wait_for
from source_rig import SourceRig, make_parameters

from lima2_bliss.contract import ParameterError, RoundRobin, StateError
from lima2_receivers.detectors.jungfrau.intake import PortTakenError
from lima2_receivers.engine.plugin import ReceiverSetup


def test_a_table_of_destinations_that_is_too_small_is_refused():
    with SourceRig() as rig:
        setup = ReceiverSetup("a", make_parameters(1), 0, RoundRobin(2, 17))
        setup.parameters.xfer.block = 17
        with pytest.raises(ParameterError, match=r"34 destinations; a Jungfrau has 32"):
            rig.sources[0].prepare(setup)


def test_a_control_that_would_send_other_blocks_is_refused():
    with SourceRig() as rig, pytest.raises(ParameterError, match=r"xfer\.block = 1"):
        rig.sources[0].prepare(ReceiverSetup("a", make_parameters(1), 0, RoundRobin(2, 4)))


def test_prepared_again_it_forgets_the_acquisition_before():
    parameters = make_parameters(1, 3)
    with SourceRig() as rig:
        rig.prepare(make_parameters(2, 3))
        rig.begin(900, 3)
        rig.acquire(parameters, 3, number=50)
        assert not rig.errors
        assert rig.sinks[0].seen == [{50}, {51}, {52}]
        with pytest.raises(StateError, match="not prepared"):
            rig.sources[0].run(rig.sinks[0])


def test_a_running_source_is_not_prepared():
    with SourceRig() as rig:
        rig.prepare(make_parameters(1))
        rig.begin(1)
        rig.start()
        wait_for(lambda: rig.sinks[0].counts, "the first note")
        with pytest.raises(StateError, match="still receives"):
            rig.sources[0].prepare(ReceiverSetup("b", make_parameters(1), 0, RoundRobin()))
        rig.end(0)
        rig.join()


def test_a_taken_port_is_told_at_prepare_and_free_again_it_works():
    with SourceRig() as rig:
        port = int(rig.sources[0].endpoints()["udp"].split(":")[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", port))
            with pytest.raises(PortTakenError, match=rf"{port} is taken.*pid {os.getpid()}"):
                rig.prepare(make_parameters(1, 2))
        rig.acquire(make_parameters(1, 2), 2)
        assert not rig.errors


def test_a_detector_with_more_ports_than_the_block_is_refused():
    parameters = make_parameters(1, interfaces=2)
    parameters.det.geometry.module_rows, parameters.det.geometry.module_columns = 16, 2
    with SourceRig() as rig, pytest.raises(ParameterError, match=r"64 UDP ports.*udp_first_port"):
        rig.prepare(parameters)


def test_nothing_is_left_behind():
    def open_files():
        # of the kind that a source opens: other files of this process come and go
        return len(psutil.Process().net_connections("udp"))

    with SourceRig():  # what is made once
        pass
    files, threads = open_files(), threading.active_count()
    with SourceRig(2) as rig:
        rig.prepare(make_parameters(1, 4))
        between = open_files()
        rig.acquire(make_parameters(1, 4), 4)
        rig.prepare(make_parameters(1, 4))
        assert open_files() == between + 1  # the socket of the wire
    wait_for(lambda: (open_files(), threading.active_count()) == (files, threads), "the end of files and threads")
