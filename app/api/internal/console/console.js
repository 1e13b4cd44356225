// The operator's console: the key, the polls, and what is said where the gateway refuses or is gone.
import * as actions from "./actions.js";
import { by, clock, forgetAll, show, write } from "./dom.js";
import { ask, checked, Gone, hasKey, Refused, setKey } from "./gateway.js";
import * as panels from "./panels.js";
import * as traces from "./traces.js";
import * as tryit from "./tryit.js";

const STATUS_MS = 1000;
const RECENT_MS = 5000;
const TRACES_MS = 10_000;
const USAGE_MS = 60_000;

let session = 0; // counts up with each key, so that an answer to an earlier one is dropped
let goneSince = null;
let lastSeen = null;

function tell(state, text) {
  by("state").dataset.state = state;
  write("state-text", text);
}

// Locked and open

function lock(problem = "") {
  session += 1;
  setKey("");
  goneSince = lastSeen = null;
  problems.clear();
  for (const part of [actions, panels, traces, tryit]) part.forget();
  forgetAll();
  by("panels").hidden = by("nav").hidden = by("lock").hidden = true;
  by("unlock").hidden = false;
  by("key").value = "";
  delete by("panels").dataset.stale;
  tell("unknown", "Locked.");
  write("seen", "");
  document.title = "Operator console";
  show("problem", problem);
  by("key").focus();
}

async function unlock() {
  const mine = ++session;
  show("problem", "");
  by("open").disabled = true;
  try {
    setKey(checked(by("key").value.trim()));
    const status = await ask("/internal/status");
    if (mine !== session) return;
    by("key").value = "";
    by("unlock").hidden = true;
    by("panels").hidden = by("nav").hidden = by("lock").hidden = false;
    by("child-title").tabIndex = -1;
    by("child-title").focus();
    take(status);
    start(mine);
  } catch (error) {
    setKey("");
    show("problem", error.status === 401 ? `This key does not open /internal. ${error.message}` : error.message);
    by("key").focus();
    by("key").select();
  } finally {
    by("open").disabled = false;
  }
}

// What is asked, and how often

function start(mine) {
  repeat(mine, "status", STATUS_MS, async () => take(await ask("/internal/status")), STATUS_MS);
  repeat(mine, "recent", RECENT_MS, async () => panels.showRecent(await ask("/internal/recent")));
  repeat(mine, "traces", TRACES_MS, traces.refresh);
  repeat(mine, "usage", USAGE_MS, readUsage);
  tryit.begin().catch(() => {});
}

// Ends with its session. While the page is hidden nothing is asked.
async function repeat(mine, what, everyMs, action, afterMs = 0) {
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  while (mine === session) {
    if (!document.hidden) {
      try {
        await action();
        if (mine === session) solved(what);
      } catch (error) {
        if (mine === session) trouble(error, what);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

async function readUsage() {
  try {
    panels.showUsage(await ask("/internal/usage?days=7"));
  } catch (error) {
    if (error instanceof Gone || error.status === 401) throw error;
    panels.showNoUsage(error.status === 404 ? "Not available: this gateway has no /internal/usage." : `Not available. ${error.message}`);
  }
}

// What came of it

const WORDS = {
  ok: ["good", "Ready"],
  starting: ["wait", "Starting"],
  degraded: ["bad", "Degraded"],
  maintenance: ["wait", "In maintenance"],
  draining: ["wait", "Draining"],
};

function take(status) {
  if (!hasKey()) return;
  if (goneSince !== null) {
    problems.clear(); // the others are asked again soon
    tryit.begin().catch(() => {});
  }
  goneSince = null;
  lastSeen = status.at;
  delete by("panels").dataset.stale;
  showProblems();
  const [state, word] = WORDS[status.status] ?? ["wait", status.status];
  tell(state, status.reason ? `${word}: ${status.reason}` : `${word}.`);
  document.title = `${word}: operator console`;
  write("seen", `Generation ${status.child.generation}, as of ${clock(status.at)}`);
  panels.showStatus(status);
  actions.showMaintenance(status.maintenance);
  actions.showLevel(status.log_level);
}

const problems = new Map(); // of each poll, what the last answer was, if it was none

function solved(what) {
  if (problems.delete(what)) showProblems();
}

function showProblems() {
  show("problem", [...new Set(problems.values())].join(" "));
}

function trouble(error, what) {
  if (error instanceof Refused && error.status === 401) {
    lock(`The key is no longer accepted: it was changed, or /internal was closed. ${error.message}`);
    return;
  }
  if (error instanceof Gone) {
    goneSince ??= new Date();
    by("panels").dataset.stale = "true";
    tell("bad", "The gateway does not answer.");
    document.title = "Gone: operator console";
    const seen = lastSeen ? ` What is shown is of ${clock(lastSeen)}.` : "";
    problems.set(what, `No answer since ${clock(goneSince)}; asked again each second.${seen}`);
  } else {
    problems.set(what, error.message);
  }
  showProblems();
}

async function openTrace(requestId) {
  const mine = session;
  try {
    await traces.open(requestId);
    solved("trace");
  } catch (error) {
    if (mine === session) trouble(error, "trace");
  }
}

by("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  unlock();
});
by("lock").addEventListener("click", () => lock());
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-request]");
  if (button) openTrace(button.dataset.request);
});
let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(panels.redraw, 200);
});
actions.listen((error) => {
  if (error.status === 401) trouble(error, "action");
});
tryit.listen();
by("key").focus();
