"""The catalogue page in a real browser: what it shows is what the store says, at any width, in both colours, by keyboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="needs selenium: pip install selenium")

from selenium.webdriver.common.keys import Keys

import e2i_fs as fs
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.parity import Parity
from e2i_fs.failover.table import ROUTING
from e2i_fs.page.collect import collect
from e2i_fs.page.export import write_page
from e2i_fs.page.html import page
from e2i_fs.testing import memory_store
from tests.browsing import Browser, browser, served_page
from tests.page_world import VIEW, World, e2i_world

DAYS = 3
T0 = datetime(2024, 1, 1, tzinfo=UTC)
SECTIONS = ("views", "lineage", "answering", "events", "jobs")
SAID = {"FRESH": "Fresh", "WARNING": "Warning", "STALE": "Stale", "EXPIRED": "Expired", "UNKNOWN": "Unknown"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return e2i_world(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def store(world: World) -> Iterator[Any]:
    with world.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def exported(world: World, store: Any) -> str:
    made = collect(store, project="e2i", days=DAYS, clock=world.clock, statistics=True)
    return write_page(world.folder / "exported", page(made)).as_uri()


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def written(folder: Path, store: Any, **more: Any) -> str:
    """Return the address of a page written of a store."""
    return write_page(folder / "written", page(collect(store, **more))).as_uri()


# ---- what it shows is what the store says ----------------------------------------------------------------------


@pytest.mark.rule("F-1", "F-2")
def test_each_view_is_shown_with_the_freshness_that_the_store_tells(tab: Browser, exported: str, store: Any) -> None:
    tab.look()
    tab.open(exported)
    told = store.freshness()
    rows = {
        name: (status, shown.strip(), age)
        for name, status, shown, age in tab.do(
            "return [...document.querySelectorAll('#views li.row')].map((r) => [r.dataset.view, r.dataset.status, "
            "r.querySelector('.badge').innerText, r.querySelector('.c-age').innerText])"
        )
    }
    assert rows.keys() == told.keys() == {v.name for v in store.list_feature_views()}
    assert {n: (status, shown) for n, (status, shown, _) in rows.items()} == {
        n: (r.status.value, SAID[r.status.value]) for n, r in told.items()
    }
    assert len({r.status for r in told.values()}) > 1
    numbers = tab.texts(".tile .number")
    assert numbers[0] == str(len(told))
    assert numbers[1] == f"{sum(r.status.value == 'FRESH' for r in told.values())} fresh"


@pytest.mark.rule("F-3")
def test_the_age_over_time_has_a_point_for_each_check_that_was_kept(tab: Browser, exported: str, store: Any) -> None:
    tab.look()
    tab.open(f"{exported}#view/{VIEW}")
    kept = store.freshness_history(VIEW, days=DAYS)
    points = tab.do("return document.querySelector('#detail .age-chart').dataset.points")
    assert int(points) == len(kept) + 1  # and now
    late = sum(r.status.value in ("STALE", "EXPIRED") for r in [*kept, store.freshness([VIEW])[VIEW]])
    assert f"over its limit of 12 h at {late}" in tab.do("return document.getElementById('detail').innerText")
    assert late > 0


def test_lineage_leads_from_every_source_to_every_service(tab: Browser, exported: str, store: Any) -> None:
    tab.look()
    tab.open(exported)
    nodes = set(tab.do("return [...document.querySelectorAll('.graph [data-node]')].map((n) => n.dataset.node)"))
    catalog = store.catalog()
    assert {n.partition("/")[2] for n in nodes if n.startswith("view/")} == set(catalog.views)
    assert {n.partition("/")[2] for n in nodes if n.startswith("service/")} == set(catalog.services)
    assert {n.partition("/")[2] for n in nodes if n.startswith("on-demand/")} == set(catalog.on_demand)
    edges = {
        tuple(e)
        for e in tab.do("return [...document.querySelectorAll('.edge')].map((e) => [e.dataset.from, e.dataset.to])")
    }
    for name, service in catalog.services.items():
        for ref in service.refs:
            view = ref.partition(":")[0]
            assert (f"{'view' if view in catalog.views else 'on-demand'}/{view}", f"service/{name}") in edges
    sources = {n for n in nodes if n.startswith("source/")}
    assert {a for a, _ in edges if a.startswith("source/")} == sources
    assert {b for a, b in edges if a in sources} >= {f"view/{name}" for name in catalog.views}


@pytest.mark.rule("X-1")
def test_who_may_answer_is_what_the_routing_table_says_of_their_health(tab: Browser, exported: str, store: Any) -> None:
    tab.look()
    tab.open(exported)
    shown = tab.do(
        "return Object.fromEntries([...document.querySelectorAll('.matrix tbody tr')].map((r) => "
        "[r.querySelector('th').innerText.trim(), [...r.querySelectorAll('td')].map((c) => c.dataset.may)]))"
    )
    health = store.health()
    expected = {
        view: [ROUTING[Liveness(b.liveness), Parity(b.parity[view])].value for b in health]
        for view in store.catalog().views
    }
    assert shown == expected
    assert expected[VIEW] == ["answers", "degraded"]
    table = tab.do(
        "return [...document.querySelectorAll('.routing tbody tr')].map((r) => [...r.querySelectorAll('td')].map((c) => c.dataset.verdict))"
    )
    assert table == [[ROUTING[live, held].value for held in Parity] for live in Liveness]
    here = Counter(str(b.parity[view]) for b in health for view in expected)
    counted = tab.do(
        "return [...document.querySelectorAll('.routing tbody tr:first-child td')].map((c) => +(c.querySelector('.n') || {innerText: 0}).innerText)"
    )
    assert counted == [here[str(held)] for held in Parity]


def test_failovers_that_happened_are_counted_and_told(tab: Browser, exported: str, store: Any) -> None:
    tab.look()
    tab.open(exported)
    over = store.events(days=DAYS, kinds=["FailedOver"])
    assert int(tab.texts(".tile .number")[3]) == sum(e.count for e in over) >= 8
    for _ in range(3):  # until nothing is left to open
        tab.do("document.querySelectorAll('#events .more').forEach((b) => b.click())")
    shown: Counter[str] = Counter()
    for kind, times in tab.do(
        "return [...document.querySelectorAll('[data-event]')].map((e) => [e.dataset.event, +e.dataset.count])"
    ):
        shown[kind] += times
    kept = [e for e in store.events(days=DAYS) if e.kind not in ("JobEnded", "Stale")]
    expected: Counter[str] = Counter()
    for event in kept:
        expected[event.kind] += event.count
    assert shown == expected
    assert expected["BreakerMoved"] > 0
    lanes = tab.do(
        "return [...document.querySelectorAll('#events .lane-track')].map((l) => l.getAttribute('aria-label'))"
    )
    assert any("primary" in text and "open from" in text for text in lanes)


@pytest.mark.rule("W-4")
def test_every_job_that_was_recorded_stands_in_its_lane_and_in_the_list(
    tab: Browser, exported: str, store: Any
) -> None:
    tab.look()
    tab.open(exported)
    jobs = store.jobs().history(days=DAYS)
    tab.do("document.querySelector('#jobs .more').click()")
    listed = Counter(
        tuple(j)
        for j in tab.do(
            "return [...document.querySelectorAll('[data-job]')].map((j) => [j.dataset.job, j.dataset.outcome])"
        )
    )
    assert listed == Counter((j.view, j.outcome) for j in jobs)
    assert tab.do("return document.querySelectorAll('#jobs .lane-track .job').length") == len(jobs) > 0


def test_a_view_in_detail_has_its_fields_labels_and_distributions(tab: Browser, exported: str, store: Any) -> None:
    name = "patient_journey_features"
    tab.look()
    tab.open(f"{exported}#view/{name}")
    view = store.get_feature_view(name)
    fields = tab.do(
        "return [...document.querySelectorAll('[data-field]')].map((f) => [f.dataset.field, f.dataset.role, f.querySelector('.dtype').innerText])"
    )
    assert fields == [[f.name, f.role, repr(f.dtype)] for f in view.schema]
    assert tab.texts('[data-field="is_churned"] .role') == ["label"]
    for where in ("offline", "online"):
        told = store.view_statistics(name, where=where)
        bins = tab.do(
            "return Object.fromEntries([...document.querySelectorAll(`[data-side=${arguments[0]}] .histogram`)]"
            ".map((g) => [g.closest('[data-field]').dataset.field, g.querySelectorAll('rect').length]))", where,
        )  # fmt: skip
        assert bins
        assert bins == {n: len(told[n].histogram) for n in bins}
        text = tab.do(
            "return document.querySelector(`[data-field=days_on_therapy] [data-side=${arguments[0]}]`).innerText", where
        )
        assert f"{told['days_on_therapy'].rows:,} rows" in text
    assert tab.do("return document.querySelectorAll('[data-field=is_churned] .values li').length") > 0


# ---- it asks nobody, says nothing in the console, and fits -----------------------------------------------------


def test_a_written_page_asks_nothing_of_anybody_and_its_console_is_empty(tab: Browser, exported: str) -> None:
    tab.look()
    tab.open(exported)
    for route in (
        f"#view/{VIEW}",
        "#service/roi_prediction",
        "#on-demand/hcp_request_features",
        "#entity/hcp",
        "#jobs",
    ):
        tab.do("location.hash = arguments[0]", route)
    assert tab.problems() == []
    assert {url for url in tab.asked() if not url.startswith("data:")} == {exported}
    assert tab.do("return document.querySelectorAll('#pause, #refresh').length") == 0


def test_a_served_page_asks_its_own_server_only_and_shows_a_new_row_when_it_looks_again(
    tab: Browser, world: World, store: Any
) -> None:
    from e2i_fs.page.app import Shop

    with served_page(Shop(store, "e2i", DAYS, clock=world.clock, keep=0)) as address:
        tab.look()
        tab.open(f"{address}/#view/{VIEW}")
        assert tab.until("return document.querySelectorAll('#detail .histogram').length") > 0
        assert tab.problems() == []
        assert {url.partition("?")[0] for url in tab.asked() if not url.startswith("data:")} == {
            f"{address}/", f"{address}/document.json", f"{address}/statistics.json",
        }  # fmt: skip
        before = tab.do("return document.querySelector('#as-of').innerText")
        world.clock.advance(timedelta(hours=1))
        tab.do("document.getElementById('refresh').click()")
        tab.until("return document.querySelector('#as-of').innerText !== " + repr(before))
        assert tab.problems() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_is_wider_than_the_window_and_every_word_can_be_read(
    tab: Browser, exported: str, width: int, scheme: str
) -> None:
    tab.look(width, scheme=scheme)
    for route in (
        "",
        "#view/trigger_effectiveness_features",
        "#service/hcp_conversion",
        "#on-demand/hcp_request_features",
    ):
        tab.open(exported + route)
        assert tab.do("return document.documentElement.scrollWidth") <= width
        assert tab.do(WIDER, width) == []
        assert tab.do(FAINT) == []
    for section in SECTIONS:
        assert tab.do("return document.getElementById(arguments[0]).innerText.length", section) > 100


WIDER = """
return [...document.querySelectorAll("#page *")].filter((e) => e.checkVisibility() && !e.closest("pre, .lane-track, .unseen, svg") &&
  e.getBoundingClientRect().right > arguments[0] + 0.5).map((e) => e.className + ": " + e.innerText).slice(0, 5);
"""
# Contrast by WCAG 2 of each element that has text of its own, against the grounds it stands on, painted one over the other.
FAINT = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
canvas.canvas.width = canvas.canvas.height = 1;
const painted = (colours) => {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
for (const element of document.querySelectorAll("#page *")) {
  if (!element.checkVisibility() || element.closest(".unseen, [inert], .graph.dimmed, option")) continue;
  if (![...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  const grounds = [];
  for (let e = element; e; e = e.parentElement) grounds.unshift(getComputedStyle(e).backgroundColor);
  if (element.closest(".graph .node")) grounds.push(getComputedStyle(element.closest(".node").querySelector("rect")).fill);
  const style = getComputedStyle(element);
  const ink = element instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [light(painted(grounds)), light(painted([...grounds, ink]))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.getAttribute("class")}: ${element.textContent.slice(0, 40)}`);
}
return found.slice(0, 8);
"""


# ---- by keyboard -----------------------------------------------------------------------------------------------


def test_it_can_be_walked_by_keyboard_alone(tab: Browser, exported: str) -> None:
    tab.look()
    tab.open(exported)
    tab.keys("/")
    assert tab.focused() == "find"
    tab.keys("churn")
    tab.until("return document.querySelectorAll('#views li.row').length === 2")
    assert tab.do("return document.getElementById('said').innerText") == "2 of 9 views"
    tab.keys(Keys.ENTER)
    first = tab.focused()
    tab.keys(Keys.ARROW_DOWN)
    second = tab.focused()
    assert first != second
    assert {first, second} == {"row patient_journey_features", "row patient_adherence_features"}
    tab.keys(Keys.ENTER)
    tab.until("return document.querySelector('.body.open')")
    assert tab.focused() == "detail-title"
    assert tab.do("return decodeURIComponent(location.hash)") == f"#view/{second.removeprefix('row ')}"
    tab.keys(Keys.ESCAPE)
    tab.until("return !document.querySelector('.body.open')")
    assert tab.focused() == second
    assert tab.do("return location.hash") == ""
    tab.keys("/", Keys.ESCAPE)
    tab.until("return document.querySelectorAll('#views li.row').length === 9")


def test_tab_goes_through_the_whole_page_with_a_focus_that_is_seen_and_one_stop_for_a_list(
    tab: Browser, exported: str
) -> None:
    tab.look()
    tab.open(exported)
    seen: list[str] = []
    for _ in range(80):
        tab.keys(Keys.TAB)
        where, outline = tab.do(
            "const a = document.activeElement; if (a === document.body) return ['BODY', '2px']; const s = getComputedStyle(a.closest('a.node') ? a.querySelector('rect') : a);"
            "return [a.dataset.key || a.id || a.getAttribute('class') || a.tagName, a.closest('a.node') ? s.strokeWidth : s.outlineWidth + s.outlineStyle]"
        )
        if where == "BODY" and seen:
            break
        assert outline.startswith(("2px", "3px")) and "none" not in outline, (where, outline)
        seen.append(where)
    assert seen[0] == "skip"
    assert {"find", "theme", "sort"} <= set(seen)
    assert sum(key.startswith("row ") for key in seen) == 1
    assert sum(key.startswith("node ") for key in seen) == 1


def test_arrows_follow_the_lineage_and_what_belongs_together_is_lit(tab: Browser, exported: str) -> None:
    tab.look()
    tab.open(exported)
    tab.do("document.querySelector('.graph [data-node=\"view/patient_journey_features\"]').focus()")
    lit = set(tab.do("return [...document.querySelectorAll('.graph .lit[data-node]')].map((n) => n.dataset.node)"))
    assert "service/churn_prediction" in lit and len(lit) == 3
    tab.keys(Keys.ARROW_RIGHT)
    assert tab.focused() == "node service/churn_prediction"
    tab.keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert tab.focused().startswith("node source/parquet:patient_journeys")
    tab.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    tab.until("return document.querySelector('.body.open')")


def test_on_a_narrow_window_the_detail_covers_the_page_which_cannot_be_reached_behind_it(
    tab: Browser, exported: str
) -> None:
    tab.look(360, 740)
    tab.open(f"{exported}#view/{VIEW}")
    assert tab.do("return document.querySelector('main').inert")
    assert tab.do("return document.getElementById('detail').getBoundingClientRect().width") == 360
    tab.keys(Keys.ESCAPE)
    tab.until("return !document.querySelector('main').inert")
    assert len(tab.texts(".lineage-list > li")) == 9
    assert not tab.do("return document.querySelector('.graph-box').checkVisibility()")


def test_the_colours_can_be_turned_by_hand_and_stay_so(tab: Browser, exported: str) -> None:
    tab.look(scheme="light")
    tab.open(exported)
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = tab.do(ground)
    tab.do("document.getElementById('theme').focus()")
    tab.keys(Keys.ENTER)
    dark = tab.do(ground)
    assert light != dark
    tab.open(exported)
    assert tab.do(ground) == dark
    tab.do("localStorage.clear()")


# ---- what is bad, big or away ----------------------------------------------------------------------------------

EVIL = "<img src=x onerror=window.pwned=1>"
SCRIPT = "</script><script>window.pwned=1</script><!--"


def test_markup_in_names_descriptions_tags_and_values_stays_text(tab: Browser, tmp_path: Path) -> None:
    about = {"description": SCRIPT, "owner": EVIL, "tags": {EVIL: SCRIPT, "__proto__": "x"}}
    view = fs.FeatureView(
        EVIL, entities=[fs.Entity(f"e{EVIL}")], schema=[fs.Field(f"f{EVIL}", fs.String, description=SCRIPT)], **about
    )
    plain = fs.FeatureView("__proto__", entities=[fs.Entity("constructor")], schema=[fs.Field("toString", fs.String)])
    service = fs.FeatureService(f"s{EVIL}", features=[f"{EVIL}:f{EVIL}"], **about)
    with memory_store(view, plain, service) as store:
        store.write(EVIL, [{f"e{EVIL}": str(n), "event_timestamp": T0, f"f{EVIL}": SCRIPT} for n in range(3)])
        url = written(tmp_path, store, project=SCRIPT, statistics=True)
    tab.look()
    for kind, name in (
        ("view", EVIL),
        ("view", "__proto__"),
        ("service", f"s{EVIL}"),
        ("entity", f"e{EVIL}"),
        ("view", SCRIPT),
    ):
        tab.open(f"{url}#{kind}/{tab.do('return encodeURIComponent(arguments[0])', name)}")
        assert tab.do("return document.getElementById('detail-title').innerText") == name
    tab.open(f"{url}#view/{tab.do('return encodeURIComponent(arguments[0])', EVIL)}")
    shown = tab.do("return document.getElementById('detail').innerText")
    assert shown.count(SCRIPT) >= 3
    assert SCRIPT in tab.texts("#detail .value")
    assert tab.do("return [document.images.length, document.scripts.length, window.pwned || null]") == [0, 2, None]
    assert tab.problems() == []


def test_what_cannot_be_had_is_said_in_its_place_and_the_rest_is_there(tab: Browser, world: World) -> None:
    world.away("standby")
    try:
        with world.open() as store:
            url = written(world.folder / "half", store, project="e2i", days=DAYS, clock=world.clock)
    finally:
        world.back("standby")
    tab.look()
    tab.open(url)
    assert tab.texts(".tile .number")[2] == "1 of 2 up"
    assert any("standby" in text for text in tab.texts("#answering .notice"))
    assert set(tab.do("return [...document.querySelectorAll('.matrix td:last-child')].map((c) => c.dataset.may)")) == {
        "never"
    }
    assert len(tab.texts("#views li.row")) == 9
    assert tab.problems() == []


def test_when_nothing_can_be_had_the_served_page_says_why(tab: Browser, store: Any) -> None:
    from e2i_fs.page.app import Shop

    with memory_store() as closed:
        pass
    with served_page(Shop(closed)) as address:
        tab.look()
        tab.open(f"{address}/")
        assert "This store is closed" in tab.do("return document.body.innerText")
        assert "Try again" in tab.do("return document.body.innerText")


def test_an_empty_store_is_a_page_that_says_what_to_do(tab: Browser, tmp_path: Path) -> None:
    with memory_store() as store:
        url = written(tmp_path, store)
    tab.look()
    tab.open(url)
    assert "e2i-fs apply" in tab.do("return document.getElementById('views').innerText")
    assert tab.problems() == []


def test_two_hundred_views_are_drawn_at_once_and_found_by_typing(tab: Browser, tmp_path: Path) -> None:
    entity = fs.Entity("e")
    views = [
        fs.FeatureView(f"view_{n:03}", entities=[entity], schema=[fs.Field(f"f{n}_{i}", fs.Int64) for i in range(8)], tags={"team": f"t{n % 9}"})
        for n in range(200)
    ]  # fmt: skip
    services = [fs.FeatureService(f"s{n}", features=[f"view_{m:03}:*" for m in range(n, 200, 20)]) for n in range(20)]
    with memory_store(*views, *services) as store:
        url = written(tmp_path, store)
    tab.look()
    tab.open(url)
    assert len(tab.do("return [...document.querySelectorAll('#views li.row')].map((r) => r.dataset.view)")) == 200
    drawn = tab.do("const begun = performance.now(); document.getElementById('find').value = 'f117_3';"
                   "document.getElementById('find').dispatchEvent(new Event('input')); return begun")  # fmt: skip
    assert (
        tab.until("return document.querySelectorAll('#views li.row').length === 1 && performance.now()") - drawn < 3000
    )
    assert tab.do("return document.querySelectorAll('.graph [data-node]').length") == 1 + 1 + 1
    tab.look(360)
    tab.open(url)
    assert tab.do("return document.documentElement.scrollWidth") <= 360
