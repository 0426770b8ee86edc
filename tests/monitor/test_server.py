"""The web server: who is let in, what is answered, what pages are told."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack

import numpy as np
import pytest
from monitor_decode import decoded
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lima2_bliss.monitor.hub import Hub
from lima2_bliss.monitor.server import MOST_VIEWERS


@pytest.fixture
def page(scans, watch, serve):
    """A browser of this host."""
    with serve(Hub(scans, watch)) as client:
        yield client


class Told:
    """What a page is told, by kind."""

    def __init__(self, socket):
        self.socket = socket
        self.kinds = {}

    def until(self, ready):
        """Read on until ``ready(kinds)``; what it gave."""
        while not (found := ready(self.kinds)):
            message = self.socket.recv(timeout=20)
            if isinstance(message, bytes):
                header, pixels = decoded(message)
                self.kinds[header["type"]] = (header, pixels)
            else:
                content = json.loads(message)
                self.kinds[content["type"]] = content
        return found


def test_the_page_and_its_parts_are_served_from_here(page):
    text = page.get("/").text
    assert "<canvas" in text
    assert "http" not in text.replace("<!doctype html>", "")
    for part in ("static/app.js", "static/style.css", "static/picture.js", "plotly.min.js"):
        assert page.get(f"/{part}").status_code == 200
    assert "default-src 'self'" in page.get("/").headers["content-security-policy"]
    assert page.get("/static/../server.py").status_code == 404
    assert page.get("/", method="POST").status_code == 405


def test_a_page_follows_the_running_scan_and_the_next(page, scans, detectors):
    with page.connect() as socket:
        told = Told(socket)
        assert told.until(lambda kinds: kinds.get("view"))["scan"] is None
        scans.add("one")
        told.until(lambda kinds: (kinds["view"]["scan"] or {}).get("key") == "one")
        detectors["one", "det"].publish(5)
        header, pixels = told.until(lambda kinds: kinds.get("image"))
        assert (header["index"], pixels.shape, int(pixels[0, 0])) == (4, (4, 6), 4)
        assert told.until(lambda kinds: kinds.get("series"))["name"] == "hit_rate"
        told.until(lambda kinds: kinds["view"]["frames"] == 5)
        scans.add("two")
        told.until(lambda kinds: kinds["view"]["scan"]["key"] == "two")
        assert [scan["key"] for scan in told.until(lambda kinds: kinds["scans"]["scans"])] == ["two", "one"]


def test_a_page_asks_for_scan_detector_frame_and_region(page, scans, detectors):
    scans.add("one")
    scans.add("two")
    with page.connect() as socket:
        told = Told(socket)
        socket.send(json.dumps({"follow": {"scan": "one", "detector": "second"}}))
        told.until(lambda kinds: kinds.get("view", {}).get("detector") == "second")
        detectors["one", "second"].publish(9)
        socket.send(json.dumps({"image": {"mode": "frame", "index": 3}}))
        told.until(lambda kinds: kinds.get("image", ({},))[0].get("index") == 3)
        socket.send(json.dumps({"region": {"index": 3, "y0": 1, "x0": 2, "y1": 3, "x1": 5}}))
        header, pixels = told.until(lambda kinds: kinds.get("region"))
        np.testing.assert_array_equal(pixels, np.arange(24).reshape(4, 6)[1:3, 2:5])
        assert header["origin"] == [1, 2]
        socket.send(json.dumps({"image": {"mode": "frame", "index": 100}}))
        assert "frame 100 is not there" in told.until(lambda kinds: kinds.get("trouble"))["text"]


def test_what_makes_no_sense_is_told_and_the_page_goes_on(page, scans):
    with page.connect() as socket:
        told = Told(socket)
        socket.send('{"erase": 1}')
        assert "erase: unknown parameter" in told.until(lambda kinds: kinds.get("trouble"))["text"]
        socket.send(json.dumps({"follow": {"scan": "gone"}}))
        told.until(lambda kinds: "gone is not in Redis" in kinds["trouble"]["text"])
        scans.add("one")
        socket.send(json.dumps({"follow": {}}))
        told.until(lambda kinds: (kinds.get("view", {}).get("scan") or {}).get("key") == "one")


def test_downloads(page, scans, detectors):
    scans.add("one")
    assert [scan["key"] for scan in page.get("/api/scans").json()] == ["one"]
    assert page.get("/api/frame/one/det/0.png").status_code == 404
    detectors["one", "det"].publish(3)
    picture = page.get("/api/frame/one/det/2.png?map=viridis&scale=log")
    assert Image.open(io.BytesIO(picture.content)).size == (6, 4)
    assert page.get("/api/csv/one/det/hit_rate").text.startswith("frame,hit_rate")
    assert page.get("/api/spots/one/det/1.csv").text.splitlines()[0].startswith("frame_idx,y,x")
    for address, status, told in (
        ("/api/frame/one/det/2.png?map=none", 400, "maps: grey"),
        ("/api/frame/one/none/2.png", 404, "has no detector 'none'"),
        ("/api/frame/none/det/2.png", 404, "not in Redis"),
        ("/api/csv/one/det/none", 404, "there are: hit_rate"),
        ("/api/frame/one/det/99999999999999999.png", 400, "2^40"),
        ("/api/none", 404, "/api/none"),
    ):
        answer = page.get(address)
        assert (answer.status_code, told in answer.text) == (status, True), answer.text


def test_many_pages_cost_one_fetch(page, scans, detectors):
    scans.add("one")
    page.get("/api/csv/one/det/hit_rate")
    detectors["one", "det"].publish(4)
    with ExitStack() as pages:
        sockets = [pages.enter_context(page.connect()) for _ in range(10)]
        for socket in sockets:
            Told(socket).until(lambda kinds: kinds.get("image"))
        assert page.get("/api/health").json()["viewers"] == 10
        assert detectors["one", "det"].fetched < 10
        assert len(detectors) == 1


def test_no_more_pages_than_there_is_room_for(page):
    with ExitStack() as pages:
        for _ in range(MOST_VIEWERS):
            pages.enter_context(page.connect()).recv(timeout=20)
        with pytest.raises(InvalidStatus, match="403"), page.connect():
            pass


def test_readers_that_nobody_looks_at_are_closed(page, scans, detectors, monkeypatch):
    monkeypatch.setattr("lima2_bliss.monitor.hub.MOST_WATCHED", 1)
    scans.add("one")
    scans.add("two")
    page.get("/api/csv/one/det/hit_rate")
    page.get("/api/csv/two/det/hit_rate")
    assert detectors["one", "det"].closed.wait(10)
    assert not detectors["two", "det"].closed.is_set()


# --- who is let in ----------------------------------------------------------------------------------------------------


def test_without_a_token_only_this_host_by_its_own_names(page):
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert page.get("/", headers={"host": host}).status_code == 200
    for host in ("monitor.example.org", "localhost.example.org", "10.0.0.1:8000"):
        assert page.get("/", headers={"host": host}).status_code == 403


def test_pages_of_other_sites_are_refused(page):
    assert page.get("/api/scans", headers={"origin": "http://elsewhere.org"}).status_code == 403
    assert page.get("/api/scans", headers={"origin": page.address}).status_code == 200
    with pytest.raises(InvalidStatus, match="403"), page.connect(origin="http://elsewhere.org"):
        pass


def test_with_a_token_nothing_is_answered_without_it(scans, watch, serve):
    with serve(Hub(scans, watch), token="secret") as client:
        assert client.get("/").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        assert client.get("/static/app.js").status_code == 403
        with pytest.raises(InvalidStatus, match="403"), client.connect():
            pass
        assert client.get("/", headers={"authorization": "Bearer secret"}).status_code == 200
        answer = client.get("/?token=secret")
        assert answer.status_code == 303
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert client.get("/", headers={"cookie": answer.headers["set-cookie"].split(";")[0]}).status_code == 200
        with client.connect(additional_headers={"authorization": "Bearer secret"}) as socket:
            assert json.loads(socket.recv(timeout=20))["type"] == "scans"


def test_a_page_that_sends_too_much_is_cut_off(page):
    with page.connect() as socket:
        socket.send('"' + "x" * 10_000 + '"')
        with pytest.raises(ConnectionClosed):
            Told(socket).until(lambda kinds: False)
