// Panel that asks a model: a stream of chat completions, shown as it comes.

import { by, el, ms, number, show, write } from "./dom.js";
import { ask, checked, problemOf, send } from "./gateway.js";

const MOST_FRAMES = 200;
const TYPING_MS = 400;

const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Return the weather in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  },
};

let isAdmins = false; // whether the admin key opens /v1, too
let running = null;
let listing = 0;

export function forget() {
  listing += 1;
  if (running) running.abort();
  isAdmins = false;
  by("try-key").value = "";
  by("try-model").replaceChildren();
  for (const id of ["try-problem", "try-answer", "try-cost"]) show(id, "");
  by("try-reasoning").hidden = by("try-raw").hidden = true;
}

const options = () => (isAdmins ? {} : { key: checked(by("try-key").value.trim()) });

function showModels(names) {
  const before = by("try-model").value;
  by("try-model").replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(before)) by("try-model").value = before;
}

// Whether the operator's key will do, and the models that it may ask.
export async function begin() {
  const mine = ++listing;
  const health = await ask("/healthz"); // which tells details to whoever may call /v1
  if (mine !== listing) return;
  isAdmins = "child" in health;
  by("try-own").hidden = isAdmins;
  if (isAdmins || by("try-key").value) await listModels();
}

async function listModels() {
  const mine = ++listing;
  let names = [];
  let problem = "";
  try {
    names = (await ask("/v1/models", options())).data.map((model) => model.id);
  } catch (error) {
    problem = isAdmins || by("try-key").value ? error.message : "";
  }
  if (mine !== listing) return;
  show("try-problem", problem);
  showModels(names);
}

async function* frames(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data) yield data;
    }
  }
}

function append(id, text) {
  const node = by(id);
  node.hidden = false;
  const isAtEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 4;
  node.append(text);
  if (isAtEnd) node.scrollTop = node.scrollHeight; // whoever has scrolled up is left there
}

function take(frame, seen) {
  if (frame.error) throw new Error(`${frame.error.code}: ${frame.error.message}`);
  if (frame.usage) seen.usage = frame.usage;
  if (frame.codex_metadata) seen.metadata = frame.codex_metadata;
  for (const choice of frame.choices ?? []) {
    const { reasoning_content: thought, content, refusal, tool_calls: calls } = choice.delta ?? {};
    if (thought) {
      by("try-reasoning").hidden = false;
      append("try-thought", thought);
    }
    if (content || refusal) append("try-answer", content || refusal);
    for (const call of calls ?? []) takeCall(call, seen.calls);
    if (choice.finish_reason) seen.finish = choice.finish_reason;
  }
}

function takeCall({ index, function: part }, calls) {
  if (!calls.has(index)) {
    const node = el("pre", { tabindex: "0", "aria-label": "Call of a tool" });
    calls.set(index, node);
    by("try-calls").append(node);
  }
  calls.get(index).append(part?.name ? `${part.name} ` : "", part?.arguments ?? "");
}

function costOf({ usage, metadata, finish }) {
  const told = [];
  if (metadata) told.push(metadata.model, `first token after ${ms(metadata.ttft_ms)}`, `all after ${ms(metadata.duration_ms)}`);
  if (usage) {
    const cached = usage.prompt_tokens_details?.cached_tokens;
    told.push(`${number(usage.prompt_tokens)} tokens in${cached ? ` (${number(cached)} cached)` : ""}, ${number(usage.completion_tokens)} out`);
  }
  if (finish && finish !== "stop") told.push(`finish_reason ${finish}`);
  return told.join(" · ");
}

async function stream() {
  const body = {
    model: by("try-model").value,
    messages: [{ role: "user", content: by("try-question").value }],
    stream: true,
    stream_options: { include_usage: true },
  };
  if (by("try-effort").value) body.reasoning_effort = by("try-effort").value;
  if (by("try-tool").checked) body.tools = [TOOL];
  const response = await send("/v1/chat/completions", { method: "POST", body, signal: running.signal, ...options() });
  if (!response.ok) throw await problemOf(response);
  const seen = { calls: new Map() };
  let count = 0;
  by("try-raw").hidden = false;
  for await (const data of frames(response)) {
    if (data === "[DONE]") break;
    count += 1;
    write("try-count", String(count));
    if (count <= MOST_FRAMES) by("try-frames").append(`${data}\n`);
    take(JSON.parse(data), seen);
  }
  if (!seen.finish) throw new Error("The stream broke off before its end.");
  show("try-cost", costOf(seen));
}

function clear() {
  for (const id of ["try-problem", "try-cost", "try-answer"]) show(id, "");
  for (const id of ["try-calls", "try-thought", "try-frames"]) by(id).replaceChildren();
  write("try-count", "0");
  by("try-reasoning").hidden = by("try-raw").hidden = true;
}

async function run() {
  if (running) return;
  running = new AbortController();
  const mine = running;
  clear();
  by("try-ask").disabled = true;
  by("try-stop").hidden = false;
  try {
    if (!by("try-model").value) throw new Error("There is no model to ask: a key of /v1 is needed.");
    await stream();
  } catch (error) {
    const isOurs = mine.signal.aborted;
    show("try-problem", isOurs ? "Stopped." : error instanceof TypeError ? "The gateway does not answer." : error.message);
  }
  running = null;
  by("try-ask").disabled = false;
  if (document.activeElement === by("try-stop")) by("try-ask").focus(); // what is hidden loses it
  by("try-stop").hidden = true;
}

export function listen() {
  let typing = 0;
  by("try-key").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(listModels, TYPING_MS);
  });
  by("try-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  by("try-stop").addEventListener("click", () => running && running.abort());
  by("try-question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) by("try-form").requestSubmit();
  });
}
