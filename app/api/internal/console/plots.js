// Plots as inline SVG. All texts are text nodes; the figures are in the picture's name, too, for those who hear it.

import { el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52;
const BOTTOM = 18;
const TOP = 8;

export function shape(tag, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

function canvas(node, height, name) {
  const width = Math.max(200, Math.floor(node.clientWidth || 400));
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
  return [svg, width];
}

// The next round number of 1, 2, 5, 10 …
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

export function legend(node, names) {
  const kinds = ["one", "two", "three"];
  node.replaceChildren(
    ...names.map((name, i) => {
      const sample = shape("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
      sample.append(shape("line", { class: `key ${kinds[i]}`, x1: 0, y1: 4, x2: 24, y2: 4 }));
      return el("span", {}, sample, name);
    }),
  );
}

// `series` are lists of as many numbers, null where there is none. `from` and `to` stand at the ends of the axis.
export function lines(node, series, { name, from, to, unit, least = 1, height = 120 }) {
  const [svg, width] = canvas(node, height, name);
  const known = series.flat().filter((value) => value !== null && value !== undefined);
  const top = roundUp(Math.max(least, ...known));
  const count = Math.max(2, ...series.map((values) => values.length));
  const x = (i) => LEFT + (i / (count - 1)) * (width - LEFT - 6);
  const y = (value) => TOP + (1 - value / top) * (height - TOP - BOTTOM);
  for (const value of [0, top / 2, top]) {
    svg.append(shape("line", { class: "axis", x1: LEFT, x2: width, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, unit(value)));
  }
  svg.append(shape("text", { x: LEFT, y: height - 3 }, from));
  svg.append(shape("text", { x: width, y: height - 3, "text-anchor": "end" }, to));
  ["one", "two", "three"].slice(0, series.length).forEach((kind, i) => draw(svg, series[i], kind, x, y));
  node.replaceChildren(svg);
}

// A line for each run of known values; one that stands alone is a point.
function draw(svg, values, kind, x, y) {
  let run = [];
  const end = () => {
    if (run.length > 1) svg.append(shape("polyline", { class: kind, points: run.join(" ") }));
    if (run.length === 1) {
      const [cx, cy] = run[0].split(",");
      svg.append(shape("circle", { class: kind, cx, cy, r: 3 }));
    }
    run = [];
  };
  values.forEach((value, i) => {
    if (value === null || value === undefined) end();
    else run.push(`${x(i).toFixed(1)},${y(value).toFixed(1)}`);
  });
  end();
}

// `buckets` are {up_to_ms, count}, the smallest first.
export function spread(node, buckets, { name, unit }) {
  const height = 84;
  const [svg, width] = canvas(node, height, name);
  const most = Math.max(1, ...buckets.map((bucket) => bucket.count));
  const step = Math.min(48, (width - LEFT) / Math.max(1, buckets.length));
  const room = height - TOP - BOTTOM;
  svg.append(shape("line", { class: "axis", x1: LEFT, x2: width, y1: TOP + room, y2: TOP + room }));
  svg.append(shape("text", { x: LEFT - 6, y: TOP + 8, "text-anchor": "end" }, String(most)));
  buckets.forEach((bucket, i) => {
    const tall = Math.max(2, (bucket.count / most) * room);
    const bar = shape("rect", { class: "bar", x: LEFT + i * step + 1, y: TOP + room - tall, width: Math.max(1, step - 2), height: tall });
    bar.append(shape("title", {}, `up to ${unit(bucket.up_to_ms)}: ${bucket.count}`));
    svg.append(bar);
  });
  if (buckets.length) {
    svg.append(shape("text", { x: LEFT, y: height - 3 }, `≤ ${unit(buckets[0].up_to_ms)}`));
    const last = LEFT + buckets.length * step;
    const where = { x: Math.max(last, LEFT + 130), y: height - 3, "text-anchor": "end" };
    if (buckets.length > 1) svg.append(shape("text", where, `≤ ${unit(buckets.at(-1).up_to_ms)}`));
  }
  node.replaceChildren(svg);
}

// A bar that is so full, from 0 to 1, of the width that there is.
export function gauge(share, name) {
  const svg = shape("svg", { width: "100%", height: 10, role: "img", "aria-label": name });
  svg.append(shape("rect", { class: "ground", width: "100%", height: 10, rx: 3 }));
  const used = `${Math.min(1, Math.max(0, share)) * 100}%`;
  svg.append(shape("rect", { class: share >= 0.9 ? "bar full" : "bar", width: used, height: 10, rx: 3 }));
  return svg;
}

// A span of time within a whole, as shares of it.
export function span(begin, length, kind) {
  const svg = shape("svg", { width: "100%", height: 10, "aria-hidden": "true" });
  const from = Math.min(1, Math.max(0, begin));
  const to = Math.min(1, begin + length); // it may have been over before: what was started ahead
  svg.append(shape("rect", { class: "ground", y: 4, width: "100%", height: 2 }));
  if (to >= 0) svg.append(shape("rect", { class: kind, x: `${from * 99.6}%`, width: `${Math.max(0.4, (to - from) * 100)}%`, height: 10 }));
  return svg;
}
