"""The scans that are in Redis, kept up to date by one thread for all pages."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import redis
from blissdata.redis_engine.exceptions import NoScanAvailable
from blissdata.redis_engine.scan import ScanState as RedisState
from blissdata.redis_engine.store import DataStore

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.monitor.describing import device_metadata
from lima2_bliss.monitor.model import ScanState, ScanSummary

_log = logging.getLogger(__name__)

#: How often Redis is asked for the state of the newest scans while one runs; when none does, it tells of the next one.
LOOK_S = 0.25
IDLE_S = 0.5
#: How often for all scans: some may have been deleted. After trouble, it gets this long to come back.
SEARCH_S = 5.0
TROUBLE_S = 1.0
#: Redis answers within this time, or is in trouble.
ANSWER_S = 5.0
#: Scans kept; older ones are in Redis but not in the list.
MOST_SCANS = 200
#: So many of the newest are looked at more often than `SEARCH_S`; older ones that never ended are left overs.
_RECENT = 8
#: A detector has one of these streams.
_DETECTOR_STREAMS = ("image", "preview", "nb_peaks", "frame_index")


def _with_time_limits(url: str) -> str:
    """A Redis that neither answers nor closes its connections is noticed, unless the address says otherwise."""
    if "socket_timeout" in url:
        return url
    limits = f"socket_timeout={ANSWER_S:g}&socket_connect_timeout={ANSWER_S:g}"
    return f"{url}{'&' if '?' in url else '?'}{limits}"


def _time(text: Any) -> float | None:
    """Seconds since 1970 of an ISO time; None when there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def _state(state: int) -> ScanState:
    if state >= RedisState.STOPPED:
        return "ended"
    return "running" if state == RedisState.STARTED else "waiting"


def summary_of(scan: Any) -> ScanSummary:
    """What the list says of a blissdata scan."""
    info: Mapping[str, Any] = scan.info
    ends = {tuple(name.rsplit(":", 1)) for name in scan.streams if ":" in name}
    detectors = {first.rpartition(":")[2] for first, last in ends if last in _DETECTOR_STREAMS}
    noted = device_metadata(info, min(detectors)).get("acquisition", {}) if detectors else {}
    return ScanSummary(
        key=scan.key,
        session=str(scan.session),
        number=int(scan.number or 0),
        name=str(scan.name),
        title=str(info.get("title", "")),
        state=_state(scan.state),
        start=_time(info.get("start_time")),
        end=_time(info.get("end_time")),
        npoints=int(info.get("npoints") or 0),
        filename=str(info.get("filename") or ""),
        detectors=tuple(sorted(detectors)),
        frames=noted.get("images_processed"),
        hits=noted.get("hits"),
    )


class Scans:
    """Scans of one Redis, newest first; ``session``: only of that one. As context manager, with its thread.

    ``revision`` grows when a scan comes, goes or changes. ``trouble`` says what keeps it from reading Redis.
    """

    def __init__(self, redis_url: str, session: str | None = None) -> None:
        self.revision = 0
        self.trouble = ""
        self._url = redis_url
        self._session = session
        self._store: DataStore | None = None
        self._scans: dict[str, Any] = {}
        self._summaries: tuple[ScanSummary, ...] = ()
        self._keys: list[str] = []
        self._since = "0-0"
        self._search_due = 0.0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor-scans", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    # --- for pages ------------------------------------------------------------------------------------------------

    def sessions(self) -> Sequence[str]:
        """Sessions that have scans."""
        return sorted({scan.session for scan in self._summaries})

    def summaries(self, session: str | None = None) -> Sequence[ScanSummary]:
        """Scans, newest first."""
        return [scan for scan in self._summaries if session in (None, scan.session)]

    def find(self, key: str) -> ScanSummary:
        """One scan; `NotAvailableError` when it is not, or no longer, in Redis."""
        for scan in self._summaries:
            if scan.key == key:
                return scan
        raise NotAvailableError(f"scan {key} is not, or no longer, in Redis; choose another one")

    def newest(self, session: str | None = None) -> ScanSummary | None:
        """The running scan with a detector; if none runs, the last one with a detector."""
        found = [scan for scan in self.summaries(session) if scan.detectors]
        return next((scan for scan in found if scan.state == "running"), found[0] if found else None)

    def wait(self, revision: int, timeout_s: float) -> bool:
        """Wait for a revision newer than this one; False when none came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.revision > revision, timeout_s)

    def open(self, key: str) -> Any:
        """A blissdata scan of its own for a reader; `NotAvailableError` when it is no longer in Redis.

        Errors of Redis are left as they are: a reader tries again.
        """
        self.find(key)
        return self._connected().load_scan(key)

    # --- its thread -----------------------------------------------------------------------------------------------

    def _connected(self) -> DataStore:
        if self._store is None:
            self._store = DataStore(_with_time_limits(self._url))
        return self._store

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - also a Redis that has just begun, and knows no scans yet
                self._troubled(f"Redis at {self._url} does not answer ({error}); it is tried again")
                self._store, self._search_due = None, 0.0
                pause = TROUBLE_S
            else:
                self._troubled("")
                pause = 0.0

    def _troubled(self, text: str) -> None:
        if text and not self.trouble:
            _log.warning("%s", text)
        self.trouble = text

    def _look(self) -> None:
        """Wait a moment for a new scan; then bring the list up to date."""
        store = self._connected()
        search = self._new_scan(store) or time.monotonic() >= self._search_due
        if search:
            wanted = {} if self._session is None else {"session": self._session}
            self._since, keys = store.search_existing_scans(**wanted)
            self._keys = sorted(keys, reverse=True)[:MOST_SCANS]  # keys begin with the time
            self._search_due = time.monotonic() + SEARCH_S
        known = {scan.key: scan for scan in self._summaries}
        fresh = []
        for place, key in enumerate(self._keys):
            summary = known.get(key)
            if summary is None or (key in self._scans and (search or place < _RECENT)):
                summary = self._read(store, key)
            if summary is not None:
                fresh.append(summary)
        # what a closed scan says is final
        going = {key: scan for key, scan in self._scans.items() if scan.state < RedisState.CLOSED}
        self._scans = {key: going[key] for key in self._keys if key in going}
        if tuple(fresh) != self._summaries:
            with self._changed:
                self._summaries = tuple(fresh)
                self.revision += 1
                self._changed.notify_all()

    def _new_scan(self, store: DataStore) -> bool:
        """Whether there is a scan that the last search has not seen; waits for one, but not before the first search."""
        if not self._search_due:
            return False
        running = any(scan.key in self._scans for scan in self._summaries[:_RECENT])
        try:
            store.get_next_scan(since=self._since, timeout=LOOK_S if running else IDLE_S)
        except NoScanAvailable:
            return False
        return True

    def _read(self, store: DataStore, key: str) -> ScanSummary | None:
        """A scan as it is now; None when it goes while it is read."""
        try:
            scan = self._scans.get(key)
            if scan is None:
                scan = self._scans[key] = store.load_scan(key)
            else:
                scan.update(block=False)
            return summary_of(scan)
        except redis.RedisError:
            raise
        except Exception as error:  # noqa: BLE001 - blissdata has errors of its own for each of the ways to go
            _log.debug("scan %s cannot be read: %s", key, error)
            self._scans.pop(key, None)
            return None
