// Elements made by hand. Text only ever becomes a text node, so nothing that a document says can be markup.
const SVG = "http://www.w3.org/2000/svg";

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (name === "css") for (const [rule, to] of Object.entries(value)) node.style.setProperty(rule, String(to));
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

const h = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

/** An icon of strokes, 16 by 16; it says nothing to a screen reader. */
const icon = (...paths) =>
  s("svg", { width: 16, height: 16, viewBox: "0 0 16 16", fill: "none", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" },
    paths.map((d) => s("path", { d })));

let made = 0;
const freshId = (stem) => `${stem}-${(made += 1)}`;

/** Replace what is in a place and keep the focus on what has the same key there. */
function redraw(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.closest("[data-key]") : null;
  const key = focused && focused.dataset.key;
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (key) {
    const again = [...place.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
    if (again) again.focus({ preventScroll: true });
  }
}
