// The draft of an item: what it says, how long its person worked, how long they hold the item, and how all of it is saved by
// itself: debounced, one at a time, retried, versioned. Nothing of the document is used here, so that `node --test tests/js`
// can run it with a clock and a server of its own.

import { t } from "./text.js";

/** The choice where no response is shown, and the one where steps are labelled. */
export const WRITTEN = "written";
const LABELLED = "labelled";
const STEPS = {
  1: (step) => t("Step {step}: right", { step }),
  0: (step) => t("Step {step}: neutral", { step }),
  [-1]: (step) => t("Step {step}: wrong", { step }),
};

/** The response that a pairwise choice prefers, or null. */
export function preferred(choice) {
  if (choice === WRITTEN) return "A"; // what stands for the answer that is written
  return /^[AB][1-4]$/.test(choice) ? choice[0] : null;
}

/** What is missing where nothing is chosen of two responses: the words of the other `outcomes`, and their `keys`. */
export function unchosen({ tie, all_unacceptable: none }, keys) {
  const others = { tie: tie.toLowerCase(), none: none.toLowerCase(), tieKey: keys.tie, noneKey: keys.unacceptable };
  return t("First choose which response is better, or {tie} ({tieKey}), or {none} ({noneKey}).", others);
}

/** What a draft says of the judgement so far: `choice` is the form's, `ranked` what a ranking says that was begun. */
export function judged(choice, ranked) {
  if (["tie", "all_unacceptable", WRITTEN, LABELLED].includes(choice))
    return { outcome: choice, ranking: [], strengths: [] };
  if (ranked) return { outcome: "ranked", ...ranked };
  const best = preferred(choice);
  if (!best) return { outcome: null, ranking: [], strengths: [] };
  return { outcome: "ranked", ranking: [[best], [best === "A" ? "B" : "A"]], strengths: [Number(choice[1])] };
}

/** A draft in words, to tell two of them apart; `outcomes` are the words where nothing is ranked. */
export function described(
  { outcome, ranking = [], strengths = [], edits = {}, comment = "", step_labels: labels = [], right_step: right },
  outcomes = {},
) {
  const judged =
    outcome === "ranked"
      ? ranking.map((group, i) => group.join(" = ") + (i in strengths ? ` >${strengths[i] ?? "?"}` : "")).join(" ")
      : outcomes[outcome];
  const edited = Object.entries(edits).map(([name, text]) =>
    outcome === WRITTEN ? text : t("{name}, improved: {text}", { name, text }),
  );
  const steps = labels.map((label, place) => STEPS[label](place + 1)).join("\n");
  return [judged, steps, right, ...edited, comment].filter(Boolean).join("\n\n") || t("(nothing yet)");
}

/** The same for two drafts that say the same; the seconds of work do not count, nor what is said with nothing. */
export function fingerprint({ outcome = null, ranking = [], strengths = [], edits = {}, comment = "", ...details }) {
  const said = [details.attributes, details.flags, details.spans, details.step_labels, details.right_step].map(
    (each) => (each && Object.keys(each).length ? each : null),
  );
  return JSON.stringify([
    outcome,
    ranking,
    strengths,
    Object.entries(edits).sort(),
    comment,
    details.nothing_to_improve === true,
    said,
  ]);
}

/** Seconds to wait before try number `tries` (from 1): 1, 2, 4 … at most 30. */
export function backoff(tries) {
  return Math.min(30, 2 ** (tries - 1));
}

/** Counts seconds of work: `tick(now)` adds the time since the last tick while the page is seen and was used lately. */
export class ActiveClock {
  constructor(seconds = 0, idleAfter = 60) {
    this.seconds = seconds;
    this.idleAfter = idleAfter;
    this.ticked = null;
    this.used = null;
  }

  /** Something was typed, clicked, scrolled or pointed at. */
  use(now) {
    this.used = now;
  }

  /** Whether somebody works here at `now` (milliseconds). */
  working(now, visible) {
    return visible && this.used !== null && now - this.used < this.idleAfter * 1000;
  }

  tick(now, visible) {
    // a gap in the ticks means that the machine slept
    const passed = this.ticked === null ? 0 : Math.min(5, (now - this.ticked) / 1000);
    this.ticked = now;
    if (this.working(now, visible)) this.seconds += Math.max(0, passed);
    return this.seconds;
  }
}

/** How long the item is held. Times are in milliseconds; `seconds` may be short, where the item was opened late. */
export class Lease {
  constructor(seconds, now) {
    this.renewed(seconds, now);
  }

  renewed(seconds, now) {
    this.seconds = Math.max(4, seconds);
    this.end = now + seconds * 1000;
    this.warned = false;
    this.asked(now);
  }

  /** It was asked for, with or without success: a third of its length until the next time. */
  asked(now) {
    this.next = now + Math.max(2000, this.seconds * 333);
  }

  /** Somebody else has the item: nothing to renew, nothing to warn of. */
  lost() {
    this.next = Number.POSITIVE_INFINITY;
    this.warned = true;
  }

  /** Whether it is time to renew it, for somebody who works. */
  due(now) {
    return now >= this.next;
  }

  /** Whether to warn somebody who does not: once, when a quarter of it is left, two minutes at most. */
  ending(now) {
    if (this.warned || this.end - now >= Math.min(120, this.seconds / 4) * 1000) return false;
    this.warned = true;
    return true;
  }
}

/** `attributes` and `flags` of a draft, from the entries of the form. */
export function detailsOf(entries) {
  const attributes = {};
  const flags = {};
  for (const [field, value] of entries) {
    const [kind, name, what] = field.split(".");
    if (kind === "attribute" && value) attributes[name] = { ...attributes[name], [what]: Number(value) };
    if (kind === "flag") flags[name] = [...(flags[name] ?? []), what];
  }
  return { attributes, flags };
}

/** What the page says of its draft. */
export const SAID = {
  idle: "",
  waiting: "…",
  saving: t("Saving…"),
  saved: t("Saved"),
  failed: t("Not saved – retrying"),
  refused: t("Not saved"),
};

/** Requests that outlive their page may carry 64 KiB, all of them together. */
const OUTLIVES = 60 * 1024;

const sizeOf = (text) => new TextEncoder().encode(text).length;

/** A refusal that trying again cannot change; `problem` is the server's problem+json. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? t("The server answered {status}.", { status }));
    this.status = status;
    this.problem = problem ?? {};
  }
}

/** Ask the API. Resolves to its JSON; throws Refused for a 4xx, and any other error where trying again may help. */
export async function call(url, { method = "POST", body, fetch = globalThis.fetch } = {}) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const response = await fetch(url, {
    method,
    // a browser that leaves the page drops its requests, those excepted
    keepalive: text !== undefined && sizeOf(text) <= OUTLIVES,
    headers: { "content-type": "application/json" },
    body: text,
    signal: AbortSignal.timeout(15_000),
  });
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => null);
  if (response.status >= 400 && response.status < 500 && response.status !== 429)
    throw new Refused(response.status, answer);
  throw new Error(answer?.detail ?? t("The server answered {status}.", { status: response.status }));
}

export class Saver {
  /**
   * @param save (draft, version) → {version, …}; see `call` for how it fails
   * @param onState told one of the keys of SAID
   * @param onSaved told the server's answer
   * @param onRefused told a Refused; saving waits for `resume`
   */
  constructor({ save, version, onState, onSaved, onRefused, delay = 700, timers = globalThis }) {
    Object.assign(this, { save, version, onState, onSaved, onRefused, delay, timers });
    this.pending = null; // what has to be sent
    this.sent = null; // what is under way
    this.aside = null; // what `leave` sent beside that
    this.unanswered = new Set(); // what was sent without an answer: the server may have it all the same
    this.waits = null; // "submit" while a submit is under way, "refused" until somebody chooses
    this.refused = false; // what was sent last
    this.stopped = false;
    this.tries = 0;
    this.timer = null;
  }

  /** `draft` is what stands on the page now. */
  note(draft) {
    if (this.stopped) return;
    this.pending = draft;
    if (this.waits) return;
    this.onState("waiting");
    if (this.sent === null && this.tries === 0) this.#later(this.delay);
  }

  /** Save at once what waits. */
  flush() {
    this.timers.clearTimeout(this.timer);
    return this.#send();
  }

  /** The page is being left: send at once what waits, whatever else is under way. */
  leave() {
    const draft = this.pending;
    if (this.stopped || this.waits === "refused" || draft === null) return;
    if (this.sent === null && !this.waits) {
      this.flush();
    } else if (draft !== this.aside) {
      // Nobody may be here any more when the save under way is answered, so this one counts on it. Where that was wrong, or
      // the page stays after all, `pending` still has the draft, and the answer to the next save tells it as this window's.
      this.aside = draft;
      this.unanswered.add(fingerprint(draft));
      this.save(draft, this.version + (this.sent === null ? 0 : 1)).catch(() => null);
    }
  }

  /** Whether something is noted that the server has not confirmed. */
  get unsaved() {
    return !this.stopped && (this.pending !== null || this.sent !== null);
  }

  /** Whether leaving now could lose text: it cannot be sent, or is larger than what outlives the page. */
  get atRisk() {
    const unsaved = [this.pending, this.sent].filter((draft) => draft !== null);
    if (this.stopped || unsaved.length === 0) return false;
    return this.tries > 0 || this.refused || sizeOf(JSON.stringify(unsaved)) > OUTLIVES;
  }

  /** A submit is under way, and a save would race with it: only leaving the page saves meanwhile. */
  hold() {
    this.waits = "submit";
    this.timers.clearTimeout(this.timer);
  }

  /** Nothing more is saved: the item is done, or another window's draft was chosen. */
  stop() {
    this.stopped = true;
    this.pending = null;
    this.timers.clearTimeout(this.timer);
  }

  /** Go on over the stored `version`, with the next change. */
  resume(version = this.version) {
    this.version = version;
    this.waits = null;
    this.tries = 0;
  }

  #later(milliseconds) {
    this.timers.clearTimeout(this.timer);
    this.timer = this.timers.setTimeout(() => this.#send(), milliseconds);
  }

  async #send() {
    if (this.stopped || this.waits || this.sent !== null || this.pending === null) return;
    const draft = this.pending;
    this.pending = null;
    this.sent = draft;
    this.onState("saving");
    let refused = null;
    try {
      const answer = await this.save(draft, this.version);
      this.#storedAs(answer.version);
      this.onSaved?.(answer);
      if (!this.stopped && !this.waits) this.onState(this.pending === null ? "saved" : "waiting");
    } catch (error) {
      if (this.stopped) return;
      this.pending ??= draft;
      if (error instanceof Refused) {
        if (!this.#isOwn(error.problem)) refused = error;
      } else {
        this.unanswered.add(fingerprint(draft));
        this.tries += 1;
        this.onState("failed");
      }
    } finally {
      this.sent = null;
    }
    if (refused) {
      this.waits = "refused";
      this.refused = true;
      this.onRefused(refused);
      if (this.pending === draft) return; // the same text would be refused again
    }
    if (this.pending !== null && !this.waits && !this.stopped)
      this.#later(this.tries ? backoff(this.tries) * 1000 : this.delay);
  }

  /** Whether the draft that is stored came from here, its answer lost on the way: then go on over it. */
  #isOwn({ stored, version }) {
    if (!stored || !this.unanswered.has(fingerprint(stored))) return false;
    this.aside = null;
    this.#storedAs(version);
    return true;
  }

  #storedAs(version) {
    this.version = version;
    this.refused = false;
    this.tries = 0;
    this.unanswered.clear();
    if (this.aside !== null) this.unanswered.add(fingerprint(this.aside)); // it may still be on its way
  }
}

/** What is not saved yet, kept in this browser too: a page that is closed while the network is away loses nothing. */
export class Mirror {
  constructor(key, store = globalThis.localStorage) {
    Object.assign(this, { key: `unsaved:${key}`, store });
  }

  /** Keep `draft`, to be stored over `version` or over `sent`, which is on its way; a store that is full keeps nothing. */
  keep(draft, version, sent) {
    try {
      this.store.setItem(this.key, JSON.stringify({ draft, version, sent: sent && fingerprint(sent) }));
    } catch {}
  }

  clear() {
    this.store.removeItem(this.key);
  }

  /** What an earlier page left here and the server has not, or null. */
  left(stored) {
    try {
      const kept = JSON.parse(this.store.getItem(this.key));
      if (kept && fingerprint(kept.draft) !== fingerprint(stored ?? {})) return kept;
      this.clear();
      return null;
    } catch {
      return null;
    }
  }
}
