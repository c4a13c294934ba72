// What the annotation page knows, as pure functions without a document: tested with `node --test tests/js`.

const LETTERS = "ABCDEFGH";

/** The response that a pairwise choice prefers, or null. */
export function preferred(choice) {
  return /^[AB][1-4]$/.test(choice) ? choice[0] : null;
}

/** A ranking: `order` of letters, best first; `gaps[i]` between place i and the next: null unset, 0 equal, 1 to 4. */
export function ranking(shown) {
  return { order: LETTERS.slice(0, shown).split(""), gaps: Array(shown - 1).fill(null), touched: false };
}

/** Put `order` anew; a gap stays only between two neighbours that were neighbours in this order before. */
function reordered(state, order) {
  const known = new Map();
  for (const [i, gap] of state.gaps.entries()) known.set(state.order[i] + state.order[i + 1], gap);
  const gaps = order.slice(1).map((below, i) => known.get(order[i] + below) ?? null);
  return { order, gaps, touched: true };
}

/** Put the response `name` at place `to` (0 is the best). */
export function place(state, name, to) {
  const rest = state.order.filter((other) => other !== name);
  const at = Math.max(0, Math.min(to, rest.length));
  return reordered(state, [...rest.slice(0, at), name, ...rest.slice(at)]);
}

/** Take over an order that was dragged. */
export function arrange(state, order) {
  return reordered(state, order);
}

/** Say how much better place `at` is than the one below. */
export function setGap(state, at, value) {
  if (at < 0 || at >= state.gaps.length) return state;
  const gaps = state.gaps.map((gap, i) => (i === at ? value : gap));
  return { ...state, gaps, touched: true };
}

/** Make place `at` as good as the one above, or take that back. */
export function toggleTie(state, at) {
  return setGap(state, at - 1, state.gaps[at - 1] === 0 ? null : 0);
}

/** Strengthen (`by` 1) or weaken (-1) the gap below place `at`, between 1 and 4. */
export function shiftGap(state, at, by) {
  const gap = state.gaps[at];
  const from = gap || (by > 0 ? 0 : 5);
  return setGap(state, at, Math.max(1, Math.min(4, from + by)));
}

/** The form's `order` field ("C1A0D4B"), or "" while a gap is unset. */
export function encoded(state) {
  if (state.gaps.includes(null)) return "";
  return state.order.map((name, i) => name + (state.gaps[i] ?? "")).join("");
}

/** The place (from 1) that each letter holds, equal ones sharing it. */
export function places(state) {
  let place = 0;
  return new Map(
    state.order.map((name, i) => {
      if (i === 0 || state.gaps[i - 1] !== 0) place += 1;
      return [name, place];
    }),
  );
}

/** `ranking` and `strengths` of a draft; an unset gap keeps its neighbours apart, with a strength of null. */
export function grouped(state) {
  const groups = [[state.order[0]]];
  const strengths = [];
  state.gaps.forEach((gap, i) => {
    if (gap === 0) {
      groups.at(-1).push(state.order[i + 1]);
    } else {
      groups.push([state.order[i + 1]]);
      strengths.push(gap);
    }
  });
  return { ranking: groups, strengths };
}

/** The ranking that a draft holds, or an untouched one. */
export function fromDraft(draft, shown) {
  const order = draft?.ranking?.flat() ?? [];
  if (order.length !== shown || new Set(order).size !== shown) return ranking(shown);
  const gaps = [];
  draft.ranking.forEach((group, i) => {
    gaps.push(...Array(group.length - 1).fill(0));
    if (i < draft.ranking.length - 1) gaps.push(draft.strengths[i] ?? null);
  });
  return { order, gaps, touched: true };
}

/** What a draft says of the judgement so far: `choice` is the form's, `state` the ranking where there is one. */
export function judged(choice, state) {
  if (choice === "tie" || choice === "all_unacceptable") return { outcome: choice, ranking: [], strengths: [] };
  if (state?.touched) return { outcome: "ranked", ...grouped(state) };
  const best = preferred(choice);
  if (!best) return { outcome: null, ranking: [], strengths: [] };
  return { outcome: "ranked", ranking: [[best], [best === "A" ? "B" : "A"]], strengths: [Number(choice[1])] };
}

/** A draft in words, to tell two of them apart. */
export function described({ outcome, ranking = [], strengths = [], edits = {}, comment = "" }) {
  const judged =
    outcome === "ranked"
      ? ranking.map((group, i) => group.join(" = ") + (i in strengths ? ` >${strengths[i] ?? "?"}` : "")).join(" ")
      : { tie: "Equally good", all_unacceptable: "All unacceptable" }[outcome];
  const edited = Object.entries(edits).map(([name, text]) => `${name}, improved: ${text}`);
  return [judged, ...edited, comment].filter(Boolean).join("\n\n") || "(nothing yet)";
}

/** The same for two drafts that say the same; the seconds of work do not count, nor what is said with nothing. */
export function fingerprint({ outcome = null, ranking = [], strengths = [], edits = {}, comment = "", ...details }) {
  const said = [details.attributes, details.flags, details.spans].map((each) =>
    each && Object.keys(each).length ? each : null,
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

/** Why the page cannot submit `edited` in place of `original`, or "" when it can. Unchanged text is no edit. */
export function editProblem(edited, original, required) {
  const same = edited === original.replaceAll("\r\n", "\n");
  if (!same && edited.trim() === "") return "The improved text is empty: write it, or undo all changes.";
  if (same && required) return "This batch asks for an improved text: correct the response that you chose.";
  return "";
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

/** The first rating that is missing, as the name of its field, or null. */
export function missingRating(names, entries) {
  const given = new Set(entries.filter(([, value]) => value).map(([field]) => field));
  return names.find((name) => !given.has(name)) ?? null;
}

/** Characters as the server counts them: Unicode, not the halves of a surrogate pair. */
export function characters(text) {
  return [...text].length;
}

/** The passage `quote` of `text` in characters, or null where it is not there, or there more than once. */
export function passage(text, quote) {
  const at = quote ? text.indexOf(quote) : -1;
  if (at < 0 || text.indexOf(quote, at + 1) >= 0) return null;
  const start = characters(text.slice(0, at));
  return { start, end: start + characters(quote) };
}

/** What stands between two places that count characters. */
export function excerpt(text, { start, end }) {
  return [...text].slice(start, end).join("");
}

/** Where character unit `at` of a text field, which knows only \n, is in `text`, which may have \r\n. */
export function unitIn(text, at) {
  let seen = 0;
  for (let unit = 0; unit < text.length; unit += 1) {
    if (text[unit] === "\r" && text[unit + 1] === "\n") continue;
    if (seen === at) return unit;
    seen += 1;
  }
  return text.length;
}
