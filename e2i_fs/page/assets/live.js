// A page that is served looks again by itself, so that who watches sees what happens; it can be paused, and keeps its place.
const EVERY = 15e3; // ms between looks; more where a look takes the store long
const RECENT = 5e3; // a document is given again for that long: asking sooner tells nothing new
const SOON = 1e3;
const MINUTE = 60e3;
const live = { paused: false, timer: 0, looking: false, at: 0, took: 0, touched: 0 };

/** What the page's own server says, as JSON; an error says why there is nothing. */
async function asked(path) {
  const answer = await fetch(path).catch((cause) => { throw new Error("The page's server does not answer.", { cause }); });
  const told = await answer.json().catch(() => null);
  if (answer.ok && told) return told;
  throw new Error(told && told.error ? told.error.message : `The server answered ${answer.status} without a document.`);
}

async function fetched() {
  const began = performance.now();
  const doc = await asked("document.json");
  live.at = performance.now();
  live.took = live.at - began;
  return doc;
}

/** Look again. By itself it says only what has changed, and keeps the distributions it has, for which all history is read. */
async function refresh({ byItself = false } = {}) {
  if (live.looking) return;
  live.looking = true;
  clearTimeout(live.timer);
  const button = document.getElementById("refresh");
  const trouble = document.getElementById("trouble");
  if (!byItself) button.setAttribute("aria-busy", "true");
  try {
    const doc = await fetched();
    if (byItself && busy()) return; // a press may have begun since; a button drawn anew under it would not be clicked
    const news = changes(state.doc, doc);
    const known = byItself ? state.figures : new Map();
    take(doc);
    for (const [name, told] of known) state.figures.set(name, told);
    inPlace(() => {
      trouble.replaceChildren();
      document.getElementById("as-of").replaceChildren(asOf());
      document.getElementById("foot").replaceChildren(...footWords());
      drawAll();
      drawDetail({ keep: true });
    });
    if (news || !byItself) say(news || "The page is up to date.");
  } catch (error) {
    const first = !trouble.firstChild;
    trouble.replaceChildren(notice(`${error.message} What is shown is as of ${utc(state.doc.made_at)}.`, "A new look at the store"));
    if (first || !byItself) say("The store could not be asked.");
  } finally {
    live.looking = false;
    button.removeAttribute("aria-busy");
    lookLater();
  }
}

/** What who watches wants to be told: views whose status moved, backends that went or came, answers by another. */
function changes(before, after) {
  const was = new Map(before.views.map((view) => [view.name, statusOf(view)]));
  const found = after.views.filter((view) => was.has(view.name) && was.get(view.name) !== statusOf(view))
    .map((view) => `${view.name}: ${SAYS[statusOf(view)].toLowerCase()}`);
  const up = new Map((before.answering.backends || []).map((b) => [b.name, b.up]));
  for (const b of after.answering.backends || []) if (up.has(b.name) && up.get(b.name) !== b.up) found.push(`${b.name} is ${b.up ? "up" : "down"}`);
  const more = failoversIn(after.events.items || []) - failoversIn(before.events.items || []);
  if (more > 0) found.push(many(more, "more answer by another backend", "more answers by another backend"));
  return found.length > 4 ? `${found.slice(0, 4).join("; ")}; and ${found.length - 4} more changes.` : found.length ? `${found.join("; ")}.` : "";
}

/** Draw anew and leave what is being read where it stands in the window, though parts above it may have grown. */
function inPlace(draw) {
  const place = (each) => each.getBoundingClientRect();
  const part = [...document.querySelectorAll("main section.part")].find((each) => place(each).bottom > innerHeight / 2);
  const apart = (row) => Math.abs(place(row).top - innerHeight / 2);
  const rows = part ? [...part.querySelectorAll("[data-stay]")].filter((each) => apart(each) < innerHeight / 2) : [];
  const row = rows.sort((a, b) => apart(a) - apart(b))[0];
  const stood = [row, part].filter(Boolean).map((each) => [each.dataset.stay, each.id, place(each).top]);
  const moved = scrollY > 0; // at the very top the news are what is looked for
  draw();
  if (!moved) return;
  for (const [stay, id, top] of stood) {
    const now = stay ? [...document.querySelectorAll("[data-stay]")].find((each) => each.dataset.stay === stay) : document.getElementById(id);
    if (now) {
      const by = place(now).top - top;
      if (Math.abs(by) > 0.5) scrollBy({ top: by, behavior: "instant" });
      return;
    }
  }
}

/** Whether somebody is in the midst of what drawing anew would end: a press, a selection, an open list. Not for ever. */
function busy() {
  if (document.querySelector("#page :active")) return true;
  return performance.now() - live.touched < MINUTE && (!getSelection().isCollapsed || document.activeElement.tagName === "SELECT");
}

/** Set when the next look is: in a while, soon when somebody is busy now, and never while nobody sees the page. */
function lookLater() {
  clearTimeout(live.timer);
  if (live.paused || document.hidden) return;
  live.timer = setTimeout(() => (busy() ? lookLater() : refresh({ byItself: true })), busy() ? SOON : Math.max(EVERY, 9 * live.took));
}

/** Somebody came back to the page: what it shows may be old. */
function cameBack() {
  if (!live.paused && !document.hidden && performance.now() - live.at > RECENT && !busy()) refresh({ byItself: true });
  else lookLater();
}

function asOf() {
  const { made_at: at } = state.doc;
  const seconds = state.served ? `:${two(new Date(moment(at)).getUTCSeconds())}` : "";
  return h("time", { datetime: at, title: utc(at) }, `${state.served && live.paused ? "paused, " : ""}as of ${utcShort(at)}${seconds} UTC`);
}

function liveButtons() {
  if (!state.served) return null;
  live.paused = remembered("e2i-fs paused") === "true";
  const sign = () => icon(live.paused ? "M5 3l8 5l-8 5z" : "M5.5 3v10M10.5 3v10");
  const words = () => (live.paused ? "Go on looking again by itself" : "Pause; the page looks again by itself");
  const pause = h("button", { type: "button", class: "button square", id: "pause", "aria-label": words(), title: words() }, sign());
  pause.addEventListener("click", () => {
    live.paused = !live.paused;
    remembered("e2i-fs paused", String(live.paused));
    pause.replaceChildren(sign());
    pause.setAttribute("aria-label", words());
    pause.title = words();
    document.getElementById("as-of").replaceChildren(asOf());
    say(live.paused ? "Paused." : "The page looks again by itself.");
    cameBack();
  });
  const now = h("button", { type: "button", class: "button square", id: "refresh", "aria-label": "Look again now", title: "Look again now", on: { click: () => refresh() } },
    icon("M13.2 8a5.2 5.2 0 1 1-1.6-3.7M13.4 2.2v2.6h-2.6"));
  return [pause, now];
}

function beginLive() {
  if (!state.served) return;
  const touch = () => { live.touched = performance.now(); };
  for (const event of ["pointerdown", "keydown"]) addEventListener(event, touch, { capture: true });
  document.addEventListener("visibilitychange", cameBack);
  addEventListener("focus", cameBack);
  lookLater();
}
