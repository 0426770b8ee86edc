"""The receiver's access server: results that wait, frames in bulk, and clients that behave badly."""

from __future__ import annotations

import json
import socket as sockets
import threading
import time

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import (
    ConnectionLostError,
    FrameFlags,
    Lima2Error,
    NoLongerAvailableError,
    NotAvailableError,
    NotYetAvailableError,
    ParameterError,
    StateError,
)
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, ROI_STATISTICS_STREAM
from lima2_bliss.contract.wire import FramesRequest, ResultsRequest, encode_request
from lima2_receivers.access import AccessLimits, AccessServer, ReceiverReader


@pytest.fixture
def reader(server):
    with ReceiverReader(server.endpoint) as connected:
        yield connected


def dealer(endpoint: str, **options: int) -> zmq.Socket:
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(endpoint)
    return socket


def wait_until(condition, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "condition not reached"
        tick.wait(0.005)


# --- greetings and status ---------------------------------------------------------------------------------------------


def test_hello_says_who_the_receiver_is(receiver, reader):
    receiver.add("first")
    receiver.add("second")
    hello = reader.hello()
    assert hello["device"] == "id00/limareceiver/test1"
    assert (hello["rank"], hello["receivers"], hello["protocol"]) == (0, 1, 1)
    assert hello["pipelines"] == ["first", "second"]


def test_status_is_that_of_the_newest_pipeline_unless_one_is_named(receiver, reader):
    receiver.add("first").feed(3)
    receiver.add("second").feed(1)
    assert reader.status().uuid == "second"
    assert reader.status("first").counts.processed == 3
    with pytest.raises(NotAvailableError, match="third"):
        reader.status("third")


def test_a_req_socket_is_served_too(server):
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.linger = 0
    socket.connect(server.endpoint)
    socket.send(b'{"op": "hello", "id": 7}')
    assert socket.poll(2000)
    assert json.loads(socket.recv())["id"] == 7
    socket.close()


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_come_from_the_asked_positions_on(receiver, reader):
    receiver.add().feed(10)
    status, rows = reader.results("", {ROI_STATISTICS_STREAM: 6, FRAME_EVENT_STREAM: 10})
    assert status.counts.processed == 10
    assert rows[ROI_STATISTICS_STREAM]["frame_idx"].tolist() == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]
    assert len(rows[FRAME_EVENT_STREAM]) == 0


def test_a_waiting_request_is_answered_when_a_row_comes_not_when_its_wait_ends(receiver, reader):
    pipeline = receiver.add()
    pipeline.feed(1)
    seen = reader.status().revision
    delays = []
    for number in range(1, 30):
        fed = []
        feeder = threading.Timer(0.01, lambda fed=fed: (fed.append(time.perf_counter()), pipeline.feed(1)))
        feeder.start()
        status, rows = reader.results("", {FRAME_EVENT_STREAM: number}, seen=seen, wait_ms=2000)
        delays.append(time.perf_counter() - fed[0])
        assert len(rows[FRAME_EVENT_STREAM]) == 1
        seen = status.revision
        feeder.join()
    print(f"wake-up: median {np.median(delays) * 1e3:.2f} ms, worst {max(delays) * 1e3:.2f} ms")
    assert max(delays) < 1.0


def test_a_waiting_request_is_answered_when_only_the_status_changes(receiver, reader):
    pipeline = receiver.add()
    threading.Timer(0.02, pipeline.changed).start()
    status, _ = reader.results("", {}, seen=0, wait_ms=2000)
    assert status.revision == 1


def test_a_wait_ends_with_what_there_is(receiver, reader):
    receiver.add().feed(2)
    started = time.monotonic()
    status, rows = reader.results("", {FRAME_EVENT_STREAM: 2}, seen=2, wait_ms=50)
    assert 0.045 < time.monotonic() - started < 1.0
    assert status.revision == 2
    assert len(rows[FRAME_EVENT_STREAM]) == 0


def test_two_readers_each_have_their_own_position(receiver, server):
    receiver.add().feed(5)
    with ReceiverReader(server.endpoint) as one, ReceiverReader(server.endpoint) as other:
        assert len(one.results("", {FRAME_EVENT_STREAM: 0})[1][FRAME_EVENT_STREAM]) == 5
        assert len(other.results("", {FRAME_EVENT_STREAM: 3})[1][FRAME_EVENT_STREAM]) == 2
        assert len(one.results("", {FRAME_EVENT_STREAM: 1})[1][FRAME_EVENT_STREAM]) == 4


def test_no_row_is_missed_or_repeated_while_rows_come_fast(receiver, reader):
    pipeline = receiver.add(depth=4)
    feeder = threading.Thread(target=pipeline.feed, args=(2000,))
    feeder.start()
    got, seen = [], -1
    while len(got) < 2000:
        status, rows = reader.results("", {FRAME_EVENT_STREAM: len(got)}, seen=seen, wait_ms=1000)
        seen = status.revision
        got += rows[FRAME_EVENT_STREAM]["frame_idx"].tolist()
    feeder.join()
    assert got == list(range(2000))


@pytest.mark.parametrize("positions", [{"no_such_stream": 0}, {FRAME_EVENT_STREAM: -1}, {FRAME_EVENT_STREAM: 1 << 70}])
def test_a_wrong_stream_or_position_is_refused(receiver, reader, positions):
    receiver.add()
    with pytest.raises((NotAvailableError, ParameterError)):
        reader.results("", positions, seen=0, wait_ms=1000)


def test_a_wait_on_an_erased_pipeline_ends_with_an_error(receiver, reader):
    pipeline = receiver.add("gone")
    threading.Timer(0.02, lambda: (receiver.pipelines.clear(), pipeline.changed())).start()
    with pytest.raises(NotAvailableError, match="erased"):
        reader.results("gone", {}, seen=0, wait_ms=2000)
    receiver.add("next")
    reader.status()
    wait_until(lambda: pipeline.nb_subscribers == 0)


def test_who_follows_an_acquisition_still_learns_how_it_ended_when_it_is_erased(receiver, reader):
    pipeline = receiver.add("gone")
    status = pipeline.status()

    def erase():
        receiver.ends["gone"] = status.model_copy(update={"state": "finished"})
        receiver.pipelines.clear()
        pipeline.changed()

    threading.Timer(0.02, erase).start()
    assert reader.results("gone", {}, seen=status.revision, wait_ms=2000)[0].state == "finished"
    assert reader.status("gone").state == "finished"
    with pytest.raises(NotAvailableError, match="gone"):
        reader.results("gone", {FRAME_EVENT_STREAM: 0})
    receiver.add("next")


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "<i2", "<u2", "<u4", "<f4", "<f8"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [5, 300])
def test_frames_come_bit_exact_with_what_is_known_of_them(receiver, reader, dtype, channels, side):
    from_pipeline = receiver.add(height=side, width=side + 1, channels=channels, dtype=dtype)
    from_pipeline.feed(6)
    for index, frame in reader.frames("", [4, 0, 5, 0]):
        assert frame.meta.index == index
        assert frame.meta.timestamp_ns == 1_000_000 + index
        assert frame.pixels.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(frame.pixels, from_pipeline.pixels_of(index))


def test_index_minus_1_is_the_newest_frame_with_pixels(receiver, reader):
    pipeline = receiver.add()
    pipeline.feed(3)
    assert reader.frame("").meta.index == 2
    pipeline.lose()
    assert reader.frame("").meta.index == 2
    pipeline.feed(1)
    assert reader.frame("").meta.index == 4


def test_each_missing_frame_says_why(receiver, reader):
    pipeline = receiver.add(depth=4)
    with pytest.raises(NotYetAvailableError):
        reader.frame("")
    pipeline.feed(7)
    pipeline.lose()
    answers = dict(reader.frames("", [0, 6, 7, 8, -5, 10**30]))
    assert isinstance(answers[0], NoLongerAvailableError)
    assert answers[6].meta.flags == FrameFlags.GOOD
    assert isinstance(answers[7], NotAvailableError)
    assert isinstance(answers[8], NotYetAvailableError)
    assert isinstance(answers[-5], NotAvailableError)
    assert isinstance(answers[10**30], NotYetAvailableError)


def test_an_unknown_source_names_those_there_are(receiver, reader):
    receiver.add()
    with pytest.raises(NotAvailableError, match=r"nonsense.*frame"):
        reader.frame("", 0, "nonsense")


def test_a_read_larger_than_a_reply_comes_in_several(receiver, reader):
    receiver.add(height=1024, width=2048, depth=40).feed(40)  # 4 MiB each: at most 16 in a reply
    indices = [*range(40), *range(10)]
    got = list(reader.frames("", indices))
    assert [index for index, _ in got] == indices
    assert [frame.meta.index for _, frame in got] == indices


def test_a_frame_on_its_way_keeps_its_pixels_while_the_ring_goes_on(receiver, server):
    pipeline = receiver.add(height=512, width=512, depth=12)
    pipeline.feed(12)
    socket = dealer(server.endpoint, rcvhwm=1, rcvbuf=65536)
    for number in range(6):
        socket.send(encode_request(FramesRequest(id=number, indices=[0, 5, 11])))
    wait_until(lambda: server.bytes_in_flight > 0)
    pipeline.feed(40)
    for _ in range(6):
        assert socket.poll(5000)
        about, *parts = socket.recv_multipart()
        there = [frame for frame in json.loads(about)["frames"] if "error" not in frame]
        for frame, part in zip(there, parts, strict=True):
            np.testing.assert_array_equal(np.frombuffer(part, "<u2"), pipeline.pixels_of(frame["index"]).ravel())
    socket.close()


# --- bad clients ------------------------------------------------------------------------------------------------------

STREAM = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5) | st.none(), max_size=4)
ALMOST = st.fixed_dictionaries(
    {"op": st.sampled_from(["hello", "status", "results", "frames", "stop", "", None, 3, []])},
    optional={
        "id": st.integers() | st.text(max_size=3) | st.floats(),
        "uuid": st.text(max_size=70) | st.integers(),
        "source": st.text(max_size=8),
        "indices": st.lists(st.integers() | st.floats(), max_size=6) | st.none(),
        "positions": STREAM | st.lists(st.integers(), max_size=2),
        "wait_ms": st.integers(-5, 5) | st.integers(),
        "seen": st.integers(),
        "extra": st.none(),
    },
).map(lambda content: json.dumps(content).encode())


@given(requests=st.lists(st.binary(max_size=200) | ALMOST, min_size=1, max_size=5))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_peer_sends_the_server_goes_on(receiver, server, requests):
    if not receiver.pipelines:
        receiver.add("run-1").feed(3)
    socket = dealer(server.endpoint)
    try:
        for request in requests:
            socket.send(request)
            assert socket.poll(5000), f"no answer to {request!r}"
            assert isinstance(json.loads(socket.recv_multipart()[0]), dict)
    finally:
        socket.close()
    with ReceiverReader(server.endpoint) as reader:
        assert reader.status().counts.processed == 3


@pytest.mark.parametrize(
    "request_parts", [[b"a", b"b"], [b"[" * 100_000], [b'{"op": "frames", "indices": [' + b"9" * 5000 + b"]}"]]
)
def test_strange_messages_get_an_error(server, request_parts):
    socket = dealer(server.endpoint)
    socket.send_multipart(request_parts)
    assert socket.poll(2000)
    assert "error" in json.loads(socket.recv())
    socket.close()


def test_a_request_over_the_size_limit_costs_its_connection_and_nothing_else(receiver, server, reader):
    receiver.add()
    socket = dealer(server.endpoint)
    socket.send(bytes(2 << 20))
    assert not socket.poll(200)
    assert reader.status().uuid == "run-1"
    socket.close()


def test_an_error_carries_the_id_of_its_request(server):
    socket = dealer(server.endpoint)
    socket.send(b'{"op": "status", "id": 41, "nonsense": 1}')
    assert socket.poll(2000)
    reply = json.loads(socket.recv())
    assert reply["id"] == 41
    assert reply["error"]["errinfo"]["kind"] == "ParameterError"
    socket.close()


def test_too_many_open_requests_of_one_client_are_refused(receiver, server):
    receiver.add()
    socket = dealer(server.endpoint)
    for number in range(20):
        socket.send(encode_request(ResultsRequest(id=number, seen=0, wait_ms=1000)))
    replies = [json.loads(socket.recv()) for _ in range(4) if socket.poll(500)]
    assert [reply["id"] for reply in replies] == [16, 17, 18, 19]
    assert all(reply["error"]["errinfo"]["kind"] == StateError.__name__ for reply in replies)
    socket.close()


def test_a_client_that_does_not_read_cannot_starve_the_ring(receiver):
    pipeline = receiver.add(height=1024, width=1024, depth=12)  # 2 MiB frames, ring of 21
    pipeline.feed(12)
    limits = AccessLimits(bytes_per_client=32 << 20)
    with AccessServer(receiver, limits=limits, heartbeat_timeout_s=60) as server:
        # It takes one message and a little of the next into its own memory, and asks for more all the time.
        lazy = dealer(server.endpoint, rcvhwm=1, rcvbuf=65536)
        for number in range(12):
            lazy.send(encode_request(FramesRequest(id=number, indices=list(range(12)))))
        with ReceiverReader(server.endpoint) as polite:
            for _ in range(60):
                pipeline.feed(1)  # fails when the ring is full
                newest = pipeline.log.frames - 1
                assert polite.frame("").meta.index == newest
                assert server.bytes_in_flight <= limits.bytes_per_client + (4 << 20)
        lazy.close()
        wait_until(lambda: server.bytes_in_flight == 0)
        pipeline.store.close()
        wait_until(lambda: pipeline.pool.free == pipeline.pool.total)


def test_a_client_that_stops_taking_data_in_is_cut_off(receiver):
    """Its connection is opened by hand, so that nothing reads what the server sends."""
    pipeline = receiver.add(height=1024, width=1024, depth=12)
    pipeline.feed(12)
    with AccessServer(receiver, heartbeat_timeout_s=0.4) as server:
        host, port = server.endpoint.removeprefix("tcp://").split(":")
        with sockets.create_connection((host, int(port))) as raw:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 65536)
            body = encode_request(FramesRequest(indices=list(range(12))))
            raw.sendall(ZMTP_GREETING)
            assert len(raw.recv(64, sockets.MSG_WAITALL)) == 64
            raw.sendall(ZMTP_READY_DEALER)
            raw.sendall(b"\x00" + bytes([len(body)]) + body)
            wait_until(lambda: server.bytes_in_flight > 1 << 20)
            wait_until(lambda: server.bytes_in_flight == 0)
        with ReceiverReader(server.endpoint) as polite:
            assert polite.frame("").meta.index == 11


ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\x00") + bytes(32)
ZMTP_READY_DEALER = b"\x04\x1c" + b"\x05READY" + b"\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"


# --- life time --------------------------------------------------------------------------------------------------------


def test_close_leaves_no_thread_no_socket_and_no_lease(receiver):
    pipeline = receiver.add(height=1024, width=1024, depth=8)
    pipeline.feed(8)
    server = AccessServer(receiver, device="closing")
    lazy = dealer(server.endpoint, rcvhwm=1)
    for number in range(4):
        lazy.send(encode_request(FramesRequest(id=number, indices=list(range(8)))))
    lazy.send(encode_request(ResultsRequest(seen=8, wait_ms=2000)))
    wait_until(lambda: pipeline.nb_subscribers == 1)
    server.close()
    server.close()
    assert not any(thread.name == "access-closing" for thread in threading.enumerate())
    assert pipeline.nb_subscribers == 0
    pipeline.store.close()
    assert pipeline.pool.free == pipeline.pool.total
    lazy.close()
    with AccessServer(receiver, port=int(server.endpoint.rsplit(":", 1)[1])) as again:
        assert again.endpoint == server.endpoint


def test_the_address_of_a_server_on_all_interfaces_names_the_host(receiver):
    receiver.add().feed(1)
    with AccessServer(receiver, bind_address="0.0.0.0") as server:
        host, port = server.endpoint.removeprefix("tcp://").split(":")
        assert host == sockets.gethostname()
        assert int(port) > 0


def test_a_port_in_use_is_one_clear_error(receiver, server):
    port = int(server.endpoint.rsplit(":", 1)[1])
    with pytest.raises(StateError, match=f"{port}.*access_port"):
        AccessServer(receiver, port=port)


def test_a_reader_names_the_receiver_that_is_not_there():
    with (
        ReceiverReader("tcp://127.0.0.1:9", connect_s=0.1) as reader,
        pytest.raises(ConnectionLostError, match=r"127\.0\.0\.1:9"),
    ):
        reader.hello()


def test_a_reader_notices_a_lost_receiver_at_once_and_connects_again(receiver):
    receiver.add().feed(1)
    server = AccessServer(receiver)
    port = int(server.endpoint.rsplit(":", 1)[1])
    with ReceiverReader(server.endpoint, timeout_s=10, connect_s=2) as reader:
        reader.status()
        threading.Timer(0.1, server.close).start()
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match=server.endpoint):
            reader.results("", {}, seen=1, wait_ms=2000)
        assert time.monotonic() - started < 1.0
        server.close()
        with AccessServer(receiver, port=port):
            assert reader.status().counts.processed == 1


def test_errors_of_the_receiver_itself_do_not_end_the_server(receiver, server, reader):
    pipeline = receiver.add()
    pipeline.feed(1)
    pipeline.status = lambda: 1 / 0
    with pytest.raises(Lima2Error, match="ZeroDivisionError"):
        reader.status()
    with pytest.raises(Lima2Error, match="ZeroDivisionError"):
        reader.results("", {}, seen=1, wait_ms=1000)
    assert reader.frame("").meta.index == 0
