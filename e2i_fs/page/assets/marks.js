// Every state is a shape and a word; the colour only repeats them.
const MEANS = {
  FRESH: "ok", WARNING: "warn", STALE: "bad", EXPIRED: "dead", UNKNOWN: "none", "NOT ONLINE": "none", "NOT KNOWN": "none",
  answers: "ok", degraded: "warn", never: "dead", unasked: "none",
  succeeded: "ok", failed: "dead", "timed out": "bad", overlapped: "none", running: "busy", planned: "none",
  closed: "ok", "half-open": "warn", open: "dead", isolated: "none", "observe-only": "busy",
  verified: "ok", lagging: "warn", diverged: "dead", unverified: "none",
  up: "ok", down: "dead",
};
const SAYS = {
  FRESH: "Fresh", WARNING: "Warning", STALE: "Stale", EXPIRED: "Expired", UNKNOWN: "Unknown", "NOT ONLINE": "Not online", "NOT KNOWN": "Not known",
  answers: "answers", degraded: "answers, marked degraded", never: "does not answer",
};
const SHAPES = {
  ok: [["circle", { cx: 7, cy: 7, r: 6 }], "M4.2 7.2l2 2 3.6-4.2"],
  warn: [["path", { d: "M7 1.2l6.1 11H.9z", "stroke-linejoin": "round" }], "M7 5.2v3.2M7 10.4v.1"],
  bad: [["path", { d: "M7 .8l6.2 6.2L7 13.2.8 7z", "stroke-linejoin": "round" }], "M7 3.9v3.7M7 9.9v.1"],
  dead: [["rect", { x: 1, y: 1, width: 12, height: 12, rx: 2 }], "M4.5 4.5l5 5m0-5l-5 5"],
  none: [["circle", { cx: 7, cy: 7, r: 5.6, class: "ring" }], "M5.4 5.6a1.7 1.7 0 1 1 2.3 1.8c-.5.2-.7.5-.7 1M7 10.1v.1"],
  busy: [["circle", { cx: 7, cy: 7, r: 5.6, class: "ring" }], "M7 4v3.2l2 1.3"],
};

function shape(kind) {
  const [[tag, attributes], stroke] = SHAPES[kind];
  return s("svg", { width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true", class: `shape ${kind}` },
    s(tag, { ...attributes, class: `body ${attributes.class || ""}` }), s("path", { d: stroke, class: "stroke" }));
}

/** A state as shape and word. */
function mark(value, text) {
  const kind = MEANS[value] || "none";
  return h("span", { class: `mark ${kind}` }, shape(kind), h("span", {}, text || SAYS[value] || value));
}

/** The same on a ground of its colour. */
function badge(value, text) {
  const made = mark(value, text);
  made.classList.add("badge");
  return made;
}

/** Shares of a whole as one bar, with what they are said beside it. */
function stack(parts) {
  const sum = parts.reduce((total, [, n]) => total + n, 0);
  return h("div", { class: "stack", "aria-hidden": "true" },
    parts.filter(([, n]) => n).map(([value, n]) => h("span", { class: `bar ${MEANS[value] || "none"}`, css: { "flex-grow": n / sum } })));
}

const notice = (problem, what) =>
  h("p", { class: "notice problem" }, h("strong", {}, `${what} could not be had. `), problem);

function part(id, title, about, ...content) {
  return h("section", { class: "part", id, "aria-labelledby": `${id}-title` },
    h("div", { class: "part-head" }, h("h2", { id: `${id}-title`, tabindex: -1 }, title), h("p", { class: "about" }, about)), content);
}

/** The first of many, and a button for the rest; what was opened stays open. */
function firstOf(key, items, most, draw) {
  const all = state.open.has(key) || items.length <= most;
  const shown = all ? items : items.slice(0, most);
  const more = !all && h("button", { type: "button", class: "button more", "data-key": `more ${key}`, on: { click: () => { state.open.add(key); drawAll(); } } },
    `Show all ${WHOLE.format(items.length)}`);
  return [draw(shown), more];
}
