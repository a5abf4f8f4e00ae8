// Elements, made and changed without ever turning text into HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `el("p", {class: "soft"}, "text", child)`. A property that is null or false is left out. */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** The same in SVG. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) attr(node, name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Writes only what has changed, so that nothing is laid out again, or read out again, for nothing. */
export function attr(node, name, value) {
  if (value === null || value === false || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value === true ? "" : value);
  }
}

export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function shown(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

const rows = new WeakMap();

/** Makes the children of `parent` those of `items`, in order. A child lives as long as its key, and so keeps the focus
 *  and whatever is open in it. `make(item)` gives {node, update(item)}. */
export function keyed(parent, items, keyOf, make) {
  const before = rows.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const row = before.get(key) ?? make(item);
    row.update(item);
    after.set(key, row);
  }
  for (const [key, row] of before) if (!after.has(key)) row.node.remove();
  let next = parent.firstChild;
  for (const row of after.values()) {
    if (row.node === next) next = next.nextSibling;
    else parent.insertBefore(row.node, next);
  }
  rows.set(parent, after);
}
