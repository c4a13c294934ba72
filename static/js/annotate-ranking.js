// A ranking with ties and strengths, as pure functions without a document: tested with `node --test tests/js`.

import { t } from "./text.js";

const LETTERS = "ABCDEFGH";

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

/** The gap that the keys change at place `at`: the one below; the last one has only the one above. */
export function gapOf(state, at) {
  return Math.min(at, state.gaps.length - 1);
}

/** Make place `at` as good as the one below, or take that back. */
export function toggleTie(state, at) {
  return setGap(state, at, state.gaps[at] === 0 ? null : 0);
}

/** Make the response `name` as good as `other`: it joins those that share its place, and stands over the rest as they do. */
export function join(state, name, other) {
  const { order, gaps } = arrange(
    state,
    state.order.filter((each) => each !== name),
  );
  let at = order.indexOf(other);
  while (gaps[at] === 0) at += 1;
  return { order: order.toSpliced(at + 1, 0, name), gaps: gaps.toSpliced(at, 0, 0), touched: true };
}

/** Strengthen (`by` 1) or weaken (-1) the gap below place `at`, between 1 and 4. */
export function shiftGap(state, at, by) {
  const gap = state.gaps[at];
  const from = gap || (by > 0 ? 0 : 5);
  return setGap(state, at, Math.max(1, Math.min(4, from + by)));
}

/** Whether every gap is set. */
export function complete(state) {
  return !state.gaps.includes(null);
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

/** A ranking as one types it: ">" where nothing is said of how much better, "=" for equally good, else the strength. */
export function written(state) {
  const sign = (gap) => (gap === null ? ">" : gap === 0 ? "=" : gap);
  return state.order.map((name, at) => (at === 0 ? "" : sign(state.gaps[at - 1])) + name).join("");
}

const UNSAID = /[\s,;>]/;

/**
 * What somebody types of a ranking: letters, best first, and between them "=" or a strength; after the letters, strengths fill
 * the gaps that are open, one by one. The last response follows by itself.
 *
 * Returns `{ state, left, filled }`: `left` are the letters that are not ranked yet, which `state` has at its end, and `filled`
 * says that something belongs further in front than it was typed. Or `{ problem }`.
 */
export function typed(text, shown) {
  const letters = LETTERS.slice(0, shown).split("");
  const order = [];
  const gaps = [];
  let next = null; // how the last letter compares with the one that follows it
  let filled = false;
  const put = (name) => {
    if (order.length) gaps.push(next);
    order.push(name);
    next = null;
  };
  const rest = () => letters.filter((name) => !order.includes(name));
  for (const sign of text.normalize("NFKC").toUpperCase()) {
    if (letters.includes(sign)) {
      if (order.includes(sign)) return { problem: t("{name} is ranked already.", { name: sign }) };
      put(sign);
    } else if (/[=1-4]/.test(sign)) {
      if (!order.length) return { problem: t("Begin with the letter of the best response.") };
      const value = sign === "=" ? 0 : Number(sign);
      // "DAB=" is read as it stands, "DAB3" as three letters whose strengths begin
      if (order.length === shown - 1 && value && gaps.includes(null)) put(rest()[0]);
      if (order.length < shown) next = value;
      else if (!gaps.includes(null)) return { problem: t("Every strength is set: choose a place to change it.") };
      else {
        gaps[gaps.indexOf(null)] = value;
        filled = true;
      }
    } else if (!UNSAID.test(sign)) return { problem: unknown(sign, letters) };
  }
  if (order.length === shown - 1) put(rest()[0]);
  const left = order.length ? rest() : letters;
  for (const name of order.length ? left : []) put(name);
  return { state: order.length ? { order, gaps, touched: true } : null, left, filled };
}

function unknown(sign, letters) {
  if (/\d/.test(sign)) return t("Strengths are 1 to 4.");
  if (/[A-Z]/.test(sign))
    return t("There is no response {name}: they are A to {last}.", { name: sign, last: letters.at(-1) });
  return t("“{sign}” is no part of a ranking: letters, “=” and 1 to 4 are.", { sign });
}
