import assert from "node:assert/strict";
import { test } from "node:test";
import {
  arrange,
  complete,
  fromDraft,
  grouped,
  join,
  place,
  places,
  ranking,
  setGap,
  shiftGap,
  toggleTie,
  typed,
  written,
} from "../../static/js/annotate-ranking.js";

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

test("a ranking is complete when every gap is set", () => {
  let state = ranking(3);
  assert.equal(complete(state), false);
  state = setGap(setGap(state, 0, 3), 1, 0);
  assert.equal(complete(state), true);
  assert.deepEqual(grouped(state), { ranking: [["A"], ["B", "C"]], strengths: [3] });
  assert.deepEqual([...places(state)], [["A", 1], ["B", 2], ["C", 2]]);
});

test("a tie is taken back by the same key", () => {
  const tied = toggleTie(ranking(3), 0);
  assert.deepEqual(tied.gaps, [0, null]);
  assert.deepEqual(toggleTie(tied, 0).gaps, [null, null]);
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

test("a response that joins another shares its place, and what was said of that place holds for both", () => {
  const state = setGap(setGap(setGap(ranking(4), 0, 1), 1, 0), 2, 3); // A >1 B = C >3 D
  assert.deepEqual(join(state, "D", "B"), { order: ["A", "B", "C", "D"], gaps: [1, 0, 0], touched: true });
  assert.deepEqual(join(state, "A", "B"), { order: ["B", "C", "A", "D"], gaps: [0, 0, 3], touched: true });
  assert.deepEqual(join(state, "D", "A"), { order: ["A", "D", "B", "C"], gaps: [0, 1, 0], touched: true });
  assert.deepEqual(join(ranking(3), "A", "C"), { order: ["B", "C", "A"], gaps: [null, 0], touched: true });
});

test("a ranking is typed as letters, as a formula, or with its strengths, and is written back", () => {
  const said = (text, shown = 4) => written(typed(text, shown).state);
  assert.equal(said("dabc"), "D>A>B>C");
  assert.equal(said("DAB"), "D>A>B>C"); // the last one follows by itself
  assert.equal(said("D>A=B>C"), "D>A=B>C");
  assert.equal(said("D>A=B"), "D>A=B>C");
  assert.equal(said("DAB="), "D>A>B=C");
  assert.equal(said("dab321"), "D3A2B1C");
  assert.equal(said("DABC3=1"), "D3A=B1C");
  assert.equal(said("D3A2B1"), "D3A2B1C");
  assert.equal(said("d 3, a = b;c"), "D3A=B>C");
  assert.equal(said("Ｄ＞Ａ＝Ｂ"), "D>A=B>C"); // full-width, as an input method leaves it
  assert.equal(said("hgfedcba", 8), "H>G>F>E>D>C>B>A");
});

test("what is not ranked yet stands at the end, and says so", () => {
  const { state, left } = typed("D3B", 4);
  assert.deepEqual([written(state), left], ["D3B>A>C", ["A", "C"]]);
  assert.deepEqual(typed("", 4), { state: null, left: ["A", "B", "C", "D"], filled: false });
});

test("a letter twice, a response that is not there, and other signs are refused with a reason", () => {
  const problem = (text) => typed(text, 4).problem;
  assert.equal(problem("DAD"), "D is ranked already.");
  assert.equal(problem("DE"), "There is no response E: they are A to D.");
  assert.equal(problem("3"), "Begin with the letter of the best response.");
  assert.equal(problem("D5"), "Strengths are 1 to 4.");
  assert.equal(problem("D!"), "“!” is no part of a ranking: letters, “=” and 1 to 4 are.");
  assert.equal(problem("DAB3214"), "Every strength is set: choose a place to change it.");
});
