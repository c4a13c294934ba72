// What the scripts say, in the reader's language: the page of another language than English brings its words along.

const said = globalThis.corralTexts ?? {};
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** `message` in the reader's language, its {names} filled in from `values`. */
export function t(message, values = {}) {
  return filled(said[message] ?? message, values);
}

/** The language of the page. */
export const language = () => globalThis.document?.documentElement.lang || "en";

/** The form that goes with `n`, which is also its {n}: `tn("{n} word", "{n} words", 3)`. */
export function tn(one, many, n, values = {}) {
  const forms = said[one] ?? [one, many];
  const rules = new Intl.PluralRules(language());
  // A catalogue has its forms in the order in which Unicode names them, and only those that the language has.
  const order = ["zero", "one", "two", "few", "many", "other"];
  const has = rules.resolvedOptions().pluralCategories.toSorted((a, b) => order.indexOf(a) - order.indexOf(b));
  const at = Math.min(Math.max(has.indexOf(rules.select(n)), 0), forms.length - 1);
  return filled(forms[at], { n: n.toLocaleString(language()), ...values });
}
