// Panels that only show: what `/internal/status`, `/internal/recent` and `/internal/usage` say.

import { by, bytes, clock, el, facts, keep, ms, number, percent, plural, table, write } from "./dom.js";
import { gauge, legend, lines, spread } from "./plots.js";

const SECONDS = [60, 300];
const MINUTES = [15, 60];
const FRESH_MS = 60_000;

let samples = [];
let shownRecent = null;

export function forget() {
  samples = [];
  shownRecent = null;
}

// /internal/status

export function showStatus(status) {
  showChild(status);
  showLoad(status);
  showAccount(status.account_limits);
  showWorker(status);
  showThreads(status);
}

const EXIT = (code) => (code === null ? "" : code < 0 ? `signal ${-code}` : `exit code ${code}`);

const WHAT = {
  ready: ["good", "ready"],
  replaced: ["wait", "took over from another"],
  ended_by_us: ["bad", "ended by the gateway"],
  exited: ["bad", "exited"],
  retired: ["wait", "retired"],
};

function showChild({ child, history, versions, at }) {
  const last = child.last_upstream_failure;
  const processes = child.pid ?? child.pids.join(", ");
  const rows = [
    ["State", el("strong", { class: child.state === "ready" ? "good" : "bad" }, child.state)],
    ["Generation", number(child.generation)],
    ["Process", processes || "none"],
    ["Backend", child.backend],
    ["Codex", versions.codex],
    ["Handshake", ms(child.handshake_ms)],
    ["Restarts", `${number(child.restarts)}, ${number(child.failures)} failed in a row`],
    ["Backoff", child.backoff_ms ? ms(child.backoff_ms) : ""],
    ["Retiring", child.retiring ? number(child.retiring) : ""],
    ["Last exit", child.last_exit && [child.last_exit.reason, EXIT(child.last_exit.exit_code)].filter(Boolean).join(", ")],
    ["Upstream", last && `not reached at ${clock(last.at)}: ${last.cause}. ${last.detail}`],
    ["Oddities", Object.entries(child.counters).map(([kind, count]) => `${kind} ${count}`).join(", ")],
  ];
  keep("child-facts", rows.map(([, value]) => (value instanceof Node ? value.textContent : value)), () => facts(rows));
  const isFresh = (moment) => new Date(at) - new Date(moment.at) < FRESH_MS;
  const marked = history.map((moment) => [moment, isFresh(moment)]);
  keep("child-history", marked, () => (history.length ? historyTable(marked) : el("p", { class: "help" }, "Nothing yet.")));
}

function historyTable(marked) {
  const rows = marked.map(([moment, isFresh]) => {
    const [kind, words] = WHAT[moment.what] ?? ["", moment.what];
    const why = [moment.reason === moment.what ? "" : moment.reason, EXIT(moment.exit_code), moment.detail].filter(Boolean).join(", ");
    return [clock(moment.at), el(isFresh ? "strong" : "span", { class: kind }, words), moment.pid ?? "", why];
  });
  return table([["When"], ["What"], ["Process", "number"], ["Why", "wrap"]], rows);
}

const LOAD = ["open streams", "turns", "waiting"];

function showLoad(status) {
  const { turns, queue, streams, background } = status;
  const tiles = [
    ["Open streams", streams.used, streams.limit],
    ["Turns", turns.used, turns.limit],
    ["Waiting", queue.waiting, queue.limit],
    ["Background", background.used, background.limit],
  ];
  keep("load-tiles", tiles, () =>
    tiles.map(([name, used, limit]) =>
      el("div", { class: "tile" }, el("span", { class: "help" }, name), el("strong", {}, number(used), el("small", {}, ` of ${number(limit)}`))),
    ),
  );
  samples.push([streams.used, turns.used, queue.waiting]);
  samples = samples.slice(-SECONDS.at(-1));
  if (!by("load-legend").hasChildNodes()) legend(by("load-legend"), LOAD);
  const room = SECONDS.find((seconds) => samples.length <= seconds);
  const series = LOAD.map((_, i) => [...Array(room - samples.length).fill(null), ...samples.map((sample) => sample[i])]);
  const ago = plural(room / 60, "minute");
  lines(by("load-plot"), series, {
    name: `The last ${ago}; now ${LOAD.map((name, i) => `${name} ${samples.at(-1)[i]}`).join(", ")}`,
    from: `${ago} ago`,
    to: "now",
    height: 170,
    unit: (value) => (Number.isInteger(value) ? number(value) : ""),
    least: 4,
  });
  const names = [...new Set([streams, turns, background].flatMap((use) => Object.keys(use.by_key)))].sort();
  const rows = names.map((name) => [name, ...[streams, turns, background].map((use) => number(use.by_key[name] ?? 0))]);
  keep("load-keys", rows, () =>
    rows.length ? table([["Key"], ["Streams", "number"], ["Turns", "number"], ["Background", "number"]], rows) : [],
  );
}

function showAccount(windows) {
  keep("account-limits", windows, () => {
    const names = Object.keys(windows);
    if (!names.length) return el("p", { class: "help" }, "The upstream has reported none.");
    return names.map((name) => {
      const { used_percent: used, window_minutes: minutes, resets_at: resets } = windows[name];
      const length = minutes ? ` (${minutes >= 1440 ? `${Math.round(minutes / 1440)} days` : `${Math.round(minutes / 60)} h`})` : "";
      const words = `${name}${length}: ${used} % used${resets ? `, starts again at ${clock(resets * 1000)}` : ""}`;
      return el("div", {}, el("p", {}, words), gauge(used / 100, words));
    });
  });
}

function showWorker({ worker, reload, versions, child, answer_store: store, upstream }) {
  const rows = [
    ["Worker", `generation ${worker.generation}, process ${worker.pid}`],
    ["Accepts", worker.serving === worker.generation ? "this worker" : `generation ${worker.serving}`],
    ["Last reload", reload.state === "none" ? "none" : `${reload.state}, ${clock(reload.at)}`],
    ["", reload.detail],
    ["Waits for", reload.waits_for],
    ["Gateway", versions.gateway],
    ["Upstream", upstream],
    ["Speaks to it as", child.user_agent],
    ["Answers stored", `${number(store.answers)}, ${bytes(store.bytes)} (${store.kind})`],
    ["Store", store.problem],
  ];
  keep("worker-facts", rows, () => facts(rows));
}

// /internal/recent

const QUANTILES = ["half are faster", "95 % are faster"];

export function showRecent(recent) {
  shownRecent = recent;
  const byMinute = filled(recent.minutes);
  showDurations("first", "first token", recent, "first_token_ms", byMinute);
  showDurations("duration", "duration", recent, "duration_ms", byMinute);
  showErrors(recent);
  showCache(recent.minutes, byMinute);
  keep("worker-all", recent.workers, () =>
    recent.workers.length > 1
      ? table([["Worker"], ["Open streams", "number"]], recent.workers.map((one) => [one.pid, number(one.streams)]))
      : [],
  );
}

export function redraw() {
  if (shownRecent) showRecent(shownRecent);
}

// One place for each of the last minutes, an hour at most: minutes in which nothing ended are not told.
function filled(minutes) {
  const now = Math.floor(Date.now() / 60_000);
  const ages = minutes.map((minute) => Math.max(0, now - Math.floor(new Date(minute.at) / 60_000)));
  const room = MINUTES.find((most) => ages.every((age) => !(age >= most))) ?? MINUTES.at(-1);
  const places = Array(room).fill(null);
  minutes.forEach((minute, i) => {
    if (ages[i] < room) places[room - 1 - ages[i]] = minute;
  });
  return places;
}

const since = (byMinute) => (byMinute.length === 60 ? "an hour ago" : `${byMinute.length} minutes ago`);

function showDurations(id, what, recent, member, byMinute) {
  const { count, p50, p95, p99, buckets } = recent[member];
  const over = `the last ${recent.spread_minutes} minutes`;
  const words = count ? `${plural(count, "answer")} in ${over}: p50 ${ms(p50)}, p95 ${ms(p95)}, p99 ${ms(p99)}.` : `No answer in ${over}.`;
  write(`${id}-words`, words);
  if (!by(`${id}-legend`).hasChildNodes()) legend(by(`${id}-legend`), QUANTILES);
  const series = ["p50", "p95"].map((quantile) => byMinute.map((minute) => minute && minute[member][quantile]));
  lines(by(`${id}-plot`), series, { name: `${what} by minute. ${words}`, from: since(byMinute), to: "now", unit: ms });
  write(`${id}-caption`, count ? `Answers by ${what}, ${over}` : "");
  if (count) spread(by(`${id}-spread`), buckets, { name: `Answers by ${what}: ${words}`, unit: ms });
  else by(`${id}-spread`).replaceChildren();
}

function showErrors({ errors, since: begun }) {
  const faults = new Map();
  for (const { fault, count } of errors) faults.set(fault, (faults.get(fault) ?? 0) + count);
  const total = [...faults.values()].reduce((sum, count) => sum + count, 0);
  const parts = [...faults].sort((a, b) => b[1] - a[1]).map(([fault, count]) => `${fault} ${number(count)}`);
  const start = Date.now() - new Date(begun) < 3_600_000 ? ` This worker counts since ${clock(begun)}.` : "";
  write("errors-words", (total ? `${plural(total, "error")}, by whose fault: ${parts.join(", ")}.` : "None.") + start);
  keep("errors-table", errors, () => {
    if (!errors.length) return [];
    const rows = errors.map((error) => [
      el("code", {}, error.code),
      el("span", { class: error.fault === "clients" ? "" : "bad" }, error.fault),
      number(error.count),
      clock(error.last_at),
      error.last_route,
      el("button", { type: "button", class: "link mono", "data-request": error.last_request_id }, error.last_request_id),
    ]);
    return table([["Code"], ["Fault"], ["Count", "number"], ["Last"], ["Route"], ["Request (its trace)"]], rows);
  });
}

function showCache(minutes, byMinute) {
  const sum = (member) => minutes.reduce((total, minute) => total + minute[member], 0);
  const [input, cached, output] = ["input_tokens", "cached_tokens", "output_tokens"].map(sum);
  const words = input
    ? `${percent(cached, input)} of ${number(input)} input tokens of the last hour came from the upstream's cache; ${number(output)} tokens of output.`
    : "No tokens in the last hour.";
  write("cache-words", words);
  if (!by("cache-legend").hasChildNodes()) legend(by("cache-legend"), ["cached share of the input"]);
  const shares = byMinute.map((minute) => (minute && minute.input_tokens ? (minute.cached_tokens / minute.input_tokens) * 100 : null));
  lines(by("cache-plot"), [shares], { name: words, from: since(byMinute), to: "now", unit: (value) => `${value} %`, least: 100 });
}

function showThreads({ child: { kept, warm } }) {
  const gone = Object.entries(kept.evicted).map(([reason, count]) => `${reason} ${count}`).join(", ");
  const rows = [
    ["Kept threads", `${number(kept.count)}, about ${bytes(kept.size)}`],
    ["Given up", gone || "none"],
    ["Warm threads", number(warm)],
  ];
  keep("cache-facts", rows, () => facts(rows));
}

// /internal/usage

const USE = ["requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"];

export function showUsage({ days, rows }) {
  write("keys-words", rows.length ? `Use of the last ${plural(days, "day")}, by day, key and model.` : `No use in the last ${plural(days, "day")}.`);
  keep("keys-table", rows, () => {
    if (!rows.length) return [];
    const numbers = USE.map((name) => [name.replace("_", " ").replace(/^./, (first) => first.toUpperCase()), "number"]);
    return table(
      [["Day"], ["Key"], ["Model"], ...numbers],
      rows.map((row) => [row.day, row.key, row.model, ...USE.map((name) => number(row[name]))]),
    );
  });
}

export function showNoUsage(problem) {
  write("keys-words", problem);
  keep("keys-table", problem, () => []);
}
