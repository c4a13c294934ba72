import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInThisContext } from "node:vm";
import { changes, words } from "../../static/js/word-diff.js";

const here = (name) => new URL(name, import.meta.url);
const cases = JSON.parse(readFileSync(here("words.json"), "utf-8"));
runInThisContext(readFileSync(here("../../static/vendor/diff.js"), "utf-8")); // a script of pages, which has no exports
const diff = globalThis.Diff;

test("a text is read in words of its script, as the server reads it", () => {
  for (const [text, parts] of cases.words) assert.deepEqual(words(text), parts);
});

test("a change of a word is shown as one, and a rewrite as a rewrite", () => {
  for (const [before, after, parts] of cases.changes) {
    const found = changes(diff, before, after, 1000).map((part) => [part.before, part.after, part.same]);
    assert.deepEqual(found, parts);
  }
});
