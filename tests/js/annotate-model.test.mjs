import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ActiveClock,
  arrange,
  backoff,
  described,
  detailsOf,
  editProblem,
  encoded,
  excerpt,
  fingerprint,
  fromDraft,
  grouped,
  judged,
  Lease,
  missingRating,
  passage,
  place,
  places,
  preferred,
  ranking,
  setGap,
  shiftGap,
  toggleTie,
  unitIn,
} from "../../static/js/annotate-model.js";

test("a tie prefers nothing", () => {
  assert.equal(preferred("B2"), "B");
  assert.equal(preferred("tie"), null);
  assert.equal(preferred(""), null);
});

test("a gap survives a move only between the same two neighbours", () => {
  let state = ranking(4);
  state = setGap(setGap(setGap(state, 0, 1), 1, 2), 2, 3);
  state = place(state, "D", 0);
  assert.deepEqual(state.order, ["D", "A", "B", "C"]);
  assert.deepEqual(state.gaps, [null, 1, 2]);
});

test("turning two neighbours round forgets how much better the first one was", () => {
  const state = arrange(setGap(ranking(2), 0, 4), ["B", "A"]);
  assert.deepEqual(state.gaps, [null]);
});

test("moving beyond the ends stays at the ends", () => {
  assert.deepEqual(place(ranking(3), "B", -5).order, ["B", "A", "C"]);
  assert.deepEqual(place(ranking(3), "B", 9).order, ["A", "C", "B"]);
});

test("a ranking is encoded only when every gap is set", () => {
  let state = ranking(3);
  assert.equal(encoded(state), "");
  state = setGap(setGap(state, 0, 3), 1, 0);
  assert.equal(encoded(state), "A3B0C");
  assert.deepEqual(grouped(state), { ranking: [["A"], ["B", "C"]], strengths: [3] });
  assert.deepEqual([...places(state)], [["A", 1], ["B", 2], ["C", 2]]);
});

test("a tie is taken back by the same key", () => {
  const tied = toggleTie(ranking(3), 1);
  assert.deepEqual(tied.gaps, [0, null]);
  assert.deepEqual(toggleTie(tied, 1).gaps, [null, null]);
  assert.deepEqual(toggleTie(ranking(3), 0).gaps, [null, null]);
});

test("plus and minus stay within the four levels", () => {
  let state = shiftGap(ranking(2), 0, 1);
  assert.deepEqual(state.gaps, [1]);
  for (let i = 0; i < 9; i += 1) state = shiftGap(state, 0, 1);
  assert.deepEqual(state.gaps, [4]);
  assert.deepEqual(shiftGap(ranking(2), 0, -1).gaps, [4]);
});

test("a draft brings its ranking back, unset gaps included", () => {
  let state = place(ranking(4), "C", 0);
  state = setGap(setGap(state, 0, 2), 1, 0);
  const back = fromDraft(grouped(state), 4);
  assert.deepEqual(back, state);
});

test("a draft without a ranking, or of another item, starts untouched", () => {
  assert.deepEqual(fromDraft(null, 3), ranking(3));
  assert.deepEqual(fromDraft({ ranking: [["A"], ["B"]], strengths: [1] }, 3), ranking(3));
});

test("retries wait longer and longer, at most half a minute", () => {
  assert.deepEqual([1, 2, 3, 6, 20].map(backoff), [1, 2, 4, 30, 30]);
});

test("only time at work is counted", () => {
  const clock = new ActiveClock(10, 60);
  clock.tick(0, true);
  clock.tick(1000, true);
  assert.equal(clock.seconds, 10, "nobody has touched the page yet");
  clock.use(1000);
  clock.tick(2000, true);
  assert.equal(clock.seconds, 11);
  clock.tick(3000, false);
  assert.equal(clock.seconds, 11, "hidden");
  clock.tick(62_000, true);
  assert.equal(clock.seconds, 11, "idle");
  clock.use(90_000);
  clock.tick(90_000, true);
  assert.equal(clock.seconds, 16, "a machine that slept has not worked");
});

test("unchanged text is no edit, and an empty one is refused", () => {
  assert.equal(editProblem("a\nb", "a\r\nb", false), "");
  assert.match(editProblem("a", "a", true), /asks for/);
  assert.match(editProblem("  ", "a", false), /empty/);
  assert.equal(editProblem("b", "a", true), "");
});

test("two drafts can be told apart in words", () => {
  const draft = { outcome: "ranked", ranking: [["B"], ["A", "C"]], strengths: [3], edits: { B: "Better." }, comment: "why" };
  assert.equal(described(draft), "B >3 A = C\n\nB, improved: Better.\n\nwhy");
  assert.equal(described({ outcome: "tie" }), "Equally good");
  assert.equal(described({}), "(nothing yet)");
});

test("what a draft says of the judgement so far", () => {
  assert.deepEqual(judged("", undefined), { outcome: null, ranking: [], strengths: [] });
  assert.deepEqual(judged("B2", undefined), { outcome: "ranked", ranking: [["B"], ["A"]], strengths: [2] });
  assert.deepEqual(judged("tie", setGap(ranking(3), 0, 1)), { outcome: "tie", ranking: [], strengths: [] });
  assert.deepEqual(judged("", ranking(3)), { outcome: null, ranking: [], strengths: [] });
  assert.equal(judged("", setGap(ranking(3), 0, 1)).outcome, "ranked");
});

test("two drafts that say the same are told as the same, however long they took and in whatever order their edits come", () => {
  const one = { outcome: "tie", ranking: [], strengths: [], edits: { A: "x", B: "y" }, comment: "c", active_seconds: 1 };
  const same = { active_seconds: 9.5, comment: "c", edits: { B: "y", A: "x" }, outcome: "tie", ranking: [], strengths: [] };
  assert.equal(fingerprint(one), fingerprint(same));
  assert.notEqual(fingerprint(one), fingerprint({ ...one, comment: "d" }));
});

test("a lease is renewed in good time for somebody who works, and warns once somebody who does not", () => {
  const lease = new Lease(120, 0);
  assert.equal(lease.due(39_000), false);
  assert.equal(lease.due(40_000), true);
  lease.asked(40_000);
  assert.equal(lease.due(41_000), false);
  assert.equal(lease.ending(89_000), false);
  assert.equal(lease.ending(91_000), true);
  assert.equal(lease.ending(92_000), false, "once");
  lease.renewed(120, 92_000);
  assert.equal(lease.ending(183_000), true, "and again when it was renewed");
  lease.lost();
  assert.equal(lease.due(1e12) || lease.ending(1e12), false);
});

test("what is said of each response is read from the form's fields", () => {
  const entries = [
    ["attribute.A.helpful", "2"],
    ["attribute.B.helpful", ""],
    ["flag.B.unsafe", "on"],
    ["flag.B.private_data", "on"],
    ["comment", "x"],
  ];
  assert.deepEqual(detailsOf(entries), { attributes: { A: { helpful: 2 } }, flags: { B: ["unsafe", "private_data"] } });
  assert.equal(missingRating(["attribute.A.helpful", "attribute.B.helpful"], entries), "attribute.B.helpful");
  assert.equal(missingRating(["attribute.A.helpful"], entries), null);
});

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
