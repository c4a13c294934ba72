import assert from "node:assert/strict";
import { test } from "node:test";
import { excerpt, passage, unitIn } from "../../static/js/annotate-passages.js";

test("a passage counts characters, not the halves of a surrogate pair", () => {
  assert.deepEqual(passage("👍 is false", "false"), { start: 5, end: 10 });
  assert.equal(passage("no no", "no"), null);
  assert.equal(passage("yes", "no"), null);
  assert.equal(excerpt("👍 is false", { start: 5, end: 10 }), "false");
});

test("a place in a field is found in a text with other line ends", () => {
  const text = "a\r\nb\r\ncd";
  assert.deepEqual([0, 1, 2, 4, 5, 6].map((at) => unitIn(text, at)), [0, 2, 3, 6, 7, 8]);
  assert.equal(unitIn("plain", 3), 3);
});
