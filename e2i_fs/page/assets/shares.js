// Distributions of one feature: a histogram where there are many numbers, bars of the commonest values where there are few.

const numeric = (value) => (typeof value === "number" ? value : typeof value === "string" && /^\d{4}-/.test(value) ? Date.parse(value) : Number(value));

/** The values by their share: for texts, truth values and numbers of few kinds. */
const byValue = (stats) => stats.top_values.length > 0 && (!stats.histogram.length || stats.distinct <= 8);

function distribution(stats, range, side, name) {
  if (!stats.rows) return h("p", { class: "soft small" }, "No rows.");
  const told = [
    `${count(stats.rows)} rows`, stats.missing ? `${percent(stats.missing / stats.rows)} missing` : "none missing",
    stats.nan ? `${count(stats.nan)} NaN` : "", stats.infinite ? `${count(stats.infinite)} infinite` : "", stats.expired ? `${count(stats.expired)} expired` : "",
    `${count(stats.distinct)} distinct`, stats.histogram.length && !byValue(stats) ? `${figure(stats.min)} to ${figure(stats.max)}` : "",
  ].filter(Boolean).join(" · ");
  const missing = h("div", { class: "missing", title: `${percent(stats.missing / stats.rows)} missing`, "aria-hidden": "true" },
    h("span", { class: "bar", css: { width: `${(100 * stats.missing) / stats.rows}%` } }));
  const body = byValue(stats) ? values(stats, side) : stats.histogram.length ? histogram(stats, range, side, name)
    : h("p", { class: "soft small" }, stats.missing === stats.rows ? "Every value is missing." : "Nothing to draw for this dtype.");
  return [body, missing, h("p", { class: "soft small" }, told)];
}

function histogram(stats, range, side, name) {
  const [low, high, ends] = range;
  const wide = high - low || 1;
  const bins = stats.histogram.map(([from, to, n]) => [numeric(from), numeric(to), n]);
  const density = bins.map(([from, to, n]) => n / (to - from || wide / 20));
  const most = Math.max(...density);
  const told = `${name} ${side}: ${figure(stats.min)} to ${figure(stats.max)}, ${many(bins.length, "bin")}`;
  const middle = stats.quantiles["0.5"];
  return [
    s("svg", { viewBox: "0 0 400 48", preserveAspectRatio: "none", class: `histogram ${side}`, role: "img", "aria-label": told, "data-bins": bins.length },
      bins.map(([from, to, n], i) => {
        const height = n ? Math.max(1.5, (46 * density[i]) / most) : 0;
        const left = (400 * (from - low)) / wide;
        const width = Math.max(1.5, (400 * (to - from || wide / 20)) / wide - 1);
        return s("rect", { x: left.toFixed(2), y: (48 - height).toFixed(2), width: width.toFixed(2), height: height.toFixed(2), class: "bar" },
          s("title", {}, `${figure(stats.histogram[i][0])} to ${figure(stats.histogram[i][1])}: ${count(n)} rows`));
      })),
    h("div", { class: "ends small" }, h("span", {}, figure(ends[0])), middle !== undefined && h("span", { class: "soft" }, `median ${figure(middle)}`), h("span", {}, figure(ends[1]))),
  ];
}

function values(stats, side) {
  const shown = stats.top_values.length <= 6 ? stats.top_values : stats.top_values.slice(0, 5);
  const told = stats.rows - stats.missing;
  const rest = told - shown.reduce((sum, [, n]) => sum + n, 0);
  const row = (text, n, kind) => h("li", { class: kind }, h("span", { class: "value", title: text }, text),
    h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "bar", css: { width: `${(100 * n) / told}%` } })), h("span", { class: "n" }, percent(n / told)));
  return h("ul", { class: `values ${side}`, "data-values": stats.top_values.length },
    shown.map(([value, n]) => row(figure(value) === "" ? "(empty text)" : figure(value), n, "")),
    rest > 0 && row(many(Math.max(1, stats.distinct - shown.length), "other"), rest, "others"));
}

/** The range that two histograms share, as numbers and as they are written, so that the two can be compared by eye. */
function rangeOf(both) {
  const bins = both.filter(Boolean).flatMap((stats) => stats.histogram);
  if (!bins.length) return [0, 1, [0, 1]];
  const least = bins.reduce((a, b) => (numeric(b[0]) < numeric(a[0]) ? b : a))[0];
  const most = bins.reduce((a, b) => (numeric(b[1]) > numeric(a[1]) ? b : a))[1];
  return [numeric(least), numeric(most), [least, most]];
}
