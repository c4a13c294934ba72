import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { addEventListener() {} };
const { actionOf } = await import("../../static/js/annotate-keys.js");

test("a key does what its person chose, and nothing that this item has not", () => {
  const keys = { tie: "q", raw: "w", pick_A4: "1" };
  const actions = { tie() {}, raw() {} };
  assert.equal(actionOf("q", keys, actions), "tie");
  assert.equal(actionOf("Q", keys, actions), "tie");
  assert.equal(actionOf("t", keys, actions), null);
  assert.equal(actionOf("1", keys, actions), null);
});
