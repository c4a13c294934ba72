// Saves drafts by themselves: debounced, one at a time, retried, versioned. Nothing of the document is used here, so that
// `node --test tests/js` can run it with a clock and a server of its own.

import { backoff } from "./annotate-model.js";

/** What the page says of its draft. */
export const SAID = { idle: "", waiting: "…", saving: "Saving…", saved: "Saved", failed: "Not saved – retrying" };

/** A refusal that trying again cannot change; `problem` is the server's problem+json. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.problem = problem ?? {};
  }
}

/** Ask the API. Resolves to its JSON; throws Refused for a 4xx, and any other error where trying again may help. */
export async function call(url, { method = "POST", body, fetch = globalThis.fetch, keepalive = false } = {}) {
  const response = await fetch(url, {
    method,
    keepalive,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => null);
  if (response.status >= 400 && response.status < 500 && response.status !== 429)
    throw new Refused(response.status, answer);
  throw new Error(`The server answered ${response.status}.`);
}

export class Saver {
  /**
   * @param save (draft, version) → {version, …}; see `call` for how it fails
   * @param onState told one of the keys of SAID
   * @param onSaved told the server's answer
   * @param onRefused told a Refused; saving stops until `resume`
   */
  constructor({ save, version, onState, onSaved, onRefused, delay = 700, timers = globalThis }) {
    Object.assign(this, { save, version, onState, onSaved, onRefused, delay, timers });
    this.pending = null;
    this.busy = false;
    this.stopped = false;
    this.tries = 0;
    this.timer = null;
  }

  /** `draft` is what stands on the page now. */
  note(draft) {
    if (this.stopped) return;
    this.pending = draft;
    this.onState("waiting");
    if (!this.busy && this.tries === 0) this.#later(this.delay);
  }

  /** Save at once what waits. */
  flush() {
    this.timers.clearTimeout(this.timer);
    return this.#send();
  }

  /** Nothing more is saved: the item was submitted, or another window saved first. */
  stop() {
    this.stopped = true;
    this.timers.clearTimeout(this.timer);
  }

  /** Go on over the stored `version`. */
  resume(version) {
    this.version = version;
    this.stopped = false;
    this.tries = 0;
  }

  #later(milliseconds) {
    this.timers.clearTimeout(this.timer);
    this.timer = this.timers.setTimeout(() => this.#send(), milliseconds);
  }

  async #send() {
    if (this.stopped || this.busy || this.pending === null) return;
    const draft = this.pending;
    this.pending = null;
    this.busy = true;
    this.onState("saving");
    try {
      const answer = await this.save(draft, this.version);
      this.version = answer.version;
      this.tries = 0;
      this.onSaved?.(answer);
      if (!this.stopped) this.onState(this.pending === null ? "saved" : "waiting");
    } catch (error) {
      if (this.stopped) return;
      if (error instanceof Refused) {
        this.pending ??= draft;
        this.stop();
        this.onRefused(error);
        return;
      }
      this.pending ??= draft;
      this.tries += 1;
      this.onState("failed");
    } finally {
      this.busy = false;
    }
    if (this.pending !== null) this.#later(this.tries ? backoff(this.tries) * 1000 : this.delay);
  }
}
