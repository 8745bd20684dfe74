// One thing, whole: a view, an on-demand view, a service, a source or an entity; opened by the address, closed by Escape.

const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
  .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "breaks" }, value))));
const tagsOf = (thing) => Object.keys(thing.tags).length > 0 && h("ul", { class: "tags", "aria-label": "Tags" },
  Object.entries(thing.tags).map(([name, value]) => h("li", {}, h("span", { class: "soft" }, `${name} `), value)));
const inner = (title, ...content) => {
  const id = freshId("inner");
  return h("section", { class: "inner", "aria-labelledby": id }, h("h3", { id }, title), content);
};
const linksTo = (kind, names) => names.length > 0 && names.map((name, i) => [i ? ", " : "", link(kind, name)]);

function sourceWords(source) {
  return [`${source.kind} `, h("span", { class: "mono" }, source.where || source.name), source.batch && [h("br"), "with the history of ", h("span", { class: "mono" }, source.batch.where)]];
}

function beforeAfter(id) {
  const list = (ids, none) => (ids.length ? h("ul", {}, ids.map((each) => h("li", {}, h("a", { href: hashOfNode(each), class: "mono breaks" }, state.nodes.get(each).label), h("span", { class: "soft small" }, ` ${state.nodes.get(each).kind}`)))) : h("p", { class: "soft" }, none));
  return inner("Lineage", h("div", { class: "two" },
    h("div", {}, h("h4", { class: "soft" }, "Comes from"), list(state.up.get(id) || [], "nothing")),
    h("div", {}, h("h4", { class: "soft" }, "Leads to"), list(state.down.get(id) || [], "nobody yet"))));
}

function answersOf(view) {
  const told = state.doc.answering;
  if (told.problem) return inner("Who may answer", notice(told.problem, "The state of the backends"));
  return inner("Who may answer", h("ul", { class: "cells" }, told.backends.map((b) => {
    const cell = told.views[view.name][b.name];
    return h("li", {}, h("span", { class: "mono" }, b.name), mark(cell.may), h("span", { class: "soft small" }, `${b.up ? "up" : "down"}, ${cell.parity || "parity not known"}${cell.missed ? `, ${many(cell.missed, "write")} behind` : ""}`));
  })));
}

function jobsOf(view) {
  const items = (state.doc.jobs.items || []).filter((job) => job.view === view.name);
  if (!items.length) return null;
  return inner("Jobs", firstOf(`jobs of ${view.name}`, items, 6, (shown) => h("ul", { class: "cells" }, shown.map((job) =>
    h("li", {}, mark(job.outcome), h("span", {}, job.mode), h("span", { class: "soft small" }, when(job.started_at), ` · ${count(job.rows_written)} rows · ${span(job.duration)}`), job.error && h("span", { class: "small breaks soft" }, job.error))))));
}

const DETAILS = {
  view(name) {
    const view = state.views.get(name);
    if (!view) return null;
    const fresh = view.freshness;
    const figures = state.figures.get(name);
    return ["Feature view", view, [
      h("div", { class: "lead" }, badge(statusOf(view)), h("span", {}, fresh.problem ? notice(fresh.problem, "Its freshness") : fresh.absent || (fresh.age === null ? "Nothing of it is online." : ["newest row ", h("strong", {}, span(fresh.age)), " old", fresh.max_staleness === null ? ", no limit" : `, limit ${span(fresh.max_staleness)}`, `, told by ${fresh.served_by}`, fresh.degraded && " (may lack a write)"]))),
      facts([["Keys", view.join_keys.map(([key, dtype], i) => [i ? ", " : "", h("span", { class: "mono" }, key), h("span", { class: "soft" }, ` ${dtype}`)])],
        ["Entities", linksTo("entity", view.entities)], ["Source", sourceWords(view.source)],
        ["A row answers for", view.ttl === null ? "ever (no ttl)" : span(view.ttl)], ["Rows online", fresh.rows === undefined ? null : count(fresh.rows)],
        ["Newest event", fresh.newest_event_timestamp && utc(fresh.newest_event_timestamp)], ["Owner", view.owner], ["Fingerprint", h("span", { class: "mono small" }, view.fingerprint)]]),
      tagsOf(view), view.online && inner("Freshness over time", ageChart(view)), h("div", { class: "figures", id: "figures" }), fieldList(view, figures), beforeAfter(`view/${name}`), answersOf(view), jobsOf(view),
    ]];
  },
  "on-demand"(name) {
    const view = state.onDemand.get(name);
    if (!view) return null;
    return ["On-demand view, computed at retrieval", view, [
      facts([["Inputs", view.inputs.map((ref, i) => [i ? ", " : "", h("span", { class: "mono" }, ref)])],
        ["With the request", view.requests.flatMap((r) => r.fields).map(([field, dtype], i) => [i ? ", " : "", h("span", { class: "mono" }, field), h("span", { class: "soft" }, ` ${dtype}`)])],
        ["Owner", view.owner], ["Fingerprint", h("span", { class: "mono small" }, view.fingerprint)]]),
      tagsOf(view), fieldList(view, null), inner("Code", h("pre", { class: "code", tabindex: 0, "data-scrolls": "code", "aria-label": "Its code" }, view.code)), beforeAfter(`on-demand/${name}`),
    ]];
  },
  service(name) {
    const service = state.services.get(name);
    if (!service) return null;
    return ["Feature service", service, [
      facts([["Keys", h("span", { class: "mono" }, service.join_keys.join(", "))], ["Features", count(service.features.length)], ["Owner", service.owner]]), tagsOf(service),
      inner("Features", service.views.map((from) => h("div", { class: "from" },
        h("div", { class: "between" }, link(state.views.has(from) ? "view" : "on-demand", from), state.views.has(from) && mark(statusOf(state.views.get(from)))),
        h("p", { class: "mono small breaks" }, service.features.filter((ref) => ref.startsWith(`${from}:`)).map((ref) => ref.slice(from.length + 1)).join(", "))))),
      beforeAfter(`service/${name}`),
    ]];
  },
  source(name) {
    const node = state.nodes.get(`source/${name}`);
    if (!node) return null;
    return ["Source", { name: node.label, description: node.about, tags: {} }, [beforeAfter(node.id)]];
  },
  entity(name) {
    const entity = state.entities.get(name);
    if (!entity) return null;
    const views = state.doc.views.filter((view) => view.entities.includes(name));
    return ["Entity", entity, [
      facts([["Join keys", entity.join_keys.map(([key, dtype], i) => [i ? ", " : "", h("span", { class: "mono" }, key), h("span", { class: "soft" }, ` ${dtype}`)])], ["Owner", entity.owner]]), tagsOf(entity),
      inner("Views about it", h("ul", { class: "cells" }, views.map((view) => h("li", {}, link("view", view.name), mark(statusOf(view)))))),
    ]];
  },
};

const narrow = matchMedia("(max-width: 1179.9px)");
let opener = null;

function drawDetail({ keep = false } = {}) {
  const body = document.querySelector(".body");
  const panel = document.getElementById("detail");
  const to = route();
  const was = body.classList.contains("open");
  body.classList.toggle("open", Boolean(to));
  const modal = Boolean(to) && narrow.matches;
  for (const each of [document.querySelector("main"), document.querySelector("header.head"), document.querySelector("footer.foot")]) each.inert = modal;
  if (!to) {
    panel.replaceChildren();
    document.title = titleOf();
    if (was && opener) focusOn(opener);
    return;
  }
  if (!keep) opener = (document.activeElement.closest("main [data-key]") || { dataset: { key: opener } }).dataset.key;
  const [kind, thing, content] = DETAILS[to.kind](to.name) || ["Not here", { name: to.name, description: `There is no ${to.kind} of this name in the catalogue.`, tags: {} }, []];
  const shut = h("button", { type: "button", class: "button square", "aria-label": "Close", title: "Close (Esc)", "data-key": "close", on: { click: closeDetail } }, icon("M4 4l8 8M12 4l-8 8"));
  const top = panel.scrollTop;
  redraw(panel, h("div", { class: "detail-head" }, h("div", {}, h("p", { class: "soft small" }, kind), h("h2", { class: "mono breaks", id: "detail-title", tabindex: -1 }, thing.name)), shut),
    h("div", { class: "detail-body" }, thing.description && h("p", { class: "breaks" }, thing.description), content));
  panel.scrollTop = keep ? top : 0;
  document.title = `${thing.name} · ${titleOf()}`;
  if (!keep) document.getElementById("detail-title").focus({ preventScroll: true });
  const place = document.getElementById("figures");
  if (to.kind === "view" && place) {
    figuresOf(state.views.get(to.name), place).catch((error) => document.getElementById("figures")?.replaceChildren(notice(error.message, "Distributions")));
  }
}

function closeDetail() {
  history.pushState(null, "", location.pathname + location.search);
  drawAll();
  drawDetail();
}

function focusOn(key) {
  const found = [...document.querySelectorAll("main [data-key]")].find((each) => each.dataset.key === key);
  if (found) found.focus({ preventScroll: true });
}
