// What is said of each response beside its place: ratings, flags and marked passages, to and from the form's fields.

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
