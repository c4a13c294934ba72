// How far an edit is from what it began with, in words that a person reads: pure functions, tested with `node --test tests/js`.

import { region, t, tn } from "./text.js";
import { isUnspaced, words } from "./word-diff.js";

/** The words of `text`, and its letters where a script writes no spaces; signs are none. */
const counted = (text) => words(text).filter((word) => /[\p{L}\p{N}]/u.test(word));

/** How many words, and letters of scripts without spaces, are in `text`. */
export const count = (text) => counted(text).length;

/** So many words of a text: "1 word", "1,200 words". */
export const said = (n) => tn("{n} word", "{n} words", n);

const WORDS = {
  written: (n) => tn("{n} word written", "{n} words written", n),
  added: (n, of) => tn("{n} word added to {of}", "{n} words added to {of}", n, { of }),
  removed: (n, of) => tn("{n} word removed of {of}", "{n} words removed of {of}", n, { of }),
  anew: (n, of) => tn("Written anew: {n} word in place of {of}", "Written anew: {n} words in place of {of}", n, { of }),
  changed: (n, of) => tn("{n} word changed of {of}", "{n} words changed of {of}", n, { of }),
};

const CHARACTERS = {
  written: (n) => tn("{n} character written", "{n} characters written", n),
  added: (n, of) => tn("{n} character added to {of}", "{n} characters added to {of}", n, { of }),
  removed: (n, of) => tn("{n} character removed of {of}", "{n} characters removed of {of}", n, { of }),
  anew: (n, of) =>
    tn("Written anew: {n} character in place of {of}", "Written anew: {n} characters in place of {of}", n, { of }),
  changed: (n, of) => tn("{n} character changed of {of}", "{n} characters changed of {of}", n, { of }),
};

/** The sentences about what somebody who reads `text` would call its parts. */
function unitOf(text) {
  const all = counted(text);
  return all.filter(isUnspaced).length > all.length / 2 ? CHARACTERS : WORDS;
}

/** How far apart two texts are, of which `parts` are the passages: "3 words changed of 120". "" where they are the same. */
export function distance(parts) {
  const changed = parts.filter((part) => !part.same).map(({ before, after }) => [count(before), count(after)]);
  if (!changed.length) return "";
  const all = (side) => parts.map((part) => part[side]).join("");
  const [before, after] = [all("before"), all("after")];
  const unit = unitOf(before.trim() ? before : after);
  const of = count(before).toLocaleString(region());
  const number = changed.reduce((sum, sides) => sum + Math.max(...sides), 0);
  if (!number) return t("Only signs or spaces changed");
  if (!count(before)) return unit.written(number);
  if (changed.every(([removed]) => !removed)) return unit.added(number, of);
  if (changed.every(([, added]) => !added)) return unit.removed(number, of);
  if (parts.length === 1) return unit.anew(count(after), of);
  return unit.changed(number, of);
}
