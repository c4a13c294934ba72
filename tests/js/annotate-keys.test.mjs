import assert from "node:assert/strict";
import { test } from "node:test";

const heard = {};
globalThis.document = {
  addEventListener: (kind, listener) => {
    heard[kind] = listener;
  },
  querySelector: () => null,
};
globalThis.localStorage = { getItem: () => null };
await import("../../static/js/annotate-keys.js");
const { actionOf, listen } = globalThis.corralKeys;

test("a key does what its person chose, and nothing that this item has not", () => {
  const keys = { tie: "q", raw: "w", pick_A4: "1" };
  const actions = { tie() {}, raw() {} };
  assert.equal(actionOf("q", keys, actions), "tie");
  assert.equal(actionOf("Q", keys, actions), "tie");
  assert.equal(actionOf("t", keys, actions), null);
  assert.equal(actionOf("1", keys, actions), null);
});

test("what is pressed before the rest of the page has come is done when it has, and no more than a judgement", () => {
  const target = { matches: () => false, closest: () => null };
  const press = (key) => heard.keydown({ key, target, preventDefault() {} });
  const done = [];
  for (const key of ["Shift", "1", "e", "x"]) press(key);
  const actions = { pick: () => done.push("pick"), improve: () => done.push("improve"), skip: () => done.push("skip") };
  listen(() => ({ keys: { pick: "1", improve: "e", skip: "x" }, actions }));
  assert.deepEqual(done, ["pick", "improve"]);
  press("x");
  assert.deepEqual(done, ["pick", "improve", "skip"]);
});
