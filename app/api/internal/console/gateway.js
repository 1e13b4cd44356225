// The gateway, as an operator's client: requests with the key, and what can come of them. The key is in this module's
// memory and nowhere else.

export const base = new URL("../..", import.meta.url).href.replace(/\/$/, "");

const PATIENCE_MS = 4000;

export class Gone extends Error {}

export class Refused extends Error {
  constructor(status, code, message) {
    super(code ? `${status} ${code}: ${message}` : message);
    this.status = status;
  }
}

let adminKey = "";

export const hasKey = () => Boolean(adminKey);

export function setKey(key) {
  adminKey = key;
}

export function checked(key) {
  if (/[^!-~]/.test(key)) throw new Refused(0, "", "This is no key: no header can hold it.");
  return key;
}

export async function problemOf(response) {
  try {
    const { error } = await response.json();
    return new Refused(response.status, error.code, error.message);
  } catch {
    return new Refused(response.status, "", `${response.status}: the answer is not the gateway's.`);
  }
}

// Resolves to the response, whatever its status; `patience` of 0 waits for as long as it takes.
export async function send(path, { method = "GET", body, key = adminKey, signal, patience = PATIENCE_MS } = {}) {
  const headers = { Authorization: `Bearer ${key}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const request = { method, headers, cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" };
  request.signal = signal ?? (patience ? AbortSignal.timeout(patience) : undefined);
  if (body !== undefined) request.body = JSON.stringify(body);
  try {
    return await fetch(base + path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone("The gateway does not answer.");
  }
}

export async function ask(path, options) {
  const response = await send(path, options);
  if (!response.ok) throw await problemOf(response);
  try {
    return await response.json();
  } catch {
    throw new Gone("The gateway does not answer.");
  }
}
