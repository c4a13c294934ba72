// What changed between two texts, word by word: the rules of app/kernel/word_diff.py, which tests/js/words.json holds together.

const KEPT = 0.25; // share of the shorter text that has to stay for a change to be shown in pieces: below it is written anew
// Thai, Lao, Myanmar, Khmer; Han and kana: scripts that write no spaces, where each letter is compared by itself
const UNSPACED =
  "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3005-\\u3007\\u3040-\\u30ff\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff" +
  "\\uf900-\\ufaff\\uff66-\\uff9f\\u{20000}-\\u{3ffff}";
const JOINING = "\\p{M}\\u200c\\u200d";
const LETTER = `(?![${UNSPACED}])[\\p{L}\\p{N}_${JOINING}]`;
const WORDS = new RegExp(
  `\\s*(?:[${UNSPACED}][${JOINING}]*|${LETTER}+(?:['’]${LETTER}+)*|[^\\s\\p{L}\\p{N}_][${JOINING}]*)|\\s+`,
  "gu",
);

/** Words, letters of scripts without spaces, and signs, each with the space before it; joined they are `text`. */
export function words(text) {
  return text.match(WORDS) ?? [];
}

const IS_UNSPACED = new RegExp(`^\\s*[${UNSPACED}]`, "u");

/** Whether `word`, one of `words`, is a letter of a script that writes no spaces. */
export function isUnspaced(word) {
  return IS_UNSPACED.test(word);
}

const SPACELESS_START = new RegExp(`^(?:$|\\s|[${UNSPACED}])`, "u");
const leadOf = (text) => (SPACELESS_START.test(text) ? "" : " ");

/** Characters that are no space. */
const size = (text) => [...text.replace(/\s+/g, "")].length;

const together = (parts) => ({
  before: parts.map((part) => part.before).join(""),
  after: parts.map((part) => part.after).join(""),
  same: false,
});

/** Whether `text` has signs and no word: a full stop belongs to the word before it. */
const isSigns = (text) => size(text) > 0 && !/[\p{L}\p{N}]/u.test(text);

function isCrumb([first, between, last]) {
  if (!between.same || first.same || last.same) return false;
  const changed = (part) => Math.max(size(part.before), size(part.after));
  return size(between.before) <= Math.min(changed(first), changed(last));
}

/** Changes with nothing between them but what is shorter than they are on both sides put together, a rewrite as a whole. */
export function readable(parts) {
  const joined = [];
  for (const part of parts) {
    joined.push(part);
    if (joined.length > 1 && !joined.at(-2).same && isSigns(part.before)) joined.push(together(joined.splice(-2)));
    while (joined.length >= 3 && isCrumb(joined.slice(-3))) joined.push(together(joined.splice(-3)));
  }
  const whole = together(joined);
  const kept = joined.filter((part) => part.same).reduce((sum, part) => sum + size(part.before), 0);
  return kept < KEPT * Math.min(size(whole.before), size(whole.after)) ? [whole] : joined;
}

/** The passages of two texts as `{ before, after, same }`, in order; null where it takes longer than `timeout` milliseconds. */
export function changes(diff, before, after, timeout) {
  // the first word has no space before it, and one when something is put before it: it gets one to be compared with
  const lead = { before: leadOf(before), after: leadOf(after) };
  const found = diff.diffArrays(words(lead.before + before), words(lead.after + after), { timeout });
  if (!found) return null;
  const parts = [];
  for (const { value, added, removed } of found) {
    const text = value.join("");
    if (!added && !removed) parts.push({ before: text, after: text, same: true });
    else if (parts.length && !parts.at(-1).same) parts.at(-1)[added ? "after" : "before"] += text;
    else parts.push({ before: removed ? text : "", after: added ? text : "", same: false });
  }
  for (const side of ["before", "after"]) {
    const first = parts.find((part) => part[side]);
    if (first) first[side] = first[side].slice(lead[side].length);
  }
  return readable(parts);
}

/** Nodes that show `parts`: `del` and `ins` around what changed. */
export function shown(parts) {
  const mark = (tag, textContent) => (textContent ? [Object.assign(document.createElement(tag), { textContent })] : []);
  return parts.flatMap(({ before, after, same }) =>
    same ? [document.createTextNode(after)] : [...mark("del", before), ...mark("ins", after)],
  );
}
