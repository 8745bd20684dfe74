// The one document, what is looked for in it, and where the address points.
const state = { doc: null, served: false, words: "", statuses: new Set(), sort: "status", open: new Set(), figures: new Map(), asking: new Set() };

const RANK = ["EXPIRED", "STALE", "UNKNOWN", "WARNING", "FRESH", "NOT ONLINE", "NOT KNOWN"];

function take(doc) {
  state.doc = doc;
  state.views = new Map(doc.views.map((view) => [view.name, view]));
  state.onDemand = new Map(doc.on_demand.map((view) => [view.name, view]));
  state.services = new Map(doc.services.map((service) => [service.name, service]));
  state.entities = new Map(doc.entities.map((entity) => [entity.name, entity]));
  state.nodes = new Map(doc.lineage.nodes.map((node) => [node.id, node]));
  state.up = new Map(doc.lineage.nodes.map((node) => [node.id, []]));
  state.down = new Map(doc.lineage.nodes.map((node) => [node.id, []]));
  for (const [from, to] of doc.lineage.edges) {
    state.down.get(from).push(to);
    state.up.get(to).push(from);
  }
  state.latest = new Map();
  for (const each of doc.jobs.items || []) {
    if (!state.latest.has(each.view)) state.latest.set(each.view, each);
  }
  state.texts = new Map(doc.views.map((view) => [view.name, textOf(view)]));
  state.figures = new Map(doc.views.filter((v) => v.statistics).map((v) => [v.name, v.statistics]));
}

/** What an object of the document has of its own under a name, which may be any: `constructor` is a good name for a field. */
const own = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);

function textOf(view) {
  const fields = view.fields.flatMap((f) => [f.name, f.dtype, f.role === "label" ? "label" : "", f.description]);
  const tags = Object.entries(view.tags).flatMap(([name, value]) => [name, value, `${name}=${value}`]);
  const source = [view.source.label, view.source.kind, view.source.batch && view.source.batch.label];
  const keys = view.join_keys.map(([name]) => name);
  return [view.name, view.description, view.owner, fields, tags, view.entities, keys, view.services, view.on_demand, source]
    .flat().filter(Boolean).join("\n").toLowerCase();
}

/** FRESH to UNKNOWN as the store says it; what is not online, or could not be asked, is neither. */
function statusOf(view) {
  if (view.freshness.status) return view.freshness.status;
  return view.freshness.absent ? "NOT ONLINE" : "NOT KNOWN";
}

const byName = (a, b) => a.name.localeCompare(b.name, "en");
const ORDERS = {
  status: (a, b) => RANK.indexOf(statusOf(a)) - RANK.indexOf(statusOf(b)) || byName(a, b),
  name: byName,
  age: (a, b) => (b.freshness.age ?? -1) - (a.freshness.age ?? -1) || byName(a, b),
  rows: (a, b) => (b.freshness.rows ?? -1) - (a.freshness.rows ?? -1) || byName(a, b),
  owner: (a, b) => (a.owner || "\uffff").localeCompare(b.owner || "\uffff", "en") || byName(a, b),
};

function matching() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  return state.doc.views
    .filter((view) => words.every((word) => state.texts.get(view.name).includes(word)))
    .filter((view) => !state.statuses.size || state.statuses.has(statusOf(view)))
    .sort(ORDERS[state.sort]);
}

const filtered = () => Boolean(state.words.trim() || state.statuses.size);

/** All that a node comes from and leads to, itself included. */
function chain(id) {
  const found = new Set([id]);
  for (const next of [state.up, state.down]) {
    const left = [id];
    while (left.length) {
      for (const other of next.get(left.pop()) || []) {
        if (!found.has(other)) {
          found.add(other);
          left.push(other);
        }
      }
    }
  }
  return found;
}

// ---- the address: #view/NAME, #on-demand/NAME, #service/NAME, #source/NAME, #entity/NAME

const KINDS = ["view", "on-demand", "service", "source", "entity"];
const hashOf = (kind, name) => `#${kind}/${encodeURIComponent(name)}`;
const hashOfNode = (id) => hashOf(id.slice(0, id.indexOf("/")), id.slice(id.indexOf("/") + 1));

function route() {
  const [, kind, rest] = /^#([a-z-]+)[/](.+)$/.exec(location.hash) || [];
  if (!KINDS.includes(kind)) return null;
  try {
    return { kind, name: decodeURIComponent(rest) };
  } catch (error) {
    if (error instanceof URIError) return { kind, name: rest };
    throw error;
  }
}

function link(kind, name, ...content) {
  return h("a", { href: hashOf(kind, name), class: "mono breaks" }, content.length ? content : name);
}

function say(text) {
  document.getElementById("said").textContent = text;
}
