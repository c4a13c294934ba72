// What the scripts say, in the reader's language: the page of another language than English brings its words along.

const said = globalThis.corralTexts ?? {};
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** `message` in the reader's language, its {names} filled in from `values`. */
export function t(message, values = {}) {
  return filled(said[message] ?? message, values);
}

/** Whose numbers and dates to write: the browser's own kind of the page's language, such as British English. */
export function region() {
  const lang = globalThis.document?.documentElement.lang ?? "en";
  return globalThis.navigator?.languages?.find((each) => each.split("-")[0] === lang) ?? lang;
}

/** The form that goes with `n`, which is also its {n}: `tn("{n} word", "{n} words", 3)`. */
export function tn(one, many, n, values = {}) {
  const forms = said[one];
  const text = forms ? forms[globalThis.corralForm(n)] : n === 1 ? one : many;
  return filled(text, { n: n.toLocaleString(region()), ...values });
}
