"""The publisher device and its client, without a Tango database."""

import subprocess
import sys
import textwrap
import time

import pytest
import tango

from lima2_bliss.contract import ConnectionLostError, NotAvailableError, ParameterError, StateError
from lima2_bliss.publishing.publisher_client import PublisherClient


@pytest.fixture
def device(until, tmp_path):
    """A LimaPublisher process without database, and the name to reach it by."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    name = f"tango://127.0.0.1:{port}/test/limapublisher/1#dbase=no"
    log = (tmp_path / "publisher.log").open("w")
    start = (
        "from lima2_bliss.publishing.server import main; "
        "main(['one', '-nodb', '-dlist', 'test/limapublisher/1', '-host', '127.0.0.1', "
        f"'-ORBendPoint', 'giop:tcp:127.0.0.1:{port}'])"
    )
    process = subprocess.Popen([sys.executable, "-c", start], stdout=log, stderr=log)

    def up():
        try:
            return tango.DeviceProxy(name).ping() > 0
        except tango.DevFailed:
            assert process.poll() is None, (tmp_path / "publisher.log").read_text()
            return False

    until(up, "the publisher answers")
    yield name, process
    process.kill()
    process.wait()
    log.close()


def test_begin_wait_and_finish_publish_an_acquisition(make_setup, device):
    client = PublisherClient(device[0])
    setup = make_setup(2, nb_frames=10, saved="master")
    client.begin(setup.job)
    for receiver in setup.receivers:
        receiver.feeder.feed(5)
    status = client.wait_published(setup.job.uuid, 10)
    assert status.rows == 10
    for receiver in setup.receivers:
        receiver.feeder.end()
    status = client.finish(setup.job.uuid, 5, saved=10)
    assert (status.state, status.last_index_saved) == ("done", 9)
    full = client.status(setup.job.uuid)
    assert full.published["roi1_sum"] == 10
    assert list(client.statuses()) == [setup.job.uuid]


def test_errors_arrive_as_what_they_are_and_name_who_failed(make_setup, device):
    client = PublisherClient(device[0])
    setup = make_setup(2, nb_frames=10)
    with pytest.raises(NotAvailableError, match="is not published here"):
        client.status("nobody")
    client.begin(setup.job)
    with pytest.raises(StateError, match="published already"):
        client.begin(setup.job)
    setup.receivers[1].close()
    with pytest.raises(ConnectionLostError, match="test/receiver/2"):
        client.wait_published(setup.job.uuid, 10, timeout_s=5)
    with pytest.raises(ConnectionLostError, match="test/receiver/2"):
        client.finish(setup.job.uuid, 5)


def test_a_wrong_job_is_refused_with_every_fault_named(device):
    proxy = tango.DeviceProxy(device[0])
    with pytest.raises(tango.DevFailed) as caught:
        proxy.Begin('{"uuid": "x", "colour": 1}')
    assert "colour: unknown parameter" in caught.value.args[0].desc
    assert "redis_url" in caught.value.args[0].desc
    assert ParameterError.__name__ in caught.value.args[0].desc


def test_a_killed_publisher_is_noticed(make_setup, device):
    name, process = device
    client = PublisherClient(name)
    setup = make_setup(1)
    client.begin(setup.job)
    process.kill()
    process.wait()
    started = time.monotonic()
    with pytest.raises(ConnectionLostError, match="limapublisher"):
        client.wait_published(setup.job.uuid, 1, timeout_s=5)
    assert time.monotonic() - started < 3


UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all(thread=False)
import sys, time, gevent
from lima2_bliss.publishing.publisher_client import PublisherClient
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic()); gevent.sleep(0.005)
gevent.spawn(tick)
client = PublisherClient(sys.argv[1])
try:
    client.wait_published(sys.argv[2], 5, timeout_s=0.7)
except TimeoutError:
    pass
gaps = [b - a for a, b in zip(ticks, ticks[1:])]
print(len(ticks) > 50, max(gaps) < 0.1)
"""


def test_waiting_leaves_the_gevent_hub_free(make_setup, device):
    setup = make_setup(1)
    PublisherClient(device[0]).begin(setup.job)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(UNDER_GEVENT), device[0], setup.job.uuid],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["True", "True"], done.stdout + done.stderr
