// Talking to the server: what can pass is tried again, and an event is sent until it is acknowledged.

import { trouble } from "./dom.js";

const RETRY_S = [0.5, 1, 2, 4, 5];

class Fault extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The answer to a GET, or to a POST of `body`. */
export async function ask(path, body) {
  const sent = body === undefined ? {} : {
    method: "POST",
    headers: { "content-type": "application/json", "x-rushes-review": "1" },
    body: JSON.stringify(body),
  };
  let answer;
  let text;
  try {
    answer = await fetch(path, { ...sent, cache: "no-store" });
    text = await answer.text(); // may break off as well
  } catch {
    throw new Fault(0, "the server does not answer");
  }
  if (answer.ok) return JSON.parse(text);
  let message = text;
  try { message = JSON.parse(text).message; } catch { /* a plain sentence */ }
  throw new Fault(answer.status, message);
}

export const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
/** Seconds to wait after so many tries. */
export const patience = (tries) => RETRY_S[Math.min(tries, RETRY_S.length - 1)];
const later = (fault) => [0, 401, 500, 502, 503, 504].includes(fault.status); // worth another try

/** What `attempt` gives; what can pass is tried again for ever, and said. */
export async function insist(attempt, title) {
  for (let tries = 0; ; tries += 1) {
    try {
      const found = await attempt();
      if (tries) trouble("");
      return found;
    } catch (fault) {
      if (!(fault instanceof Fault) || !later(fault)) throw fault;
      const way = fault.status === 401 ? "This link has ended: open the one that the command prints now." : "Trying again …";
      trouble(title, `${fault.message}. ${way}`);
      await pause(patience(tries));
    }
  }
}

// The outbox: what was said and is not yet acknowledged survives a reload.

// Each event has an entry of its own, so that two tabs of one link do not write over each other's.

const BOX = `rushes-review:${location.pathname}:`;

let outbox = kept(); // events that are not acknowledged, the oldest first

/** What a page before this one, or another tab, could not send yet. */
function kept() {
  try {
    return Object.entries(localStorage).filter(([key]) => key.startsWith(BOX)).map(([, text]) => JSON.parse(text))
      .sort((one, other) => one.said_at - other.said_at).map(({ event }) => event);
  } catch {
    return []; // nothing was kept, or it cannot be read
  }
}

function keep(event) {
  outbox.push(event);
  try {
    const said_at = performance.timeOrigin + performance.now();
    localStorage.setItem(BOX + event.client_id, JSON.stringify({ said_at, event }));
  } catch { /* no room, or not allowed: then it survives no reload */ }
}

function forget({ client_id: name }) {
  outbox = outbox.filter((event) => event.client_id !== name);
  try {
    localStorage.removeItem(BOX + name);
  } catch { /* nothing was kept */ }
}

let flushing = Promise.resolve();

/** Sends an event after all that were said before; the state after it. Faults that stay are thrown. */
export function say(event) {
  const sent = { ...event, client_id: crypto.randomUUID() };
  keep(sent);
  flushing = flushing.catch(() => null).then(() => flush(sent.client_id));
  return flushing;
}

/** Waits until nothing is on its way, whatever became of it. */
export const settled = () => flushing.catch(() => null);

/** Sends what a page before this one could not, and says what of it the server does not take. */
export async function sendLeft() {
  const lost = [];
  flushing = flush("", lost);
  await flushing;
  if (lost.length) trouble("NOT TAKEN", `${lost.join(". ")}.`);
}

/** What an event said, for whoever does not see its clip. */
function wordsOf({ kind, verdict, item, note }) {
  const words = { verdict: `the verdict "${verdict}"`, note: `the note "${note}"`, edit: "a correction", undo: "an undo" }[kind] ?? kind;
  return `Kept from before a reload: ${words}${item ? ` of item ${item}` : ""}`;
}

async function flush(wanted, lost = []) {
  let state = null;
  for (let first = outbox[0]; first; first = outbox[0]) {
    try {
      state = await insist(() => ask("api/event", first), "NOT SAVED");
      forget(first);
    } catch (fault) {
      forget(first);
      if (first.client_id === wanted) throw fault;
      lost.push(`${wordsOf(first)}: ${fault.message}`);
    }
    if (first.client_id === wanted) break;
  }
  return state;
}
