// The fields of a view: what each is, who takes it, and how its values lie, offline and online side by side.

const roleMark = (f) => f.role === "label" && h("span", { class: "role", title: "An outcome: never given as a model input unless named (P-12)" }, "label");

function fieldHead(f) {
  return h("div", { class: "field-head" },
    h("h4", { class: "mono breaks" }, f.name), h("span", { class: "dtype mono" }, f.dtype), roleMark(f),
    f.description && h("p", { class: "soft" }, f.description),
    f.services.length > 0 && h("p", { class: "soft small" }, "in ", f.services.map((name, i) => [i ? ", " : "", link("service", name)])));
}

function fieldShares(view, f, figures) {
  if (!figures) return null;
  const of = (side) => own(figures[side].features, f.name);
  const both = [of("offline"), of("online")];
  const range = rangeOf(both);
  return h("div", { class: "shares" }, ["offline", "online"].map((side, i) => h("div", { class: "share", "data-side": side },
    h("span", { class: `side ${side}` }, side === "offline" ? "Offline: all of history" : "Online: one row a key"),
    both[i] ? distribution(both[i], range, side, f.name) : h("p", { class: "soft small" }, figures[side].absent || (figures[side].problem ? "could not be had" : "not told")))));
}

function fieldList(view, figures) {
  const labels = view.fields.filter((f) => f.role === "label").length;
  const problems = figures ? ["offline", "online"].filter((side) => figures[side].problem).map((side) => notice(figures[side].problem, `What is ${side}`)) : [];
  return h("section", { class: "inner", "aria-labelledby": "fields-title" },
    h("h3", { id: "fields-title" }, `Fields · ${many(view.fields.length - labels, "feature")}${labels ? `, ${many(labels, "label")}` : ""}`),
    problems, h("ul", { class: "fields" }, view.fields.map((f) => h("li", { "data-field": f.name, "data-role": f.role }, fieldHead(f), fieldShares(view, f, figures)))));
}

/** Distributions are read when somebody looks, where the page is served; a page that was written has them or has not. */
async function figuresOf(view, place) {
  if (state.figures.has(view.name)) return;
  if (!state.served || !state.doc.statistics_served) {
    place.replaceChildren(h("p", { class: "soft small" }, "Distributions were left out of this page."));
    return;
  }
  place.replaceChildren(h("p", { class: "soft small", role: "status" }, "Reading the history for its distributions…"));
  if (state.asking.has(view.name)) return; // what asks draws the detail when it has them
  state.asking.add(view.name);
  try {
    state.figures.set(view.name, await asked(`statistics.json?view=${encodeURIComponent(view.name)}`));
  } finally {
    state.asking.delete(view.name);
  }
  const now = route();
  if (now && now.kind === "view" && now.name === view.name) drawDetail({ keep: true });
}
