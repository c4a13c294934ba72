import assert from "node:assert/strict";
import { test } from "node:test";
import { excerpt, locate, moved, partsOf, sourceOf, trimmed } from "../../static/js/annotate-passages.js";

test("a passage counts characters, not the halves of a surrogate pair", () => {
  assert.equal(excerpt("👍 is false", { start: 5, end: 10 }), "false");
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
  assert.equal(shownOf("see [cat](http://cat)", "cat", "see cat", 10), null);
  assert.equal(shownOf("a -- b", "--", "a – b"), null);
});

/** Where the passage of `shown` that begins at unit `from` is written in `source`. */
function writtenOf(source, quote, shown, from = 0) {
  const start = shown.indexOf(quote, from);
  const found = sourceOf(source, { start, end: start + quote.length }, shown);
  return found && [found.start, excerpt(source, found)];
}

test("what is selected is found where it was written, by its place and not by its words", () => {
  const [source, shown] = ["No. **No.** [No](http://no.no/no), no.", "No. No. No, no."];
  assert.deepEqual(writtenOf("- no, **no**\n- no", "no", "no, no\nno", 3), [8, "no"]);
  assert.deepEqual(writtenOf("👍 **very** large.", "very large.", "👍 very large."), [4, "very** large."]);
  assert.deepEqual(writtenOf(source, "No", shown, 7), [13, "No"]); // its address says it three times more
  assert.deepEqual(writtenOf("see [cat](http://cat)", "cat", "see cat"), [5, "cat"]); // "see" tells which one
  assert.equal(writtenOf(source, "no.", shown), null); // nothing tells which one
  assert.deepEqual(writtenOf("a\r\n<b> a", "a", "a\r\n<b> a", 6), [7, "a"]); // as written
  assert.equal(writtenOf("$\\pi$ is", "π", "π is"), null);
});

test("a selection goes by sentences and words, and grows and shrinks at its end", () => {
  const text = " One two. 三四五。 Six!\n";
  const [sentences, words] = [partsOf(text, "sentence"), partsOf(text, "word")];
  const read = (part) => part && text.slice(part.start, part.end);
  assert.deepEqual(sentences.map(read), ["One two.", "三四五。", "Six!"]);
  assert.equal(read(moved(sentences, sentences[0], 1)), "三四五。");
  assert.equal(moved(sentences, sentences[0], -1), null);
  const two = moved(words, moved(words, sentences[0], 1, true) ?? words[0], -1) ?? words[0];
  assert.equal(read(two), "One");
  const more = moved(words, two, 1, true);
  assert.equal(read(more), "One two");
  assert.equal(read(moved(words, more, -1, true)), "One");
  assert.equal(trimmed("  ", { start: 0, end: 2 }), null);
});
