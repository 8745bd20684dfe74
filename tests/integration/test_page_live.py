"""The served catalogue page looks again by itself, in a real browser: what it tells, what it leaves alone, and when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="needs selenium: pip install selenium")

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.browsing import Browser, browser, served_page
from tests.kit import NOW, view

HOUR = timedelta(hours=1)

# Time in the page is the test's: what waits a second or more waits in `later` until `due` is called.
CLOCK = """
window.later = new Map();
const [wait, forget] = [window.setTimeout, window.clearTimeout];
let last = 1e9;
window.setTimeout = (act, ms, ...more) => (ms < 1000 ? wait(act, ms, ...more) : (later.set(last += 1, [act, ms]), last));
window.clearTimeout = (id) => { if (!later.delete(id)) forget(id); };
window.due = () => { const [[id, [act]]] = later; later.delete(id); act(); };
Object.defineProperty(document, "hidden", { get: () => window.unseen === true });
window.asked = [];
const ask = window.fetch;
window.fetch = (path) => { asked.push(String(path).split("?")[0]); return ask(path); };
"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as opened:
        opened.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": CLOCK})
        yield opened


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Any]:
    """Two backends with one view, the primary of which breaks when told."""
    backends = [
        {"name": "primary", "backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "primary")},
        {"name": "standby", "backend": "duckdb", "path": str(tmp_path / "standby")},
    ]
    settings = {"backends": backends, "failover": {"shadow_rate": 0, "background": False, "deadline": 10}}
    with fs.connect(settings, clock=clock, plugins=[BreakablePlugin()]) as opened:
        opened.apply([view(tmp_path, [("a", NOW - HOUR, 1)], max_staleness=2 * HOUR)])
        opened.materialize(None, NOW)
        yield opened


@pytest.fixture
def address(tab: Browser, store: Any, clock: FakeClock) -> Iterator[str]:
    from e2i_fs.page.app import Shop

    with served_page(Shop(store, "e2i", 1.0, clock=clock, keep=0)) as address:
        tab.look(height=700)
        tab.open(f"{address}/")
        yield address
        tab.do("localStorage.clear()")
        assert tab.do("later.clear(); return document.images.length") == 0  # nothing of it asks a server that has ended


def fail_over(store: Any, clock: FakeClock, minutes: int) -> None:
    """Have the standby answer once a minute, for different reasons, so that each is a row of its own."""
    for _ in range(minutes):
        store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "a"}])
        clock.advance(timedelta(minutes=1))


def as_of(tab: Browser) -> str:
    return str(tab.do("return document.getElementById('as-of').innerText"))


def look(tab: Browser) -> None:
    """Let the time of the next look come, and wait until the page has been drawn anew."""
    before = as_of(tab)
    tab.do("due()")
    tab.until(f"return document.getElementById('as-of').innerText !== {before!r}")


def waiting(tab: Browser) -> list[float]:
    """Return how long what waits is to wait, in seconds."""
    return [ms / 1000 for _, ms in tab.do("return [...later.values()].map(([, ms]) => [0, ms])")]


@pytest.mark.rule("F-2")
def test_a_page_that_is_watched_shows_and_tells_what_happened_without_being_asked(
    tab: Browser, address: str, store: Any, clock: FakeClock
) -> None:
    assert waiting(tab) and waiting(tab)[0] >= 15
    assert tab.texts("#views .badge") == ["Fresh"]
    clock.advance(5 * HOUR)
    OPENED["primary"].break_("online_read", "ping")
    fail_over(store, clock, 2)
    look(tab)
    assert tab.texts("#views .badge") == ["Expired"]
    said = tab.do("return document.getElementById('said').innerText")
    assert said == "hcp_stats: expired; primary is down; 2 more answers by another backend."
    assert as_of(tab).removeprefix("as of ").removesuffix(" UTC") in f"{clock.now():%-d %b %H:%M:%S}"
    assert f"{clock.now():%Y-%m-%d %H:%M:%S} UTC" in tab.do("return document.getElementById('foot').innerText")
    look_again = waiting(tab)
    assert len(look_again) == 1 and look_again[0] >= 15
    clock.advance(timedelta(minutes=1))
    tab.do("document.getElementById('said').textContent = ''")
    look(tab)
    assert tab.do("return document.getElementById('said').innerText") == ""  # nothing moved: nobody is interrupted
    assert tab.problems() == []


def test_looking_again_leaves_focus_filters_distributions_and_what_is_being_read_where_they_are(
    tab: Browser, address: str, store: Any, clock: FakeClock
) -> None:
    OPENED["primary"].break_("online_read")
    fail_over(store, clock, 6)
    tab.open(f"{address}/?again#view/hcp_stats")
    tab.until("return document.querySelectorAll('#detail .share').length")
    tab.do(
        "document.getElementById('find').value = 'hcp'; document.getElementById('find').dispatchEvent(new Event('input'))"
    )
    tab.do("document.querySelector('.matrix a').focus({preventScroll: true})")
    tab.do("document.querySelectorAll('[data-event]')[3].scrollIntoView({block: 'center', behavior: 'instant'});"
           "document.getElementById('detail').scrollTo({top: 80, behavior: 'instant'})")  # fmt: skip
    reads = "const row = [...document.querySelectorAll('[data-event]')].find((r) => r.dataset.stay === arguments[0]); return row.getBoundingClientRect().top"
    row = tab.do("return document.querySelectorAll('[data-event]')[3].dataset.stay")
    before = tab.do(reads, row)
    first = tab.do("return document.querySelector('[data-event]').dataset.stay")
    fail_over(store, clock, 2)
    look(tab)
    assert tab.do("return document.querySelector('[data-event]').dataset.stay") != first
    assert tab.do(reads, row) == pytest.approx(before, abs=1)
    assert tab.do("const a = document.activeElement; return [a.tagName, a.innerText, Boolean(a.closest('.matrix'))]") == [
        "A", "hcp_stats", True,
    ]  # fmt: skip
    assert tab.do("return [document.getElementById('find').value, document.getElementById('detail').scrollTop]") == [
        "hcp", 80,
    ]  # fmt: skip
    assert tab.do("return document.querySelectorAll('#detail .share').length") > 0
    assert tab.do("return asked") == ["document.json", "statistics.json", "document.json"]


def test_it_can_be_paused_by_keyboard_and_stays_so(tab: Browser, address: str, clock: FakeClock) -> None:
    tab.do("document.getElementById('pause').focus()")
    tab.keys(Keys.ENTER)
    assert waiting(tab) == []
    assert as_of(tab).startswith("paused, as of")
    tab.open(f"{address}/?anew")
    assert waiting(tab) == [] and as_of(tab).startswith("paused")
    clock.advance(HOUR)
    tab.do("dispatchEvent(new Event('focus'))")
    assert tab.do("return asked") == ["document.json"]
    tab.do("document.getElementById('pause').focus()")
    tab.keys(Keys.ENTER)
    assert len(waiting(tab)) == 1
    assert tab.do("return document.getElementById('pause').getAttribute('aria-label')").startswith("Pause")


def test_nobody_is_asked_while_the_page_is_not_seen_and_at_once_when_somebody_comes_back(
    tab: Browser, address: str, clock: FakeClock
) -> None:
    before = as_of(tab)
    tab.do("unseen = true; document.dispatchEvent(new Event('visibilitychange'))")
    assert waiting(tab) == []
    clock.advance(HOUR)
    tab.do("const real = performance.now; performance.now = () => real.call(performance) + 3600e3;"
           "unseen = false; document.dispatchEvent(new Event('visibilitychange'))")  # fmt: skip
    tab.until(f"return document.getElementById('as-of').innerText !== {before!r}")


def test_nothing_is_drawn_anew_under_a_press_or_a_selection(tab: Browser, address: str, clock: FakeClock) -> None:
    before = as_of(tab)
    clock.advance(HOUR)
    row = tab.driver.find_element(By.CSS_SELECTOR, "#views li.row")
    ActionChains(tab.driver, duration=0).move_to_element(row).click_and_hold().perform()
    tab.do("due()")
    assert waiting(tab) == [1.0]
    ActionChains(tab.driver, duration=0).release().perform()
    tab.keys(Keys.ESCAPE)
    tab.do("getSelection().selectAllChildren(document.getElementById('views-title'))")
    tab.do("due()")
    assert waiting(tab) == [1.0] and as_of(tab) == before
    tab.do("getSelection().empty()")
    tab.do("""
        const ask = window.fetch;
        window.fetch = (path) => ask(path).then((answer) => { getSelection().selectAllChildren(document.getElementById('views-title')); return answer; });
        due();
    """)
    tab.until("return later.size")
    assert as_of(tab) == before  # it began while the answer was on its way
    tab.do("getSelection().empty(); window.fetch = () => Promise.reject(new Error()); due()")
    tab.until("return document.getElementById('trouble').innerText")


def test_a_store_that_cannot_be_asked_is_told_once_and_asked_again(tab: Browser, store: Any, clock: FakeClock) -> None:
    from e2i_fs.page.app import Shop

    with served_page(Shop(store, "e2i", 1.0, clock=clock, keep=0)) as address:
        tab.open(f"{address}/")
    tab.do("due()")
    told = tab.until("return document.getElementById('trouble').innerText")
    assert "does not answer" in told and f"as of {clock.now():%Y-%m-%d %H:%M:%S} UTC" in told
    assert tab.texts("#views .badge") == ["Fresh"]
    tab.until("return later.size")
    tab.do("document.getElementById('said').textContent = ''; due()")
    tab.until("return later.size")
    assert tab.do("return document.getElementById('said').innerText") == ""
    assert all("ERR_CONNECTION_REFUSED" in problem for problem in tab.problems())
