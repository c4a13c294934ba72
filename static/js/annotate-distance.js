// How far an edit is from what it began with, in words that a person reads: pure functions, tested with `node --test tests/js`.

import { isUnspaced, words } from "./word-diff.js";

/** The words of `text`, and its letters where a script writes no spaces; signs are none. */
const counted = (text) => words(text).filter((word) => /[\p{L}\p{N}]/u.test(word));

/** How many words, and letters of scripts without spaces, are in `text`. */
export const count = (text) => counted(text).length;

/** `number` of what the words of a text are called: "1 word", "1,200 words", "3 characters". */
export function said(number, unit = "word") {
  return `${number.toLocaleString("en")} ${unit}${number === 1 ? "" : "s"}`;
}

/** What somebody who reads `text` would call its parts. */
function unitOf(text) {
  const all = counted(text);
  return all.filter(isUnspaced).length > all.length / 2 ? "character" : "word";
}

/** How far apart two texts are, of which `parts` are the passages: "3 words changed of 120". "" where they are the same. */
export function distance(parts) {
  const changed = parts.filter((part) => !part.same).map(({ before, after }) => [count(before), count(after)]);
  if (!changed.length) return "";
  const all = (side) => parts.map((part) => part[side]).join("");
  const [before, after] = [all("before"), all("after")];
  const unit = unitOf(before.trim() ? before : after);
  const of = count(before).toLocaleString("en");
  const number = changed.reduce((sum, sides) => sum + Math.max(...sides), 0);
  if (!number) return "Only signs or spaces changed";
  if (!count(before)) return `${said(number, unit)} written`;
  if (changed.every(([removed]) => !removed)) return `${said(number, unit)} added to ${of}`;
  if (changed.every(([, added]) => !added)) return `${said(number, unit)} removed of ${of}`;
  if (parts.length === 1) return `Written anew: ${said(count(after), unit)} in place of ${of}`;
  return `${said(number, unit)} changed of ${of}`;
}
