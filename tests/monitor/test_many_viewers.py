"""Many pages cost what one costs; a slow one gets less, and keeps nothing waiting."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from lima2_bliss.monitor import hub as hub_module
from lima2_bliss.monitor.hub import Hub
from lima2_bliss.monitor.messages import Follow, ShowImage
from lima2_bliss.monitor.pictures import Picture
from lima2_bliss.monitor.viewer import Viewer


class Page:
    """A page that asks for nothing and takes messages while it is open; ``most`` are under way at a time."""

    def __init__(self, is_open=True):
        self.open = asyncio.Event()
        self.open.set() if is_open else self.open.clear()
        self.texts, self.pictures = [], []
        self.under_way = self.most = 0
        self.news = asyncio.Event()

    async def receive(self):
        await asyncio.Event().wait()

    async def send_text(self, text):
        await self._taken()
        self.texts.append(json.loads(text))
        self.news.set()

    async def send_bytes(self, data):
        await self._taken()
        self.pictures.append(data)
        self.news.set()

    async def _taken(self):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.open.wait()
        self.under_way -= 1

    async def until(self, ready):
        """Wait until ``ready()``."""
        async with asyncio.timeout(20):
            while not ready():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
def run(scans, watch):
    """Runs ``story(hub)`` in an event loop."""

    def running(story):
        async def told():
            hub = Hub(scans, watch)
            try:
                return await story(hub)
            finally:
                hub.close()

        return asyncio.run(told())

    return running


async def looked_at(hub, *pages):
    """Their viewers at work."""
    return [asyncio.create_task(Viewer(hub, page).serve()) for page in pages]


async def gone(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_slow_page_gets_fewer_messages_and_none_wait_for_it(scans, detectors, run):
    scans.add("one")

    async def story(hub):
        slow, fast = Page(is_open=False), Page()
        tasks = await looked_at(hub, slow, fast)
        await fast.until(lambda: ("one", "det") in detectors)
        for frames in range(1, 6):
            detectors["one", "det"].publish(frames)
            await fast.until(lambda frames=frames: len(fast.pictures) == frames)
        assert (slow.texts, slow.pictures, slow.under_way) == ([], [], 1)
        slow.open.set()
        await slow.until(lambda: slow.pictures)
        await gone(tasks)
        assert slow.most == fast.most == 1
        assert len(slow.pictures) == 1
        assert detectors["one", "det"].fetched < 30

    run(story)


def test_ten_pages_cost_one_chart_and_one_picture(scans, detectors, run, monkeypatch):
    scans.add("one")
    charts, pictures = [], []
    message, encode = hub_module.chart_message, hub_module.encode
    monkeypatch.setattr(hub_module, "chart_message", lambda *of: charts.append(of) or message(*of))
    monkeypatch.setattr(hub_module, "encode", lambda *of, **how: pictures.append(of) or encode(*of, **how))

    async def story(hub):
        pages = [Page() for _ in range(10)]
        await hub.look(Follow())
        one = detectors["one", "det"]
        one.publish(3)
        made = Picture(2, np.zeros((4, 6), np.uint16), (4, 6), "memory")
        one.picture = lambda wanted: made
        tasks = await looked_at(hub, *pages)
        for page in pages:
            await page.until(lambda page=page: page.pictures and any(text["type"] == "series" for text in page.texts))
        await gone(tasks)

    run(story)
    assert (len(charts), len(pictures), len(detectors)) == (1, 1, 1)


def test_pictures_that_are_kept_are_bounded_by_their_bytes(scans, detectors, run, monkeypatch):
    monkeypatch.setattr(hub_module, "PICTURE_BYTES", 2000)
    scans.add("one")

    async def story(hub):
        watched = await hub.look(Follow())
        detectors["one", "det"].publish(100)
        for index in range(100):
            await hub.picture(watched, ShowImage(mode="frame", index=index))
        kept = [task.result()[1] for _, task in hub._pictures.values()]
        assert 0 < sum(map(len, kept)) <= 2000
        assert (await hub.picture(watched, ShowImage(mode="frame", index=99)))[0] == 99

    run(story)
    assert detectors["one", "det"].fetched == 100


def test_readers_end_when_no_page_is_left(scans, detectors, run, monkeypatch):
    monkeypatch.setattr(hub_module, "UNWATCHED_S", 0.05)
    scans.add("one")

    async def story(hub):
        await hub.look(Follow())
        assert await asyncio.to_thread(detectors["one", "det"].closed.wait, 10)
        assert not hub._watched
        assert not hub._used

    run(story)


def test_what_is_kept_of_a_scan_goes_with_its_reader(scans, run, monkeypatch):
    monkeypatch.setattr(hub_module, "MOST_WATCHED", 2)
    for number in range(20):
        scans.add(f"scan{number}")

    async def story(hub):
        for number in range(20):
            watched = await hub.look(Follow(scan=f"scan{number}"))
            watched.publish(1)
            hub.view_text(watched)
            hub.chart_text(watched, "hit_rate")
        assert {len(kept) for kept in (hub._watched, hub._texts, hub._charts)} == {2}

    run(story)
