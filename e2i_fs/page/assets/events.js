// What happened to backends: when each was up, answers that came from another, moves of parity; then the same in words.
const failedOver = (event) => event.kind === "FailedOver";
const failoversIn = (items) => items.filter(failedOver).reduce((sum, event) => sum + event.count, 0);
const NAMES = { Applied: "definitions", BreakerMoved: "breaker", FailedOver: "failover", LeakageFound: "leakage", Materialized: "run", ParityMoved: "parity", Replayed: "replay" };
const COUNTED = { Applied: "change of definitions", BreakerMoved: "move of a breaker", FailedOver: "answer by another backend", LeakageFound: "leak", Materialized: "failed run", ParityMoved: "move of parity", Replayed: "replayed write" };
const SEVERAL = { Applied: "changes of definitions", BreakerMoved: "moves of breakers", FailedOver: "answers by another backend", ParityMoved: "moves of parity" };

/** The state that an event led to, by which it is marked. */
function stateOf(event) {
  const told = { FailedOver: "degraded", LeakageFound: "failed", Replayed: "succeeded", Applied: "planned" };
  return event.about.after || event.about.outcome || told[event.kind] || "planned";
}

/** When a backend's breaker was in which state, out of its moves; before the first move it was in that move's `before`. */
function spells(name, moves, present) {
  const own = moves.filter((event) => event.about.backend === name).sort((a, b) => moment(a.at) - moment(b.at));
  const found = [];
  let from = state.doc.since;
  for (const move of own) {
    found.push([move.about.before, from, move.at]);
    from = move.at;
  }
  const last = own.at(-1);
  if (last && ["open", "half-open"].includes(last.about.after) && present === "closed") {
    // The process whose breaker it was has ended, or it would have told of a later move: an opening lasts 300 s at most.
    const until = new Date(Math.min(moment(last.last_at) + 300e3, moment(state.doc.made_at))).toISOString();
    found.push([last.about.after, from, until]);
    from = until;
  }
  found.push([last && from === last.at ? last.about.after : present, from, state.doc.made_at]);
  return found.filter(([, a, b]) => moment(b) >= moment(state.doc.since) && moment(a) <= moment(state.doc.made_at));
}

/** What the same minute did to many views of a backend alike, as one: a replay moves each of its views. */
function gathered(items) {
  const found = new Map();
  items.forEach((event, i) => {
    const { view, ...rest } = event.about;
    const alike = view && ["ParityMoved", "Replayed"].includes(event.kind);
    const key = alike ? JSON.stringify([event.kind, event.at.slice(0, 16), rest]) : i;
    found.set(key, [...(found.get(key) || []), event]);
  });
  return [...found.values()];
}

function happenedRow(events) {
  const [event] = events;
  const times = events.reduce((sum, each) => sum + each.count, 0);
  const views = [...new Set(events.map((each) => each.about.view))];
  const { backend, before, after } = event.about;
  const text = views.length < 2 ? event.text
    : [event.kind === "Replayed" ? `Backend ${backend} took ${many(times, "write")} that it had missed, of ` : `Backend ${backend}: parity went from ${before} to ${after} for `, `${views.length} views: `, views.map((name, i) => [i ? ", " : "", link("view", name)]), "."];
  return h("li", { "data-event": event.kind, "data-count": times, "data-stay": JSON.stringify([event.at, event.kind, event.about]) }, h("span", { class: "soft" }, when(event.at)),
    mark(stateOf(event), `${NAMES[event.kind] || event.kind}${times > 1 ? ` × ${count(times)}` : ""}`), h("span", { class: "breaks" }, text));
}

function lane(title, told, bars) {
  return h("div", { class: "lane" }, h("div", { class: "lane-name" }, title), h("div", { class: "lane-track", role: "img", "aria-label": told }, bars));
}

const bar = (from, to, kind, title, more) =>
  h("span", { class: `bar ${kind} ${more || ""}`, title, css: { left: `${placed(from)}%`, width: `${Math.max(0, placed(to) - placed(from))}%` } });

function timeline(items) {
  const moves = items.filter((event) => event.kind === "BreakerMoved");
  const parity = items.filter((event) => event.kind === "ParityMoved");
  const over = items.filter(failedOver);
  const named = (state.doc.answering.backends || []).map((b) => b.name);
  const names = [...new Set([...named, ...moves.map((event) => event.about.backend), ...parity.map((event) => event.about.backend)])];
  const liveness = new Map((state.doc.answering.backends || []).map((b) => [b.name, b.liveness]));
  const most = Math.max(...over.map((event) => event.count), 1);
  return h("div", { class: "lanes" }, timeAxis(),
    names.map((name) => {
      const found = spells(name, moves, liveness.get(name) || "closed");
      const shifts = parity.filter((event) => event.about.backend === name);
      const told = `${name}: ${found.map(([what, a]) => `${what} from ${utcShort(a)}`).join(", ")}; ${many(shifts.length, "move")} of parity`;
      return lane(h("span", { class: "mono" }, name), told, [
        found.map(([what, a, b]) => bar(a, b, MEANS[what] || "none", `${what}, ${utcShort(a)} to ${utcShort(b)}`, what === "closed" ? "thin" : "")),
        shifts.map((event) => h("span", { class: `tick ${MEANS[event.about.after] || "none"}`, title: `${event.about.view}: ${event.about.before} → ${event.about.after}, ${utcShort(event.at)}`, css: { left: `${placed(event.at)}%` } })),
      ]);
    }),
    lane("Answered by another", `${many(failoversIn(items), "answer")} by another backend than the primary`, over.map((event) =>
      h("span", { class: "spike warn", title: `${count(event.count)} by ${event.about.backend}, ${utcShort(event.at)}`, css: { left: `${placed(event.at)}%`, height: `${Math.max(18, (100 * (event.count)) / most)}%` } }))));
}

function drawEvents() {
  const about = `Breakers, parity and answers by another backend, ${daysShown()}.`;
  const told = state.doc.events;
  if (told.problem) return part("events", "Failovers", about, notice(told.problem, "What happened"));
  if (!told.items.length) return part("events", "Failovers", about, h("p", { class: "card empty" }, "Nothing happened: no breaker moved, nobody fell behind, and the primary answered."));
  const names = filtered() ? new Set(matching().map((view) => view.name)) : null;
  const items = told.items.filter((event) => !names || !event.about.view || names.has(event.about.view));
  const kinds = [...new Set(items.map((event) => event.kind))];
  return part("events", "Failovers", about,
    h("div", { class: "card pad" }, timeline(items),
      h("p", { class: "legend soft small" }, ["closed", "half-open", "open", "isolated"].map((what) => mark(what)), h("span", {}, "a tick is a move of parity")),
      h("p", { class: "soft small" }, kinds.map((kind) => many(items.filter((e) => e.kind === kind).reduce((sum, e) => sum + e.count, 0), COUNTED[kind] || kind, SEVERAL[kind])).join(" · "))),
    h("div", { class: "card" }, firstOf("events", gathered(items), 8, (shown) => h("ol", { class: "happened" }, shown.map(happenedRow)))),
    told.all === false && h("p", { class: "soft small" }, "Older ones are left out; store.events() has them."));
}
