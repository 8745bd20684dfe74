// The overview: what there is in numbers, then every view with how it does.

function tile(target, title, number, about, extra) {
  return h("a", { class: "tile card", href: `#${target}`, "data-key": `tile ${title}` },
    h("span", { class: "title" }, title), h("span", { class: "number" }, number), h("span", { class: "about" }, about), extra);
}

function tiles() {
  const doc = state.doc;
  const fields = doc.views.flatMap((view) => view.fields);
  const labels = fields.filter((f) => f.role === "label").length;
  const statuses = RANK.map((status) => [status, doc.views.filter((view) => statusOf(view) === status).length]).filter(([, n]) => n).reverse();
  const made = [
    tile("views", "Views", count(doc.views.length), `${many(fields.length - labels, "feature")}, ${many(labels, "label")}, ${many(doc.services.length, "service")}`),
    tile("views", "Freshness", many((statuses.find(([status]) => status === "FRESH") || [0, 0])[1], "fresh", "fresh"),
      statuses.filter(([status]) => status !== "FRESH").map(([status, n]) => `${n} ${SAYS[status].toLowerCase()}`).join(", ") || "all of them", stack(statuses)),
  ];
  if (doc.answering.problem) made.push(tile("answering", "Backends", "–", "could not be asked"));
  else {
    const up = doc.answering.backends.filter((b) => b.up);
    const cells = Object.values(doc.answering.views).flatMap((by) => Object.values(by).map((cell) => cell.may));
    const may = ["answers", "degraded", "never"].map((verdict) => [verdict, cells.filter((each) => each === verdict).length]);
    made.push(tile("answering", "Backends", `${up.length} of ${doc.answering.backends.length} up`,
      `${count(may[0][1])} of ${many(cells.length, "pair", "pairs")} of view and backend may answer`, stack(may)));
  }
  made.push(tile("events", "Failovers", doc.events.problem ? "–" : count(failoversIn(doc.events.items)), doc.events.problem ? "not known" : `answers by another backend, ${daysShown()}`));
  const jobs = doc.jobs.items || [];
  const outcomes = ["succeeded", "running", "overlapped", "timed out", "failed"].map((o) => [o, jobs.filter((job) => job.outcome === o).length]);
  const lost = jobs.filter((job) => ["failed", "timed out"].includes(job.outcome)).length;
  made.push(tile("jobs", "Jobs", doc.jobs.problem ? "–" : count(jobs.length), doc.jobs.problem ? "not known" : lost ? `${count(lost)} did not do their work` : jobs.length ? `${daysShown()}, all well` : `none, ${daysShown()}`, stack(outcomes)));
  return h("div", { class: "tiles" }, made);
}

function daysShown() {
  const days = (moment(state.doc.made_at) - moment(state.doc.since)) / 864e5;
  return Number.isInteger(days) ? (days === 1 ? "last day" : `last ${days} days`) : `last ${span(days * 86400)}`;
}

function viewRow(view) {
  const fresh = view.freshness;
  const status = statusOf(view);
  const labels = view.fields.filter((f) => f.role === "label").length;
  const job = state.latest.get(view.name);
  const selected = (route() || {}).kind === "view" && route().name === view.name;
  const open = (event) => { if (!event.target.closest("a") && !String(getSelection())) location.hash = hashOf("view", view.name); };
  return h("li", { class: `row ${selected ? "selected" : ""}`, "data-view": view.name, "data-status": status, on: { click: open } },
    h("span", { class: "c-status", title: fresh.problem || fresh.absent || "" }, badge(status)),
    h("span", { class: "c-name" },
      h("a", { href: hashOf("view", view.name), class: "mono breaks", "data-item": true, "data-key": `row ${view.name}`, "aria-current": selected ? "true" : null }, view.name),
      h("span", { class: "about" }, view.description || (view.owner ? `of ${view.owner}` : ""))),
    h("span", { class: "c-keys" }, h("span", { class: "label" }, "Keys"), h("span", {}, view.entities.join(" + ")),
      h("span", { class: "soft small" }, `${many(view.fields.length - labels, "feature")}${labels ? `, ${many(labels, "label")}` : ""}`)),
    h("span", { class: "c-spark" }, h("span", { class: "label" }, "Age over time"), sparkline(view)),
    h("span", { class: "c-age" }, h("span", { class: "label" }, "Age"),
      fresh.problem ? h("span", { class: "soft small", title: fresh.problem }, "could not be asked")
        : fresh.absent ? h("span", { class: "soft small" }, "not online")
        : [h("span", {}, fresh.age === null ? "nothing online" : span(fresh.age), h("span", { class: "soft" }, fresh.max_staleness === null ? " · no limit" : ` of ${span(fresh.max_staleness)}`),
            fresh.degraded && h("span", { class: "soft" }, " · may lack a write")), ageBar(view)]),
    h("span", { class: "c-rows" }, h("span", { class: "label" }, "rows"), h("span", {}, fresh.rows === undefined ? "–" : count(fresh.rows))),
    h("span", { class: "c-job" }, h("span", { class: "label" }, "Last job"),
      job ? [mark(job.outcome), h("span", { class: "soft small" }, time(job.started_at))] : h("span", { class: "soft small" }, state.doc.jobs.problem ? "not known" : "none")));
}

function statusChips() {
  const all = RANK.map((status) => [status, state.doc.views.filter((view) => statusOf(view) === status).length]).filter(([, n]) => n);
  const toggle = (status) => () => {
    if (!state.statuses.delete(status)) state.statuses.add(status);
    drawAll();
    say(`${matching().length} of ${state.doc.views.length} views`);
  };
  return h("div", { class: "chips", role: "group", "aria-label": "Only views that are" },
    all.map(([status, n]) => h("button", { type: "button", class: "chip", "aria-pressed": String(state.statuses.has(status)), "data-key": `chip ${status}`, on: { click: toggle(status) } },
      mark(status), h("span", { class: "n" }, count(n)))));
}

function drawViews() {
  const found = matching();
  const sort = h("label", { class: "sort" }, h("span", { class: "soft" }, "Sort"),
    h("select", { "data-key": "sort", on: { change: (event) => { state.sort = event.target.value; drawAll(); } } },
      [["status", "least fresh first"], ["name", "by name"], ["age", "oldest first"], ["rows", "most rows first"], ["owner", "by owner"]]
        .map(([value, text]) => h("option", { value, selected: state.sort === value }, text))));
  const heads = h("div", { class: "row heads", "aria-hidden": "true" },
    ["Freshness", "View", "Keys", `Age, ${daysShown()}`, "Age / limit", "Rows", "Last job"].map((text) => h("span", {}, text)));
  return part("views", "Views", filtered() ? `${count(found.length)} of ${count(state.doc.views.length)} shown.` : "Every feature view, by how old its newest row is against what it allows.",
    h("div", { class: "bar-of-tools" }, statusChips(), sort),
    !state.doc.views.length ? h("p", { class: "card empty" }, "Nothing is registered yet: e2i-fs apply.")
      : !found.length ? h("p", { class: "card empty" }, "No view is like that. ", h("button", { type: "button", class: "button", "data-key": "clear", on: { click: clearFilter } }, "Show all"))
      : h("div", { class: "card rows" }, heads, h("ul", { "data-roving": "vertical", "aria-label": "Views; arrow keys move, Enter opens" }, found.map(viewRow))));
}

function clearFilter() {
  state.words = "";
  state.statuses.clear();
  document.getElementById("find").value = "";
  drawAll();
}
