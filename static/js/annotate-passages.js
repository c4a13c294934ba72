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
