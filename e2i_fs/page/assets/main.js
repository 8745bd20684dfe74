// The frame, and what happens when the address, the words or the width change.
const SECTIONS = [["views", "Views", drawViews], ["lineage", "Lineage", drawLineage], ["answering", "Who may answer", drawAnswering], ["events", "Failovers", drawEvents], ["jobs", "Jobs", drawJobs]];

const titleOf = () => (state.doc && state.doc.project ? `${state.doc.project} · feature catalogue` : "Feature catalogue");

function drawAll() {
  for (const [id, , draw] of SECTIONS) redraw(document.getElementById(`place-${id}`), draw());
  const overview = document.getElementById("place-tiles");
  redraw(overview, tiles());
  rove(document.querySelector("main"));
}

// ---- light and dark

function themeNow() {
  return document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function remembered(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // a browser that keeps nothing for this page: the choice lasts as long as it
  }
  return null;
}

function themeButton() {
  const draw = () => [themeNow() === "dark" ? icon("M8 3V1.5M8 14.5V13M3 8H1.5M14.5 8H13M4.5 4.5L3.4 3.4M12.6 12.6l-1.1-1.1M4.5 11.5l-1.1 1.1M12.6 3.4l-1.1 1.1M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 0 0 0-5.6") : icon("M13.5 9.4A6 6 0 1 1 6.6 2.5a4.8 4.8 0 0 0 6.9 6.9z")];
  const name = () => (themeNow() === "dark" ? "Light colours" : "Dark colours");
  const made = h("button", { type: "button", class: "button square", id: "theme", "aria-label": name(), title: name() }, draw());
  made.addEventListener("click", () => {
    document.documentElement.dataset.theme = themeNow() === "dark" ? "light" : "dark";
    remembered("e2i-fs theme", document.documentElement.dataset.theme);
    made.replaceChildren(...draw());
    made.setAttribute("aria-label", name());
    made.title = name();
  });
  return made;
}

function frame() {
  const logo = s("svg", { class: "logo", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("rect", { width: 16, height: 16, rx: 4, class: "logo-ground" }), s("path", { d: "M4 11V8m4 3V5m4 6V7", class: "logo-bars" }));
  const find = h("input", { id: "find", type: "search", placeholder: "Find views, fields, tags…", autocomplete: "off", spellcheck: "false", "aria-label": "Find views by name, field, tag, owner or service", "aria-keyshortcuts": "/" });
  let waiting = 0;
  find.addEventListener("input", () => {
    state.words = find.value;
    clearTimeout(waiting);
    waiting = setTimeout(() => { drawAll(); say(`${matching().length} of ${state.doc.views.length} views`); }, 60);
  });
  const buttons = liveButtons();
  return [
    h("header", { class: "head" }, h("div", { class: "head-in" },
      h("div", { class: "brand" }, logo, h("h1", {}, state.doc.project || "Feature catalogue")),
      h("nav", { class: "nav", "aria-label": "Parts of the page" }, SECTIONS.map(([id, title]) => h("a", { href: `#${id}` }, title))),
      h("div", { class: "tools" }, h("span", { class: "as-of soft small nowrap", id: "as-of" }, asOf()),
        h("div", { class: "find", role: "search" }, icon("M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 0 0 0-9M10.4 10.4l3.1 3.1"), find, h("kbd", { "aria-hidden": "true" }, "/")), buttons, themeButton()))),
    h("div", { class: "body" }, h("main", { id: "main" }, h("div", { id: "trouble" }), h("div", { id: "place-tiles" }), SECTIONS.map(([id]) => h("div", { id: `place-${id}` }))),
      h("aside", { id: "detail", "aria-labelledby": "detail-title" })),
    h("footer", { class: "foot", id: "foot" }, footWords()),
  ];
}

const footWords = () => [
  h("span", {}, `e2i_fs ${state.doc.version}`), h("span", {}, "definitions ", h("span", { class: "mono" }, state.doc.revision.slice(0, 12))),
  h("span", {}, utc(state.doc.made_at)), h("span", {}, h("kbd", {}, "/"), " find · ", h("kbd", {}, "↑ ↓"), " move · ", h("kbd", {}, "Enter"), " open · ", h("kbd", {}, "Esc"), " close"),
];

function begin(doc) {
  take(doc);
  document.title = titleOf();
  document.getElementById("page").replaceChildren(...frame());
  const room = document.getElementById("place-lineage");
  graphWidth = room.clientWidth;
  drawAll();
  drawDetail();
  new ResizeObserver(() => {
    if (Math.abs(room.clientWidth - graphWidth) < 4) return;
    graphWidth = room.clientWidth;
    redraw(room, drawLineage());
  }).observe(room);
  addEventListener("hashchange", () => { drawAll(); drawDetail(); });
  addEventListener("popstate", () => { drawAll(); drawDetail(); });
  addEventListener("keydown", pressed);
  narrow.addEventListener("change", () => drawDetail({ keep: true }));
  beginLive();
  document.documentElement.dataset.ready = "true";
}

function start() {
  const theme = remembered("e2i-fs theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const given = JSON.parse(document.getElementById("document").textContent);
  if (given) {
    begin(given);
    return;
  }
  state.served = true;
  const page = document.getElementById("page");
  page.replaceChildren(h("p", { class: "empty", role: "status" }, "Asking the store…"));
  fetched().then(begin).catch((error) => {
    page.replaceChildren(h("main", {}, h("h1", {}, "The catalogue could not be had"), notice(error.message, "The catalogue"), h("p", {}, h("button", { type: "button", class: "button", on: { click: () => location.reload() } }, "Try again"))));
    document.documentElement.dataset.ready = "false";
  });
}

start();
