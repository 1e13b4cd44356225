// Panels that change something: maintenance and the log level.

import { by, clock, facts, keep, show, write } from "./dom.js";
import { ask } from "./gateway.js";

const SET_BY = {
  setting: "the setting PROXY_MAINTENANCE_MODE",
  endpoint: "an operator, with the admin key",
  until: "nobody: it ended by itself, as was ordered",
};

export function showMaintenance(state) {
  const text = state.enabled ? "In maintenance: /v1 is answered 503." : "Open: /v1 is answered.";
  write("maintenance-text", text);
  by("maintenance-state").dataset.state = state.enabled ? "wait" : "good";
  const rows = [
    ["Set by", SET_BY[state.set_by] ?? state.set_by],
    ["Since", state.since && clock(state.since)],
    ["Reason", state.reason],
    ["Until", state.until && clock(state.until)],
    ["Clients wait", state.retry_after_s && `${state.retry_after_s} s`],
    ["The setting", state.configured ? "closed" : "open"],
  ];
  keep("maintenance-facts", rows, () => facts(rows));
  by("maintenance-end").disabled = !state.enabled;
  write("maintenance-begin", state.enabled ? "Change the reason" : "Close /v1");
}

let shownLevel = null;

export function forget() {
  shownLevel = null;
}

// The choice follows the level when that changes, and not while somebody chooses.
export function showLevel({ level, configured }) {
  if (level !== shownLevel) by("level-choice").value = level;
  shownLevel = level;
  write("level-words", configured !== level ? `Now ${level}; ${configured} after the next reload.` : `Now ${level}.`);
}

// Says in its panel what did not work; `whenRefused` hears of it, too, for a key may have ended.
async function act(id, whenRefused, action) {
  show(id, "");
  try {
    await action();
  } catch (error) {
    show(id, error.message);
    whenRefused(error);
  }
}

export function listen(whenRefused) {
  const order = (body, method = "POST") =>
    act("maintenance-problem", whenRefused, async () => showMaintenance(await ask("/internal/maintenance", { method, body })));
  by("maintenance-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const until = by("maintenance-until").value;
    const ordered = { enabled: true, reason: by("maintenance-reason").value };
    if (until) ordered.until = new Date(until).toISOString();
    order(ordered);
  });
  by("maintenance-end").addEventListener("click", () => order({ enabled: false }));
  by("maintenance-reset").addEventListener("click", () => order(undefined, "DELETE"));
  by("level-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = { level: by("level-choice").value };
    act("level-problem", whenRefused, async () => showLevel(await ask("/internal/log-level", { method: "POST", body })));
  });
}
