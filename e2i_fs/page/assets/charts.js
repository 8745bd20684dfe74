// Freshness over time: how old the newest row was at each check, against what the view allows (F-1, F-2).

function pointsOf(view) {
  const kept = own(state.doc.freshness_history.views, view.name) || [];
  const now = view.freshness.status ? [{ at: state.doc.made_at, age: view.freshness.age, status: view.freshness.status }] : [];
  return [...kept.filter((p) => p.at < state.doc.made_at), ...now];
}

function toldOf(view, points) {
  const ages = points.filter((p) => p.age !== null).map((p) => p.age);
  const late = points.filter((p) => ["STALE", "EXPIRED"].includes(p.status)).length;
  const limit = view.freshness.max_staleness;
  return `${many(points.length, "check")}` + (ages.length ? `, oldest ${span(Math.max(...ages))}` : "") +
    (limit === null || limit === undefined ? ", no limit" : late ? `, over its limit of ${span(limit)} at ${late}` : `, never over its limit of ${span(limit)}`);
}

/** The line itself in a box that stretches: x is time, y age; above the limit it is drawn thick, a second sign beside colour. */
function line(view, points, height, attributes) {
  const begin = moment(state.doc.since);
  const end = moment(state.doc.made_at);
  const limit = view.freshness.max_staleness ?? null;
  const ages = points.filter((p) => p.age !== null).map((p) => p.age);
  const top = Math.max(...ages, limit === null ? 1 : limit * 1.25, 1) * 1.06;
  const x = (p) => (1000 * (moment(p.at) - begin)) / (end - begin);
  const y = (age) => height - 1 - ((height - 3) * age) / top;
  const runs = [];
  for (const p of points) {
    if (p.age === null) runs.push([]);
    else (runs.at(-1) || runs[runs.push([]) - 1]).push(p);
  }
  const kept = runs.filter((run) => run.length);
  const lines = kept.map((run) => run.map((p, i) => `${i ? "L" : "M"}${x(p).toFixed(1)} ${y(p.age).toFixed(1)}`).join(""));
  const areas = kept.map((run, i) => `${lines[i]}L${x(run.at(-1)).toFixed(1)} ${height}L${x(run[0]).toFixed(1)} ${height}Z`);
  const over = freshId("over");
  const at = limit === null ? -1 : y(limit);
  return {
    top, y, limit,
    svg: s("svg", { viewBox: `0 0 1000 ${height}`, preserveAspectRatio: "none", ...attributes },
      limit !== null && s("clipPath", { id: over }, s("rect", { x: 0, y: 0, width: 1000, height: Math.max(0, at) })),
      s("path", { d: areas.join(""), class: "area" }),
      limit !== null && s("path", { d: `M0 ${at}H1000`, class: "limit" }),
      s("path", { d: lines.join(""), class: "line" }),
      limit !== null && s("path", { d: lines.join(""), class: "line late", "clip-path": `url(#${over})` }),
      points.filter((p) => p.age === null).map((p) => s("path", { d: `M${x(p)} ${height - 1}v-9`, class: "gap" })),
      points.length < 12 && points.filter((p) => p.age !== null).map((p) => s("path", { d: `M${x(p).toFixed(1)} ${y(p.age).toFixed(1)}h.01`, class: `dot ${MEANS[p.status]}` }))),
  };
}

function sparkline(view) {
  const points = pointsOf(view);
  if (state.doc.freshness_history.problem && points.length < 2) return h("span", { class: "soft small" }, "no history kept");
  if (points.length < 2) return h("span", { class: "soft small" }, points.length ? "first check" : "never checked");
  const told = `Age over time: ${toldOf(view, points)}`;
  return line(view, points, 34, { class: "spark", role: "img", "aria-label": told, "data-points": points.length }).svg;
}

/** How old it is now, in a bar up to twice the limit, with a tick where it warns and one at the limit. */
function ageBar(view) {
  const { age, max_staleness: limit, status } = view.freshness;
  if (age === null || age === undefined || !limit) return null;
  return h("div", { class: "age-bar", "aria-hidden": "true" },
    h("span", { class: `bar ${MEANS[status]}`, css: { width: `${Math.min(100, (50 * age) / limit)}%` } }), h("i", { class: "half" }), h("i", { class: "full" }));
}

function ageChart(view) {
  const points = pointsOf(view);
  const history = state.doc.freshness_history;
  if (points.length < 2) {
    const why = history.problem ? notice(history.problem, "Its history") : null;
    return [why, h("p", { class: "soft" }, points.length ? "Checked just now for the first time; each later check adds a point." : view.freshness.absent || "Nothing is known of it.")];
  }
  const height = 150;
  const chart = line(view, points, height, { class: "age-chart", role: "img", "aria-label": `Age over time: ${toldOf(view, points)}`, "data-points": points.length });
  const levels = chart.limit === null ? [[chart.top / 1.06, "oldest"]]
    : [[view.freshness.warning_after, `warns ${span(view.freshness.warning_after)}`], [chart.limit, `limit ${span(chart.limit)}`], [chart.limit * 2, `expired ${span(chart.limit * 2)}`]];
  const seen = levels.filter(([age]) => age <= chart.top).map(([age, text]) => [chart.y(age), text]);
  for (const [y] of seen) if (chart.limit !== null && y !== chart.y(chart.limit)) chart.svg.prepend(s("path", { d: `M0 ${y}H1000`, class: "level-line" }));
  const apart = seen.filter(([y], i) => i === seen.length - 1 || Math.abs(y - seen[i + 1][0]) > 15); // a name that has no room is left out
  return [
    h("div", { class: "age-box" }, chart.svg, apart.map(([y, text]) => h("span", { class: "level", css: { top: `${(100 * Math.max(y, 16)) / height}%` } }, text))),
    timeAxis(), h("p", { class: "soft small" }, toldOf(view, points), points.some((p) => p.age === null) ? "; a tick below is a check that found nothing online" : ""),
  ];
}

/** Days, or hours of a short time, from the document's first moment to its last. */
function timeTicks() {
  const begin = moment(state.doc.since);
  const end = moment(state.doc.made_at);
  const hour = 3600e3;
  const step = [hour, 3 * hour, 6 * hour, 12 * hour, 24 * hour, 48 * hour, 7 * 24 * hour, 14 * 24 * hour, 61 * 24 * hour].find((each) => (end - begin) / each <= 8) || 122 * 24 * hour;
  const ticks = [];
  for (let at = Math.ceil(begin / step) * step; at < end; at += step) {
    const d = new Date(at);
    ticks.push([(100 * (at - begin)) / (end - begin), step >= 24 * hour ? `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}` : utcShort(at).split(" ").at(-1)]);
  }
  return ticks;
}

const timeAxis = () => h("div", { class: "axis", "aria-hidden": "true" },
  timeTicks().filter(([left]) => left > 2 && left < 94).map(([left, text]) => h("span", { css: { left: `${left}%` } }, text)));
const placed = (iso) => Math.min(100, Math.max(0, (100 * (moment(iso) - moment(state.doc.since))) / (moment(state.doc.made_at) - moment(state.doc.since))));
