// From source to service, as a graph where there is room and as a list where there is not.
const TITLES = { source: "Sources", view: "Views", "on-demand": "On demand", service: "Services" };
let graphWidth = 0;

function shownNodes() {
  const selected = route();
  const all = new Set(state.doc.lineage.nodes.map((node) => node.id));
  if (!filtered()) return all;
  const kept = new Set();
  for (const view of matching()) for (const id of chain(`view/${view.name}`)) kept.add(id);
  if (selected && all.has(`${selected.kind}/${selected.name}`)) for (const id of chain(`${selected.kind}/${selected.name}`)) kept.add(id);
  return kept;
}

function graph(ids, width) {
  const laid = layered(ids);
  const { at, height } = standing(laid);
  const last = laid.columns.length - 1;
  const box = Math.min(284, width / laid.columns.length - 26);
  const left = (c) => (last ? (c * (width - box)) / last : 0);
  const edges = laid.ways.map(({ from, to, way }) => {
    const parts = way.slice(1).map((id, i) => {
      const [a, b] = [at.get(way[i]), at.get(id)];
      const [x1, x2] = [left(a.c) + box, left(b.c)];
      const bend = (x2 - x1) / 2;
      return `${i ? "L" : "M"}${x1} ${a.y}C${x1 + bend} ${a.y} ${x2 - bend} ${b.y} ${x2} ${b.y}`;
    });
    return s("path", { d: parts.join(""), class: "edge", "data-from": from, "data-to": to });
  });
  const heads = laid.kinds.map((kind, c) => s("text", { x: left(c), y: 14, class: "column" }, `${TITLES[kind]} · ${[...ids].filter((id) => id.startsWith(`${kind}/`)).length}`));
  const nodes = [...at].filter(([id]) => !id.startsWith("~")).map(([id, place]) => graphNode(state.nodes.get(id), { x: left(place.c), y: place.y }, box));
  const drawn = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "graph", "data-nodes": nodes.length, "data-edges": edges.length, "aria-label": "Lineage; arrow keys follow it, Enter opens", role: "group" },
    heads, s("g", { "aria-hidden": "true" }, edges), nodes);
  drawn.addEventListener("pointerover", (event) => light(drawn, (event.target.closest("[data-node]") || { dataset: {} }).dataset.node));
  drawn.addEventListener("pointerleave", () => light(drawn, null));
  drawn.addEventListener("focusin", (event) => light(drawn, event.target.dataset.node));
  drawn.addEventListener("focusout", () => light(drawn, null));
  drawn.addEventListener("keydown", (event) => walk(event, drawn, at));
  const chosen = route() && `${route().kind}/${route().name}`;
  const first = nodes.find((node) => node.dataset.node === chosen) || nodes[0];
  if (first) first.setAttribute("tabindex", "0");
  light(drawn, null);
  return drawn;
}

function graphNode(node, { x, y }, box) {
  const view = node.kind === "view" ? state.views.get(node.name) : null;
  const room = Math.floor((box - (view ? 38 : 20)) / 6.95);
  const text = node.label.length > room ? `${node.label.slice(0, Math.max(1, room - 1))}…` : node.label;
  const status = view ? statusOf(view) : null;
  const sign = view && shape(MEANS[status]);
  if (sign) for (const [name, value] of Object.entries({ x: x + 11, y: y - 7 })) sign.setAttribute(name, value);
  const told = `${node.label}, ${node.kind}${status ? `, ${SAYS[status].toLowerCase()}` : ""}`;
  return s("a", { href: hashOfNode(node.id), class: `node ${node.kind}`, tabindex: "-1", "data-node": node.id, "data-key": `node ${node.id}`, "aria-label": told },
    s("rect", { x, y: y - 15, width: box, height: 30, rx: node.kind === "service" ? 15 : 7 }),
    sign, s("text", { x: x + (view ? 32 : 13), y: y + 4, "aria-hidden": "true" }, text), s("title", {}, node.about ? `${node.label}: ${node.about}` : node.label));
}

/** Show what a node comes from and leads to; without one, what belongs to the open detail, or all. */
function light(drawn, id) {
  const chosen = route();
  const from = id || (chosen && state.nodes.has(`${chosen.kind}/${chosen.name}`) ? `${chosen.kind}/${chosen.name}` : null);
  const lit = from ? chain(from) : null;
  drawn.classList.toggle("dimmed", Boolean(lit));
  for (const node of drawn.querySelectorAll("[data-node]")) {
    node.classList.toggle("lit", Boolean(lit && lit.has(node.dataset.node)));
    node.classList.toggle("chosen", node.dataset.node === from);
  }
  for (const edge of drawn.querySelectorAll(".edge")) edge.classList.toggle("lit", Boolean(lit && lit.has(edge.dataset.from) && lit.has(edge.dataset.to)));
}

function walk(event, drawn, at) {
  const id = event.target.dataset.node;
  const here = at.get(id);
  if (!here) return;
  const nearest = (ids) => ids.filter((other) => at.has(other)).sort((a, b) => Math.abs(at.get(a).y - here.y) - Math.abs(at.get(b).y - here.y))[0];
  const beside = (by) => [...at].find(([, p]) => p.c === here.c && p.i === here.i + by);
  const to = { ArrowRight: () => nearest(state.down.get(id)), ArrowLeft: () => nearest(state.up.get(id)), ArrowDown: () => (beside(1) || [])[0], ArrowUp: () => (beside(-1) || [])[0] }[event.key];
  if (!to) return;
  event.preventDefault();
  const next = [...drawn.querySelectorAll("[data-node]")].find((node) => node.dataset.node === to());
  if (!next) return;
  event.target.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}

function lineageList(ids) {
  const views = state.doc.views.filter((view) => ids.has(`view/${view.name}`));
  const links = (found) => found.map((id) => h("li", {}, h("a", { href: hashOfNode(id), class: "mono breaks" }, state.nodes.get(id).label)));
  return firstOf("lineage list", views, 40, (shown) => h("ul", { class: "lineage-list" }, shown.map((view) => {
    const id = `view/${view.name}`;
    const to = state.down.get(id);
    return h("li", { class: "card pad" }, h("div", { class: "between" }, link("view", view.name), mark(statusOf(view))),
      h("div", { class: "flow" }, h("span", { class: "label" }, "from"), h("ul", {}, links(state.up.get(id)))),
      h("div", { class: "flow" }, h("span", { class: "label" }, "to"), to.length ? h("ul", {}, links(to)) : h("span", { class: "soft" }, "nobody yet")));
  })));
}

function drawLineage() {
  const ids = shownNodes();
  const about = "Whose rows feed whom, from source to service. Point at a name, or move to it with the arrow keys, to see all that it comes from and leads to.";
  if (!state.doc.lineage.nodes.length) return part("lineage", "Lineage", about, h("p", { class: "card empty" }, "Nothing is registered yet."));
  if (!ids.size) return part("lineage", "Lineage", about, h("p", { class: "card empty" }, "No view is like that."));
  const place = h("div", { class: "card graph-box", tabindex: "-1", "data-scrolls": "graph" });
  if (graphWidth >= 660) place.append(graph(ids, graphWidth - 34));
  return part("lineage", "Lineage", about, place, h("div", { class: "lineage-lists" }, lineageList(ids)));
}
