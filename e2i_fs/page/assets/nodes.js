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

/** What an element is found by when its place has been drawn anew: its key, or what it is, leads to and says. */
const likeness = (element) => element.dataset.key || [element.tagName, element.id, element.getAttribute("href"), element.textContent].join(" ");

/** Replace what is in a place; the focus stays on what is like it there, and what scrolls in it stays where it was. */
function redraw(place, ...children) {
  const focused = place !== document.activeElement && place.contains(document.activeElement) ? document.activeElement : null;
  const alike = (element) => [...place.querySelectorAll(element.tagName)].filter((each) => likeness(each) === likeness(element));
  const nth = focused && alike(focused).indexOf(focused);
  const scrolled = [...place.querySelectorAll("[data-scrolls]")].map((each) => [each.dataset.scrolls, each.scrollLeft, each.scrollTop]);
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  for (const each of place.querySelectorAll("[data-scrolls]")) {
    const [, left, top] = scrolled.find(([name]) => name === each.dataset.scrolls) || [null, 0, 0];
    each.scrollTo({ left, top, behavior: "instant" });
  }
  if (!focused) return;
  const found = alike(focused);
  if (found.length) (found[nth] || found[0]).focus({ preventScroll: true });
}
