// By keyboard alone: / finds, arrows move in a list, Enter opens, Escape closes.

/** Of a list only one link is in the order of Tab; arrows, Home and End move between them. */
function rove(place) {
  for (const list of place.querySelectorAll("[data-roving]")) {
    const items = [...list.querySelectorAll("[data-item]")];
    const first = items.find((item) => item === document.activeElement) || items.find((item) => item.hasAttribute("aria-current")) || items[0];
    for (const item of items) item.tabIndex = item === first ? 0 : -1;
  }
}

function moveIn(event) {
  const list = event.target.closest && event.target.closest("[data-roving]");
  if (!list || !event.target.matches("[data-item]")) return;
  const items = [...list.querySelectorAll("[data-item]")];
  const here = items.indexOf(event.target);
  const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to === undefined || !items[to]) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  items[to].tabIndex = 0;
  items[to].focus();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const find = document.getElementById("find");
  const typing = event.target.matches && event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !(route() && narrow.matches)) {
    event.preventDefault();
    find.focus();
    find.select();
  } else if (event.key === "Escape") {
    if (event.target === find && find.value) clearFilter();
    else if (route()) closeDetail();
    else if (event.target === find) find.blur();
  } else if (event.key === "Enter" && event.target === find) {
    const first = document.querySelector("#views [data-item]");
    if (first) first.focus();
  } else moveIn(event);
}
