// What was made ready when: a lane for each view, then the jobs in words (W-4).

function jobTitle(job) {
  const rows = `${count(job.rows_written)} of ${count(job.rows_read)} rows written`;
  return `${job.mode}, ${job.outcome}, ${utcShort(job.started_at)}, ${span(job.duration)}, ${rows}${job.error ? `: ${job.error}` : ""}`;
}

function jobLane(view, items) {
  const bad = items.filter((job) => ["failed", "timed out"].includes(job.outcome)).length;
  const told = `${view}: ${many(items.length, "job")}${bad ? `, ${bad} did not do their work` : ", all well"}`;
  return lane(link("view", view), told, [...items].reverse().map((job) => {
    const end = new Date(moment(job.started_at) + job.duration * 1000).toISOString();
    const made = bar(job.started_at, end, MEANS[job.outcome], jobTitle(job), `job ${job.mode}`);
    made.append(shape(MEANS[job.outcome]));
    return made;
  }));
}

function jobTable(items) {
  const row = (job) => h("tr", { "data-job": job.view, "data-outcome": job.outcome, "data-stay": JSON.stringify([job.started_at, job.view, job.mode, job.backend]) },
    h("td", {}, mark(job.outcome)),
    h("th", { scope: "row" }, link("view", job.view), job.error && h("p", { class: `small breaks ${job.outcome === "succeeded" ? "soft" : "error"}` }, job.error)),
    h("td", {}, h("span", { class: "label" }, "Mode"), h("span", {}, job.mode, job.backend && h("span", { class: "soft" }, ` on ${job.backend}`)),
      job.attempts > 1 && h("span", { class: "soft small" }, many(job.attempts, "try", "tries"))),
    h("td", {}, h("span", { class: "label" }, "Began"), when(job.started_at)),
    h("td", { class: "n" }, h("span", { class: "label" }, "Took"), span(job.duration)),
    h("td", { class: "n" }, h("span", { class: "label" }, "Written / read"), `${count(job.rows_written)} / ${count(job.rows_read)}`));
  return h("table", { class: "stacked" },
    h("thead", {}, h("tr", {}, ["Outcome", "View", "Mode", "Began", "Took", "Rows written / read"].map((text, i) => h("th", { scope: "col", class: i > 3 ? "n" : "" }, text)))),
    h("tbody", {}, items.map(row)));
}

function drawJobs() {
  const about = `Materialisation, ${daysShown()}: jobs, and runs that belong to none.`;
  const told = state.doc.jobs;
  if (told.problem) return part("jobs", "Jobs", about, notice(told.problem, "The records of jobs"));
  const names = filtered() ? new Set(matching().map((view) => view.name)) : null;
  const items = told.items.filter((job) => !names || names.has(job.view));
  if (!items.length) return part("jobs", "Jobs", about, h("p", { class: "card empty" }, told.items.length ? "None of the views that are shown has had a job." : "No job in this time: e2i-fs materialize-incremental runs one."));
  const byView = new Map();
  for (const job of items) byView.set(job.view, [...(byView.get(job.view) || []), job]);
  const failing = ([, jobs]) => jobs.filter((job) => ["failed", "timed out"].includes(job.outcome)).length;
  const lanes = [...byView].sort((a, b) => failing(b) - failing(a) || a[0].localeCompare(b[0], "en"));
  const outcomes = [...new Set(items.map((job) => job.outcome))];
  return part("jobs", "Jobs", about,
    h("div", { class: "card pad" }, h("div", { class: "lanes" }, timeAxis(), firstOf("job lanes", lanes, 24, (shown) => shown.map(([view, jobs]) => jobLane(view, jobs)))),
      h("p", { class: "legend soft small" }, outcomes.map((outcome) => mark(outcome, `${outcome} ${count(items.filter((job) => job.outcome === outcome).length)}`)))),
    h("div", { class: "card" }, firstOf("job table", items, 10, jobTable)),
    told.left_out > 0 && h("p", { class: "soft small" }, `${count(told.left_out)} older ones are left out; store.jobs().history() has them.`));
}
