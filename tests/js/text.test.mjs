import assert from "node:assert/strict";
import { test } from "node:test";

/** text.js as a page of `lang` has it, with what the server told it. */
async function page(lang, { texts, form, browser = [lang] } = {}) {
  globalThis.corralTexts = texts;
  globalThis.corralForm = form;
  globalThis.document = { documentElement: { lang } };
  Object.defineProperty(globalThis, "navigator", { value: { languages: browser }, configurable: true });
  return import(`../../static/js/text.js?${lang}-${Math.random()}`);
}

test("without a catalogue a text is itself, with its names filled in", async () => {
  const { t } = await page("en");
  assert.equal(t("The draft is saved."), "The draft is saved.");
  assert.equal(t("Use {what} of {what}", { what: "A" }), "Use A of A");
  assert.equal(t("Use {what}"), "Use {what}");
});

test("a catalogue's text is filled in, and what it lacks is English", async () => {
  const { t } = await page("de", { texts: { "Use {what}": "{what} nehmen" } });
  assert.equal(t("Use {what}", { what: "B" }), "B nehmen");
  assert.equal(t("Undo"), "Undo");
});

test("English has two forms, and numbers have separators", async () => {
  const { tn } = await page("en", { browser: ["de", "en-GB"] });
  assert.deepEqual(
    [0, 1, 2, 1234].map((n) => tn("{n} word of {whom}", "{n} words of {whom}", n, { whom: "A" })),
    ["0 words of A", "1 word of A", "2 words of A", "1,234 words of A"],
  );
});

test("another language has as many forms as it needs", async () => {
  const form = (n) => Number(n === 1 ? 0 : n % 10 >= 2 && n % 10 <= 4 && !(n % 100 >= 12 && n % 100 <= 14) ? 1 : 2);
  const { tn } = await page("pl", { texts: { "{n} word": ["{n} słowo", "{n} słowa", "{n} słów"] }, form });
  assert.deepEqual(
    [1, 2, 5, 22].map((n) => tn("{n} word", "{n} words", n)),
    ["1 słowo", "2 słowa", "5 słów", "22 słowa"],
  );
  assert.equal(tn("{n} row", "{n} rows", 2), "2 rows");
});

test("numbers and dates are of the browser's own kind of the page's language", async () => {
  assert.equal((await page("en", { browser: ["fr", "en-GB", "en"] })).region(), "en-GB");
  assert.equal((await page("de", { browser: ["en-US"] })).region(), "de");
});
