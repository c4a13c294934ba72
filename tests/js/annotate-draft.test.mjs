import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ActiveClock,
  backoff,
  described,
  detailsOf,
  fingerprint,
  judged,
  Lease,
  preferred,
} from "../../static/js/annotate-draft.js";
import { editProblem } from "../../static/js/annotate-edit.js";

test("a tie prefers nothing", () => {
  assert.equal(preferred("B2"), "B");
  assert.equal(preferred("tie"), null);
  assert.equal(preferred(""), null);
  assert.equal(preferred("written"), "A", "what stands for the answer that is written");
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
  assert.match(editProblem("a", "a", true), /requires/);
  assert.match(editProblem("  ", "a", false), /empty/);
  assert.equal(editProblem("b", "a", true), "");
});

test("two drafts can be told apart in words", () => {
  const draft = { outcome: "ranked", ranking: [["B"], ["A", "C"]], strengths: [3], edits: { B: "Better." }, comment: "why" };
  assert.equal(described(draft), "B >3 A = C\n\nB, improved: Better.\n\nwhy");
  assert.equal(described({ outcome: "tie" }, { tie: "Equally good" }), "Equally good");
  assert.equal(described({ outcome: "written", edits: { A: "It is 42." } }, {}), "It is 42.");
  assert.equal(described({}), "(nothing yet)");
});

const RANKED = { ranking: [["A"], ["B"]], strengths: [2] };

test("what a draft says of the judgement so far", () => {
  assert.deepEqual(judged("", undefined), { outcome: null, ranking: [], strengths: [] });
  assert.deepEqual(judged("written", undefined), { outcome: "written", ranking: [], strengths: [] });
  assert.deepEqual(judged("B2", undefined), { outcome: "ranked", ranking: [["B"], ["A"]], strengths: [2] });
  assert.deepEqual(judged("tie", RANKED), { outcome: "tie", ranking: [], strengths: [] });
  assert.deepEqual(judged("", null), { outcome: null, ranking: [], strengths: [] });
  assert.equal(judged("", RANKED).outcome, "ranked");
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
});
