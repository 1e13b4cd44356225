// The page at `/`. Everything that comes from outside becomes text, never markup. The key is in its field and nowhere else.
"use strict";

const base = new URL(".", location.href).href.replace(/\/$/, "");
const by = (id) => document.getElementById(id);
const POLL_MS = 5000;
const TYPING_MS = 400;

// What to paste names the address at which this page was opened.
for (const node of document.querySelectorAll("pre code, .address")) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    walker.currentNode.data = walker.currentNode.data.replaceAll("http://127.0.0.1:11435", base);
  }
}

function headers() {
  const key = by("key").value.trim();
  if (/[^ -~]/.test(key)) throw new Error("This is no key: no header can hold it.");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function show(id, text) {
  by(id).textContent = text;
  by(id).hidden = !text;
}

async function problemOf(response) {
  try {
    const { error } = await response.json();
    return `${response.status} ${error.code}: ${error.message}`;
  } catch {
    return `${response.status}: the answer is not the gateway's.`;
  }
}

// Whether it is ready

function tell(state, text) {
  by("state").dataset.state = state;
  by("state-text").textContent = text;
}

async function poll() {
  if (!document.hidden) {
    try {
      const response = await fetch(`${base}/readyz`, { cache: "no-store" });
      const { status, reason } = await response.json();
      if (status === "ready") tell("ready", "Ready.");
      else if (status === "maintenance") tell("waiting", "In maintenance: requests are answered 503.");
      else tell("waiting", `Not ready: ${reason || "it starts"}.`);
    } catch {
      tell("gone", "The gateway does not answer.");
    }
  }
  setTimeout(poll, POLL_MS);
}

// The models that this key may ask

let listing = 0;

async function listModels() {
  const mine = ++listing;
  let names = [];
  let problem = "";
  try {
    const sent = headers();
    const response = await fetch(`${base}/v1/models`, { headers: sent, cache: "no-store" });
    if (response.ok) names = (await response.json()).data.map((model) => model.id);
    else if (sent.Authorization) problem = await problemOf(response);
  } catch (error) {
    if (error instanceof TypeError) return; // the state says it
    problem = error.message;
  }
  if (mine !== listing) return;
  show("problem", problem);
  const chosen = by("model").value;
  by("model").replaceChildren(...(names.length ? names : [""]).map((name) => new Option(name || "first of the list", name)));
  if (names.includes(chosen)) by("model").value = chosen;
  if (names.length) nameModel();
}

function nameModel() {
  for (const node of document.querySelectorAll(".model")) node.textContent = by("model").value;
}

let typing = 0;
by("key").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(listModels, TYPING_MS); // without a key, too: a proxy may add one
});
by("model").addEventListener("change", nameModel);

// A question

let running = null;

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
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

function write(text) {
  const answer = by("answer");
  const isAtEnd = answer.scrollTop + answer.clientHeight >= answer.scrollHeight - 4;
  answer.append(text);
  if (isAtEnd) answer.scrollTop = answer.scrollHeight; // whoever has scrolled up is left there
}

function take(frame, seen) {
  if (frame.error) throw new Error(`${frame.error.code}: ${frame.error.message}`);
  if (frame.usage) seen.usage = frame.usage;
  if (frame.codex_metadata) seen.metadata = frame.codex_metadata;
  for (const choice of frame.choices || []) {
    const { reasoning_content: thought, content, refusal } = choice.delta || {};
    if (thought) {
      by("reasoning").hidden = false;
      by("thought").append(thought);
    }
    if (content || refusal) write(content || refusal);
    if (choice.finish_reason) seen.finish = choice.finish_reason;
  }
}

function costOf(seen) {
  const { usage, metadata, finish } = seen;
  const facts = [];
  if (metadata) facts.push(metadata.model, `first token after ${metadata.ttft_ms} ms`, `all after ${metadata.duration_ms} ms`);
  if (usage) facts.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  if (finish && finish !== "stop") facts.push(`finish_reason ${finish}`);
  return facts.join(" · ");
}

async function ask() {
  const body = {
    model: by("model").value,
    messages: [{ role: "user", content: by("question").value }],
    stream: true,
    stream_options: { include_usage: true },
  };
  if (by("effort").value) body.reasoning_effort = by("effort").value;
  const seen = {};
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: running.signal,
  });
  if (!response.ok) throw new Error(await problemOf(response));
  for await (const frame of frames(response)) take(frame, seen);
  if (!seen.finish) throw new Error("The stream broke off before its end.");
  show("cost", costOf(seen));
}

by("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (running) return;
  running = new AbortController();
  for (const id of ["problem", "cost", "answer", "thought"]) show(id, "");
  by("thought").hidden = by("answer").hidden = false;
  by("reasoning").hidden = true;
  by("ask").disabled = true;
  by("stop").hidden = false;
  try {
    if (!by("model").value) await listModels();
    if (by("model").value) await ask();
    else if (by("problem").hidden) show("problem", "Paste the key of this gateway first.");
  } catch (error) {
    const isOurs = error.name === "AbortError";
    show("problem", isOurs ? "Stopped." : error instanceof TypeError ? "The gateway does not answer." : error.message);
  }
  if (!by("answer").textContent) by("answer").hidden = true;
  running = null;
  by("ask").disabled = false;
  if (document.activeElement === by("stop")) by("ask").focus(); // what is hidden loses it
  by("stop").hidden = true;
});
by("stop").addEventListener("click", () => running && running.abort());
by("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) by("try").requestSubmit();
});

poll();
if (by("key").value) listModels(); // the browser has kept it
