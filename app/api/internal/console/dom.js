// Nodes and words. Whatever comes from the server becomes text here, never markup: there is no other way in this page.

export const by = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value) node.setAttribute(name, value);
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

export function show(id, text) {
  if (by(id).textContent !== text) by(id).textContent = text;
  by(id).hidden = !text;
}

export function write(id, text) {
  if (by(id).textContent !== text) by(id).textContent = text;
}

let drawn = new WeakMap();

// Draws again only what has changed, so that a selection, a focus and a place in a list stay where they are.
export function keep(id, facts, make) {
  const node = by(id);
  const mark = JSON.stringify(facts);
  if (drawn.get(node) === mark) return;
  drawn.set(node, mark);
  const [top, left] = [node.parentElement.scrollTop, node.parentElement.scrollLeft];
  node.replaceChildren(...[make()].flat());
  node.parentElement.scrollTop = top;
  node.parentElement.scrollLeft = left;
}

export function forgetAll() {
  drawn = new WeakMap();
  for (const node of document.querySelectorAll("[data-live]")) node.replaceChildren();
}

// `rows` are [term, text or node]; what is null or empty is left out.
export function facts(rows) {
  return rows
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]);
}

// `columns` are [heading, class]; a cell is a text, a number or a node.
export function table(columns, rows) {
  const cell = (tag, value, kind, more = {}) => el(tag, { class: kind, ...more }, value);
  const head = el("tr", {}, ...columns.map(([name, kind]) => cell("th", name, kind, { scope: "col" })));
  const body = rows.map((row) => el("tr", {}, ...row.map((value, i) => cell("td", value ?? "–", columns[i][1]))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
}

// Words for figures

const whole = new Intl.NumberFormat("en");

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ms`;
  if (value < 120_000) return `${(value / 1000).toFixed(1)} s`;
  return `${Math.round(value / 60_000)} min`;
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}

export const percent = (part, all) => (all ? `${Math.round((part / all) * 100)} %` : "–");

const sameDay = (one, other) => one.toDateString() === other.toDateString();

// The time on the reader's clock; with the date where it is of another day.
export function clock(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return "–";
  const time = date.toLocaleTimeString("en-GB");
  return sameDay(date, new Date()) ? time : `${date.toLocaleDateString("en-CA")} ${time}`;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
