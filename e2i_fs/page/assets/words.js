// How numbers, times and durations are written. Times are UTC; ages are as of when the document was made.
const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (n) => String(n).padStart(2, "0");
const many = (n, one, more = `${one}s`) => `${WHOLE.format(n)} ${n === 1 ? one : more}`;

/** A count; what is beyond 2**53 comes as text and stays as it is. */
const count = (n) => (n === null || n === undefined ? "–" : typeof n === "number" ? WHOLE.format(n) : String(n));

/** A value of a feature, short; texts of numbers (NaN, great integers, decimals) as they are. */
function figure(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "true" : "false";
  if (typeof value !== "number") {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return /^\d{4}-\d\d-\d\dT/.test(text) ? text.replace("T", " ").replace(/(:00)?([.]\d+)?[+]00:00$/, "").replace(" 00:00", "") : text;
  }
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return WHOLE.format(value);
  if (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-4)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function percent(part) {
  if (part === null || part === undefined || Number.isNaN(part)) return "–";
  if (part === 0 || part === 1) return `${part * 100} %`;
  if (part < 0.001) return "< 0.1 %";
  if (part > 0.999) return "> 99.9 %";
  return `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; n >= 1024 && at < units.length - 1; at += 1) n /= 1024;
  return `${n < 10 && at ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

/** A duration in its two greatest units. */
function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return seconds === 0 ? "0 s" : `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [name, size] = units[first];
  const whole = Math.floor(seconds / size);
  const [lesser, small] = units[first + 1];
  const rest = Math.floor((seconds - whole * size) / small);
  return rest && whole < 100 ? `${WHOLE.format(whole)} ${name} ${rest} ${lesser}` : `${WHOLE.format(whole)} ${name}`;
}

const moment = (iso) => Date.parse(iso);

function utc(iso) {
  const d = new Date(moment(iso));
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())} UTC`;
}

function utcShort(at) {
  const d = new Date(typeof at === "number" ? at : moment(at));
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
}

function ago(iso) {
  const seconds = (moment(state.doc.made_at) - moment(iso)) / 1000;
  return seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
}

const time = (iso, text) => h("time", { datetime: iso, title: utc(iso), class: "nowrap" }, text || ago(iso));
const when = (iso) => h("time", { datetime: iso, class: "nowrap" }, utcShort(iso), h("span", { class: "soft" }, ` · ${ago(iso)}`));
