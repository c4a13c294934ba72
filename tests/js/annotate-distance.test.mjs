import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInThisContext } from "node:vm";
import { count, distance, said } from "../../static/js/annotate-distance.js";
import { changes } from "../../static/js/word-diff.js";

runInThisContext(readFileSync(new URL("../../static/vendor/diff.js", import.meta.url), "utf-8")); // a script of pages
const apart = (before, after) => distance(changes(globalThis.Diff, before, after, 1000));

test("how far an edit is from its beginning is said as a reader would", () => {
  const before = "The far side of the Earth is pulled less than its centre is.";
  assert.equal(apart(before, before), "");
  assert.equal(apart(before, before.replace("less", "more")), "1 word changed of 13");
  assert.equal(apart(before, before.replace("far side of the ", "")), "4 words removed of 13");
  assert.equal(apart(before, `${before} So it lags.`), "3 words added to 13");
  assert.equal(apart(before, before.replace(".", "!")), "Only signs or spaces changed");
  assert.equal(apart("", "Two words"), "2 words written");
  assert.equal(apart("Not at all.", "Quite so, my dear friend"), "Written anew: 5 words in place of 3");
});

test("scripts without spaces are counted in characters, and signs are never counted", () => {
  assert.equal(apart("月球引起潮汐。每天两次。", "月球引起潮汐。每天三次。"), "1 character changed of 10");
  assert.equal(apart("القمر يسبب المد", "القمر يسبب الجزر"), "1 word changed of 3");
  assert.equal(count("It is 四十二."), 5);
  assert.equal(said(1200), "1,200 words");
});
