"""The image device in a process of its own, read by the lima client of blissdata."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tango
from blissdata.lima.client import LimaClient
from blissdata.lima.image_utils import NoImageAvailable, image_from_server

from lima2_bliss.contract import error_from_json
from lima2_bliss.contract.access import AttachJob, MasterJob
from lima2_bliss.contract.parameters import Saving

DEVICE = "test/limaimage/device"
SERVE = """
import sys
from lima2_receivers.servers.access import SERVER, LimaImage
from lima2_receivers.servers.instance import Instance, serve

arguments = ["-nodb", "-dlist", sys.argv[1], "-ORBendPoint", f"giop:tcp:127.0.0.1:{sys.argv[2]}"]
serve(Instance(SERVER, "test", sys.argv[1], "LimaImage", {}, None), [LimaImage], arguments)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def device_url():
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVE, DEVICE, str(port)], stdout=subprocess.DEVNULL)
    url = f"tango://127.0.0.1:{port}/{DEVICE}#dbase=no"
    deadline = time.monotonic() + 30
    tick = threading.Event()
    while True:
        try:
            tango.DeviceProxy(url).ping()
            break
        except tango.DevFailed:
            assert process.poll() is None
            assert time.monotonic() < deadline
            tick.wait(0.05)
    yield url
    process.terminate()
    assert process.wait(10) is not None


@pytest.fixture
def proxy(device_url):
    device = tango.DeviceProxy(device_url)
    device.Detach()
    return device


class CountingRedis:
    """The one key that blissdata reads: the acquisition that the device has now."""

    def get(self, _key: str) -> bytes:
        return b"0"


class DataStore:
    _redis = CountingRedis()


def lima_client(url: str, last_index: int, **options) -> LimaClient:
    info = {"protocol_version": 1, "server_url": url, "buffer_max_number": 16, "frame_per_acquisition": 100}
    client = LimaClient(DataStore(), **info, acquisition_offset=0, **options)
    client.update(last_index, -1)
    return client


def attach(proxy, server, uuid: str = "run-1", **options) -> None:
    proxy.Attach(AttachJob(uuid=uuid, endpoints=[server.endpoint], **options).model_dump_json())


def test_before_the_first_image_blissdata_is_told_so(receiver, server, proxy, device_url):
    with pytest.raises(NoImageAvailable):
        image_from_server(proxy, -1)
    receiver.add()
    attach(proxy, server)
    with pytest.raises(NoImageAvailable):
        lima_client(device_url, -1).get_last_live_image()
    assert proxy.last_image_ready == -1


@pytest.mark.parametrize("dtype", ["u1", "<i2", "<u2", "<u4", "<f4", "<f8"])
@pytest.mark.parametrize("channels", [1, 2])
def test_blissdata_reads_images_bit_exact(receiver, server, proxy, device_url, dtype, channels):
    pipeline = receiver.add(dtype=dtype, channels=channels)
    pipeline.feed(7)
    attach(proxy, server, nb_frames=100)
    client = lima_client(device_url, 6)
    for index in [0, 3, 6]:
        np.testing.assert_array_equal(client[index], pipeline.pixels_of(index).reshape(-1, 48))
    assert client[2:5].shape == (3, channels * 64, 48)
    live = client.get_last_live_image()
    assert live.frame_id == 6
    np.testing.assert_array_equal(live.array, pipeline.pixels_of(6).reshape(-1, 48))
    assert (proxy.image_width, proxy.image_height, proxy.last_image_ready) == (48, 64 * channels, 6)
    assert proxy.image_type.startswith("Bpp")


def test_image_0_is_known_as_such(receiver, server, proxy, device_url):
    receiver.add().feed(1)
    attach(proxy, server)
    assert lima_client(device_url, 5).get_last_live_image().frame_id == 0


def test_an_evicted_image_is_an_error_that_is_not_taken_for_no_image_yet(receiver, server, proxy):
    receiver.add(depth=4).feed(10)
    attach(proxy, server)
    with pytest.raises(RuntimeError, match="Error while reading image") as caught:
        image_from_server(proxy, 0)
    assert not isinstance(caught.value, NoImageAvailable)
    with pytest.raises(tango.DevFailed) as failure:
        proxy.readImage(0)
    error = error_from_json(failure.value.args[0].desc)
    assert failure.value.args[0].reason == "LIMA_Exception"
    assert type(error).__name__ == "NoLongerAvailableError"


def test_a_wrong_job_is_refused_and_the_shown_acquisition_stays(receiver, server, proxy):
    receiver.add().feed(2)
    attach(proxy, server)
    for wrong in ["", "[]", '{"uuid": "x"}', '{"uuid": "x", "endpoints": [], "nonsense": 1}']:
        with pytest.raises(tango.DevFailed, match="LIMA_Exception"):
            proxy.Attach(wrong)
    assert json.loads(proxy.attached)["uuid"] == "run-1"
    assert image_from_server(proxy, -1).frame_id == 1


def test_the_next_acquisition_takes_the_place_of_the_last(receiver, server, proxy):
    receiver.add("run-1").feed(5)
    attach(proxy, server)
    assert image_from_server(proxy, -1).frame_id == 4
    second = receiver.add("run-2")
    attach(proxy, server, "run-2")
    with pytest.raises(NoImageAvailable):
        image_from_server(proxy, -1)
    second.feed(2)
    assert image_from_server(proxy, -1).frame_id == 1


def test_a_receiver_that_hangs_blocks_no_other_client(proxy, device_url):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        proxy.Attach(AttachJob(uuid="x", endpoints=[endpoint]).model_dump_json())
        failures = []

        def ask() -> None:
            try:
                proxy.readImage(-1)
            except tango.DevFailed as failure:
                failures.append(failure.args[0].desc)

        hanging = threading.Thread(target=ask)
        hanging.start()
        other = tango.DeviceProxy(device_url)
        started = time.monotonic()
        assert other.acq_mode == "SINGLE"
        assert json.loads(other.master_state)["state"] in ("idle", "done", "failed")
        assert time.monotonic() - started < 0.5
        assert hanging.is_alive()
        hanging.join()
        assert endpoint in failures[0]


def wait_for_master(proxy) -> dict[str, str]:
    deadline = time.monotonic() + 20
    tick = threading.Event()
    while (state := json.loads(proxy.master_state))["state"] == "writing":
        assert time.monotonic() < deadline
        tick.wait(0.02)
    return state


def test_a_master_file_that_cannot_be_written_says_why(proxy, tmp_path):
    saving = Saving(enabled=True, base_path=str(tmp_path / "nowhere"), filename_prefix="gone")
    proxy.WriteMaster(MasterJob(saving=saving, counts=[3], shape=(1, 4, 5), dtype="<u2").model_dump_json())
    state = wait_for_master(proxy)
    assert state["state"] == "failed"
    assert "nowhere" in state["error"]


def test_a_master_file_is_written_beside_other_requests(proxy, tmp_path):
    from lima2_bliss.contract import FrameInfo, FrameMeta
    from lima2_receivers.saving import make_writer

    saving = Saving(enabled=True, base_path=str(tmp_path), compression="none")
    frames = np.arange(3 * 4 * 5, dtype="<u2").reshape(3, 1, 4, 5)
    writer = make_writer(saving, FrameInfo(1, 4, 5, np.dtype("<u2")), 0, {})
    for local, pixels in enumerate(frames):
        writer.write(pixels, FrameMeta(local, local))
    writer.close()
    proxy.WriteMaster(MasterJob(saving=saving, counts=[3], shape=(1, 4, 5), dtype="<u2").model_dump_json())
    state = wait_for_master(proxy)
    assert state == {"state": "done", "path": str(saving.layout().master_file), "error": ""}
    assert Path(state["path"]).exists()
