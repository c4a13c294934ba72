// Passages of a text, counted as the server counts them: pure functions, tested with `node --test tests/js`.

/** Characters as the server counts them: Unicode, not the halves of a surrogate pair. */
export function characters(text) {
  return [...text].length;
}

/** What stands between two places that count characters. */
export function excerpt(text, { start, end }) {
  return [...text].slice(start, end).join("");
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

/** How much of what stands around a passage tells it from others that say the same. */
const AROUND = [8, 24, 80];

/** Where the passage `wanted`, which begins at `first` in `here`, begins in `there`, or -1. */
function placeOf(here, first, wanted, there) {
  const [mine, theirs] = [occurrences(here, wanted), occurrences(there, wanted)];
  if (!mine.includes(first)) return -1;
  if (mine.length === theirs.length) return theirs[mine.indexOf(first)];
  // one of the two says it more often, as where a link repeats its words: what stands around it tells which one it is
  for (const reach of AROUND) {
    const before = here.slice(Math.max(0, first - reach), first);
    const after = here.slice(first + wanted.length, first + wanted.length + reach);
    for (const left of new Set([before, ""])) {
      for (const right of new Set([after, ""])) {
        const whole = left + wanted + right;
        const found = occurrences(there, whole);
        if (found.length === 1 && occurrences(here, whole).length === 1) return found[0] + left.length;
      }
    }
  }
  return -1;
}

/**
 * Where the passage of `from` is in `to`; both in code units. One is Markdown, the other what is shown for it.
 *
 * Null where it cannot be told: the passage reads otherwise, as formulas do, or what it says is there more or fewer times and
 * nothing around it tells which one it is.
 */
function across(from, { start, end }, to) {
  const quote = from.slice(start, end);
  const [wanted, here, there] = [read(quote), read(from), read(to)];
  if (!wanted.said) return null;
  const place = placeOf(here.said, read(from.slice(0, start)).said.length, wanted.said, there.said);
  if (place < 0) return null;
  let first = there.at[place];
  let last = there.at[place + wanted.said.length - 1] + 1;
  // the signs at both ends of the passage, where they stand as they do in `from`
  for (let at = wanted.at[0] - 1; at >= 0 && first > 0 && quote[at] === to[first - 1]; at -= 1) first -= 1;
  for (let at = wanted.at.at(-1) + 1; at < quote.length && quote[at] === to[last]; at += 1) last += 1;
  return { start: first, end: last };
}

/** Where a passage of the Markdown `source`, in characters, is in the text `shown` for it, in code units; or null. */
export function locate(source, { start, end }, shown) {
  const [first, last] = [excerpt(source, { start: 0, end: start }).length, excerpt(source, { start: 0, end }).length];
  return across(source, { start: first, end: last }, shown);
}

/** Where a passage of the text `shown`, in code units, is in the Markdown `source`, in characters; or null. */
export function sourceOf(source, passage, shown) {
  const found = source === shown ? passage : across(shown, passage, source);
  if (!found) return null;
  const start = characters(source.slice(0, found.start));
  return { start, end: start + characters(source.slice(found.start, found.end)) };
}

/** `passage` of `text` without the spaces at its ends; in code units. Null where nothing else is in it. */
export function trimmed(text, { start, end }) {
  const quote = text.slice(start, end);
  const first = start + quote.length - quote.trimStart().length;
  return quote.trim() ? { start: first, end: first + quote.trim().length } : null;
}

/** The parts of `text` of a `kind`, sentences or words, as it is read in its language; in code units. */
export function partsOf(text, kind) {
  const parts = [...new Intl.Segmenter(undefined, { granularity: kind }).segment(text)];
  return parts
    .filter((part) => kind === "sentence" || part.isWordLike)
    .map(({ index, segment }) => trimmed(text, { start: index, end: index + segment.length }))
    .filter(Boolean);
}

/**
 * Where a selection goes from `now` in `parts`: to the next (`by` 1) or the one before (-1), or, with `grow`, its end goes on or
 * back by one. Null where there is no way on.
 */
export function moved(parts, now, by, grow = false) {
  if (!grow) {
    const part =
      by > 0 ? parts.find(({ start }) => start > now.start) : parts.findLast(({ start }) => start < now.start);
    return part ?? null;
  }
  const part =
    by > 0
      ? parts.find(({ end }) => end > now.end)
      : parts.findLast(({ start, end }) => end < now.end && start >= now.start);
  return part ? { start: now.start, end: part.end } : null;
}
