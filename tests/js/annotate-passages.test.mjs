import assert from "node:assert/strict";
import { test } from "node:test";
import { excerpt, locate, passage, unitIn } from "../../static/js/annotate-passages.js";

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

/** Where `quote`, the first one or the one after `from`, of `source` is shown. */
function shownOf(source, quote, shown, from = 0) {
  const start = source.indexOf(quote, from);
  const found = locate(source, { start, end: start + quote.length }, shown);
  return found && shown.slice(found.start, found.end);
}

test("a passage of Markdown is found in what is shown for it", () => {
  assert.equal(shownOf("# One\n\nIt is **very false**, see.", "very false", "One\nIt is very false, see."), "very false");
  assert.equal(shownOf("It is **very** false.\n\nNo", "**very** false.", "It is very false.\nNo"), "very false.");
  assert.equal(shownOf("a\r\nb (c) d", "(c)", "a b (c) d"), "(c)");
});

test("of passages that say the same the one that was marked is found", () => {
  const [source, shown] = ["- no, **no**\n- no", "no, no\nno"];
  const places = [0, 4, 11].map((from) => {
    const start = source.indexOf("no", from);
    return locate(source, { start, end: start + 2 }, shown).start;
  });
  assert.deepEqual(places, [0, 4, 7]);
});

test("a passage that reads otherwise than it was written is not painted somewhere else", () => {
  assert.equal(shownOf("$\\frac{1}{2}$ is 12", "\\frac{1}{2}", "12 is 12"), null);
  assert.equal(shownOf("see [cat](http://cat)", "cat", "see cat"), null);
  assert.equal(shownOf("a -- b", "--", "a – b"), null);
});
