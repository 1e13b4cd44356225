// Panel of traces: the list of the last turns, and one request as a timeline.

import { by, clock, el, facts, keep, ms, number, table, write } from "./dom.js";
import { ask, Gone } from "./gateway.js";
import { span } from "./plots.js";

let chosen = null;

export function forget() {
  chosen = null;
}

export async function refresh() {
  const { enabled, content, traces } = await ask("/internal/traces");
  const words = enabled ? `The last ${traces.length} turns, the one that ended last first.` : "Traces are off (PROXY_TRACE_BUFFER).";
  write("traces-words", words + (content ? " Prompts and answers are in them (PROXY_TRACE_CONTENT)." : ""));
  keep("traces-table", [traces, chosen], () => (traces.length ? list(traces) : []));
}

function list(traces) {
  const rows = traces.map((trace) => [
    clock(trace.at),
    el("button", { type: "button", class: "link mono", "data-request": trace.request_id, "aria-pressed": String(trace.request_id === chosen) }, trace.request_id),
    trace.route,
    trace.model,
    el("span", { class: trace.outcome === "failed" || trace.outcome === "not_begun" ? "bad" : "" }, trace.outcome),
    trace.error_code ?? "",
    ms(trace.first_event_ms),
    ms(trace.duration_ms),
  ]);
  const columns = [["At"], ["Request"], ["Route"], ["Model"], ["Outcome"], ["Error"], ["First event", "number"], ["Duration", "number"]];
  return table(columns, rows);
}

export async function open(requestId) {
  chosen = requestId;
  for (const button of document.querySelectorAll("#traces [data-request]")) {
    button.setAttribute("aria-pressed", String(button.dataset.request === requestId));
  }
  const found = await ask(`/internal/traces/${encodeURIComponent(requestId)}`).catch((error) => {
    if (error instanceof Gone || error.status !== 404) throw error;
    return null;
  });
  const close = el("button", { type: "button", class: "quiet" }, "Close");
  close.addEventListener("click", () => {
    chosen = null;
    by("trace").replaceChildren();
    by("traces-title").scrollIntoView();
  });
  const head = el("h3", {}, `Request ${requestId}`);
  const parts = found ? found.traces.flatMap(timeline) : [el("p", {}, "There is no trace of this request: it had no turn, or too many came after it.")];
  by("trace").replaceChildren(head, ...parts, el("div", { class: "buttons" }, close));
  by("trace").focus();
  by("trace").scrollIntoView({ block: "nearest" });
}

// One turn: what was asked, then its calls and events in the order of their beginnings, each with its time in the whole.
function timeline(trace) {
  const { usage, failure, queue_ms: queue } = trace;
  const head = facts([
    ["Turn", `${trace.outcome}${trace.error_code ? `, ${trace.error_code}` : ""}, ${ms(trace.duration_ms)}, at ${clock(trace.at)}`],
    ["Asked", `${trace.route}, ${trace.model ?? "no model"}${trace.stream ? ", a stream" : ""}${trace.tools ? `, ${trace.tools} tools` : ""}`],
    ["Options", trace.options && Object.entries(trace.options).map(([name, value]) => `${name} ${value}`).join(", ")],
    ["Thread", [trace.thread_id, trace.kept_thread, trace.warm_thread].filter(Boolean).join(", ")],
    ["Process", `generation ${trace.generation ?? "–"}, worker ${trace.worker_pid}, ${trace.backend}`],
    ["Tokens", usage && `${number(usage.input)} in (${number(usage.cached_input)} cached), ${number(usage.output)} out (${number(usage.reasoning_output)} reasoning)`],
    ["Failure", failure && `${failure.kind}${failure.http_status ? `, HTTP ${failure.http_status}` : ""}`],
    ["Waited", queue ? ms(queue) : ""],
  ]);
  const calls = trace.calls.map((call) => ({
    name: call.method,
    at: call.at_ms,
    over: call.duration_ms,
    kind: "bar",
    more: `${call.status}, ${number(call.sent_bytes)} B sent, ${number(call.received_bytes)} B received`,
  }));
  const events = trace.events.map((event) => ({
    name: event.item ? `${event.method} (${event.item})` : event.method,
    at: event.at_ms,
    over: event.over_ms,
    kind: "bar event",
    more: `${number(event.count)} times, ${number(event.bytes)} B${event.injected ? ", of the prompt" : ""}`,
  }));
  const steps = [...calls, ...events].sort((a, b) => a.at - b.at);
  const whole = Math.max(1, trace.duration_ms ?? 0, ...steps.map((step) => step.at + step.over));
  const rows = steps.map((step) => [
    step.name,
    span(step.at / whole, step.over / whole, step.kind),
    `${step.at < 0 ? `${ms(-step.at)} ahead` : `at ${ms(step.at)}`}${step.over ? `, for ${ms(step.over)}` : ""}`,
    step.more,
  ]);
  const steady = table([["Call or event", "mono"], ["Time", "time-bar"], ["When"], ["What"]], rows);
  const left = Object.entries(trace.omitted).filter(([, count]) => count).map(([what, count]) => `${count} ${what}`);
  const scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Timeline of a turn" }, steady);
  const parts = [el("dl", {}, ...head), scroll];
  if (left.length) parts.push(el("p", { class: "help" }, `Not shown: ${left.join(", ")}.`));
  if (trace.content) {
    parts.push(el("details", {}, el("summary", {}, "Words"), el("pre", { tabindex: "0" }, JSON.stringify(trace.content, null, 2))));
  }
  return parts;
}
