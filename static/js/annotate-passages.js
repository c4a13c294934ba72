// Passages of a text, counted as the server counts them: pure functions, tested with `node --test tests/js`.

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

/** What reading a text leaves of it: no spaces and no ASCII signs, of which Markdown is made; and where each unit of it was. */
function read(text) {
  let said = "";
  const at = [];
  for (const { 0: character, index } of text.matchAll(/[^\s!-/:-@[-`{-~]/gu)) {
    said += character;
    for (let unit = 0; unit < character.length; unit += 1) at.push(index + unit);
  }
  return { said, at };
}

/** Every place where `quote` begins in `text`. */
function occurrences(text, quote) {
  const found = [];
  for (let at = text.indexOf(quote); at >= 0; at = text.indexOf(quote, at + 1)) found.push(at);
  return found;
}

/**
 * Where a passage of the Markdown `source`, given in characters, is in the text `shown` for it.
 *
 * Returns code units of `shown`, or null where it cannot be told: the passage reads otherwise, as formulas and links do, or
 * what it says is there more or fewer times than in the source.
 */
export function locate(source, { start, end }, shown) {
  const before = excerpt(source, { start: 0, end: start });
  const quote = excerpt(source, { start, end });
  const [wanted, whole, there] = [read(quote), read(source), read(shown)];
  if (!wanted.said) return null;
  const inSource = occurrences(whole.said, wanted.said);
  const inShown = occurrences(there.said, wanted.said);
  const which = inSource.indexOf(read(before).said.length);
  if (which < 0 || inSource.length !== inShown.length) return null;
  let from = there.at[inShown[which]];
  let to = there.at[inShown[which] + wanted.said.length - 1] + 1;
  // the signs at both ends of the passage, where they are shown as they were written
  for (let at = wanted.at[0] - 1; at >= 0 && from > 0 && quote[at] === shown[from - 1]; at -= 1) from -= 1;
  for (let at = wanted.at.at(-1) + 1; at < quote.length && quote[at] === shown[to]; at += 1) to += 1;
  return { start: from, end: to };
}
