"""Alerts on their way, in a thread of their own: nothing that fails here reaches whoever caused the event (G-5)."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections import OrderedDict, deque
from dataclasses import replace

from e2i_fs.alerts.alert import Alert, alert_of
from e2i_fs.alerts.repeats import Repeats
from e2i_fs.alerts.settings import AlertsConfig
from e2i_fs.alerts.webhook import Webhook, document
from e2i_fs.clock import Clock, to_us
from e2i_fs.errors import BackendError
from e2i_fs.forks import renew_after_fork
from e2i_fs.ops.records import Records
from e2i_fs.pool import DaemonPool
from e2i_fs.telemetry.events import Event

__all__ = ["Alerts"]

_log = logging.getLogger("e2i_fs.alerts")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}
_MOST = 1_000
_FIRST, _SLOWEST = 1.0, 60.0
_PACE = 0.1
_LOOK = 60.0
_LAST = 5.0


class Alerts:
    """Tells events that alert, to the log and a webhook, by ``settings``.

    Of the same thing only the latest waits to be judged. What a webhook does not take waits, at most 1,000 alerts (the
    oldest are dropped, and counted), and is tried again after ``first`` seconds and then ever more slowly. `close` waits
    ``last`` seconds for what is left; what nobody was told then, the next process tells when it happens again.
    """

    def __init__(
        self,
        settings: AlertsConfig,
        project: str,
        records: Records,
        clock: Clock,
        *,
        first: float = _FIRST,
        last: float = _LAST,
    ) -> None:
        self._settings = settings
        self._project = project
        self._records = records
        self._clock = clock
        self._first = first
        self._last = last
        self._webhook = None if settings.webhook is None else Webhook(settings.webhook, project)
        self._pool = DaemonPool("e2i_fs alerts", 1)
        self._end = threading.Event()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """In a forked child: the parent tells what it has."""
        self._lock = threading.Lock()
        self._news = threading.Event()
        if self._end.is_set():
            return
        self._end = threading.Event()
        self._inbox: OrderedDict[str, Alert] = OrderedDict()
        self._outbox: deque[Alert] = deque()
        self._repeats = Repeats(self._records, round(self._settings.repeat_minutes * 60_000_000))
        self._running: concurrent.futures.Future[None] | None = None
        self._dropped = 0
        self._delay = 0.0
        self._next_try = 0.0

    def notice(self, event: Event) -> None:
        """Take an event that alerts, for the thread."""
        alert = alert_of(event)
        if alert is None:
            return
        with self._lock:
            if self._end.is_set():
                return
            before = self._inbox.pop(alert.key, None)
            if before is not None and before.status == alert.status:
                alert = replace(alert, repeats=before.repeats + 1)
            self._inbox[alert.key] = alert
            if len(self._inbox) > _MOST:
                self._inbox.popitem(last=False)
                self._dropped += 1
            if self._running is None:
                self._running = self._pool.submit(self._work)
        self._news.set()

    def flush(self) -> bool:
        """Alerts go in their own time; nothing waits for them."""
        return True

    def _work(self) -> None:
        while not self._end.is_set():
            self._news.wait(self._idle())
            self._news.clear()
            try:
                self._judge()
                self._deliver()
            except Exception:  # a defect of ours: it is told, and later alerts are delivered
                _log.exception("Telling an alert failed")
            self._end.wait(_PACE)  # a storm of events is judged a few times a second
        self._judge()
        self._deliver()

    def _idle(self) -> float | None:
        """Return for how long there is nothing to do unless something happens, in seconds; None for ever."""
        if self._outbox:
            return max(0.0, self._next_try - time.monotonic())
        due = self._repeats.next_due
        return None if due is None else min(_LOOK, max(0.0, (due - to_us(self._clock.now())) / 1e6))

    def _judge(self) -> None:
        """Put what is to be told now into the log and the outbox."""
        with self._lock:
            alerts, self._inbox = list(self._inbox.values()), OrderedDict()
            dropped, self._dropped = self._dropped, 0
        now = to_us(self._clock.now())
        told = [alert for one in alerts if (alert := self._repeats.judged(one, now)) is not None]
        for alert in (*self._repeats.due(now), *told):
            if self._settings.log:
                said = document(alert, self._project, "json")
                _log.log(_LEVELS[alert.severity], "%s", alert.text, extra={"alert": said})
            if self._webhook is not None and self._webhook.wants(alert):
                with self._lock:
                    self._outbox.append(alert)
                    oldest = self._outbox.popleft() if len(self._outbox) > _MOST else None
                if oldest is not None:
                    self._untold(oldest)
                    dropped += 1
        if dropped:
            _log.error("%d alerts were dropped, the oldest: more of them wait than can be delivered.", dropped)

    def _deliver(self) -> None:
        """Send what is in the outbox, in order, until it is empty or the webhook does not take it for now."""
        if self._webhook is None or (time.monotonic() < self._next_try and not self._end.is_set()):
            return
        while self._outbox:
            refused = self._webhook.send(self._outbox[0])
            if refused is not None and refused.may_later:
                if not self._delay:
                    _log.warning(
                        "The webhook at %s takes no alerts: %s. They wait, and are tried again.",
                        self._webhook.name,
                        refused.why,
                    )
                self._delay = min(2 * self._delay or self._first, _SLOWEST)
                self._next_try = time.monotonic() + self._delay
                return
            with self._lock:
                self._outbox.popleft()
            if refused is not None:
                _log.error("The webhook at %s refused an alert for good: %s.", self._webhook.name, refused.why)
            elif self._delay:
                self._delay = self._next_try = 0.0
                _log.warning("The webhook at %s takes alerts again.", self._webhook.name)

    def _untold(self, alert: Alert) -> None:
        try:
            self._repeats.take_back(alert)
        except BackendError as error:
            _log.warning("That an alert was not delivered could not be noted: %s", error)

    def close(self) -> None:
        """Tell what is left, within the limit. What could not be delivered is counted in the log."""
        with self._lock:
            if self._end.is_set():
                return
            self._end.set()
        self._news.set()
        if self._running is not None:
            concurrent.futures.wait([self._running], self._last)
        with self._lock:
            left = [*self._outbox, *self._inbox.values()]
        for alert in left:
            self._untold(alert)
        if left:
            _log.error("The store was closed with %d alerts not delivered.", len(left))
        self._pool.close()
