// Who may answer: is it up (liveness), and would it answer the same (parity); both must allow it (X-1).

function backendHead(b) {
  const told = [b.role, b.liveness !== "closed" && `breaker ${b.liveness}`, b.latency !== null && `answered in ${span(b.latency)}`].filter(Boolean).join(" · ");
  return h("th", { scope: "col" }, h("span", { class: "mono" }, b.name), mark(b.up ? "up" : "down"), h("span", { class: "soft small" }, told));
}

const PARITY = { verified: "has every write", lagging: "lacks writes", diverged: "holds other rows", unverified: "other definitions, or not known" };

function cellOf(backend, cell) {
  const parity = cell.parity || "not known";
  const missed = cell.missed ? `, ${many(cell.missed, "write")} behind` : "";
  return h("td", { class: `cell ${MEANS[cell.may]}`, "data-may": cell.may, title: `${backend.name}: ${parity}${PARITY[parity] ? ` (${PARITY[parity]})` : ""}` },
    h("span", { class: "label" }, backend.name), mark(cell.may, { answers: "answers", degraded: "marked only", never: "never" }[cell.may]),
    h("span", { class: "soft small" }, `${parity}${missed}`));
}

function matrix(views) {
  const { backends, views: cells } = state.doc.answering;
  const plain = (view) => Object.values(cells[view.name]).every((cell) => cell.may === "answers");
  const ordered = [...views].sort((a, b) => plain(a) - plain(b) || byName(a, b));
  return firstOf("matrix", ordered, 30, (shown) => h("table", { class: "matrix" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "View"), backends.map(backendHead))),
    h("tbody", {}, shown.map((view) => h("tr", {}, h("th", { scope: "row" }, link("view", view.name)), backends.map((b) => cellOf(b, cells[view.name][b.name])))))));
}

/** The table by which requests are routed, with how many pairs of a view and a backend stand in each of its cells now. */
function routingTable() {
  const { backends, views, liveness, parity, routing } = state.doc.answering;
  const here = (live, held) => backends.filter((b) => b.up && b.liveness === live).reduce((sum, b) => sum + Object.values(views).filter((by) => by[b.name].parity === held).length, 0);
  return h("table", { class: "routing" },
    h("caption", {}, "What a backend that is up may do for a view. A number is how many pairs of the two stand there now."),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Liveness"), parity.map((held) => h("th", { scope: "col", title: PARITY[held] }, held)))),
    h("tbody", {}, liveness.map((live) => h("tr", {}, h("th", { scope: "row" }, live), parity.map((held) => {
      const n = here(live, held);
      return h("td", { class: n ? "here" : "", "data-verdict": routing[live][held] }, mark(routing[live][held], { answers: "answers", degraded: "marked", never: "never" }[routing[live][held]]), n ? h("strong", { class: "n" }, count(n)) : null);
    })))));
}

function journalLine(journal) {
  if (journal.problem) return notice(journal.problem, "The journal");
  const diverged = Object.entries(journal.diverged).flatMap(([backend, views]) => Object.entries(views).map(([view, why]) => [backend, view, why]));
  return [
    journal.max_bytes > 0 && h("p", { class: "soft small" }, `The journal holds ${many(journal.entries, "write")}, ${bytes(journal.bytes)} of at most ${bytes(journal.max_bytes)} of rows.`),
    diverged.map(([backend, view, why]) => h("p", { class: "notice problem" }, h("strong", { class: "mono" }, `${backend}, ${view}: `), why)),
  ];
}

function drawAnswering() {
  const about = "A backend answers a view only when it is up and has every write; one that lacks some may answer marked, when nobody else can.";
  const told = state.doc.answering;
  if (told.problem) return part("answering", "Who may answer", about, notice(told.problem, "The state of the backends"));
  const found = matching();
  const down = told.backends.filter((b) => b.error);
  return part("answering", "Who may answer", about,
    down.map((b) => h("p", { class: "notice problem" }, h("strong", { class: "mono" }, `${b.name}: `), b.error)),
    h("div", { class: "beside" },
      h("div", { class: "card" }, found.length ? matrix(found) : h("p", { class: "empty" }, "No view is like that.")),
      h("div", { class: "card pad routing-box" }, routingTable(), journalLine(told.journal),
        h("p", { class: "soft small" }, "Liveness is as this page's own process sees it; parity is kept beside the store, the same for all."))));
}
