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
  for (const key of ["Shift", "Enter", "1", "e", "x"]) press(key); // Enter is the browser's own, but for the bare page
  const actions = { pick: () => done.push("pick"), improve: () => done.push("improve"), skip: () => done.push("skip") };
  listen(() => ({ keys: { pick: "1", improve: "e", skip: "x" }, actions }));
  assert.deepEqual(done, ["pick", "improve"]);
  press("x");
  assert.deepEqual(done, ["pick", "improve", "skip"]);
});

test("what is pressed while an action is at work waits for it, and is text where a field has the focus by then", async () => {
  const typed = [];
  const field = { matches: (selector) => selector.startsWith("textarea"), closest: () => null };
  const page = { matches: () => false, closest: () => null };
  document.execCommand = (_command, _ui, text) => typed.push(text);
  document.activeElement = page;
  const press = (key) => heard.keydown({ key, target: page, preventDefault() {} });
  const done = [];
  let open;
  const opened = new Promise((resolve) => {
    open = () => {
      document.activeElement = field;
      resolve();
    };
  });
  const actions = { improve: () => opened, nothing: () => done.push("nothing") };
  listen(() => ({ keys: { improve: "e", nothing: "n" }, actions, escape() {} }));
  for (const key of ["e", "n", "o", "Enter"]) press(key);
  assert.deepEqual([done, typed], [[], []]);
  open();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual([done, typed], [[], ["n", "o", "\n"]]);
  document.activeElement = page;
  press("n");
  assert.deepEqual(done, ["nothing"]);
});

test("a judgement and Enter that come before the scripts are a submit", async () => {
  const body = { matches: () => false, closest: () => null };
  const radio = { matches: (selector) => selector === "#judge input", closest: () => null };
  Object.assign(document, { body, activeElement: body });
  await import("../../static/js/annotate-keys.js?again"); // a page that has just begun
  const done = [];
  for (const key of ["8", "Enter"]) heard.keydown({ key, target: body, preventDefault() {} });
  const pick = () => {
    done.push("pick");
    document.activeElement = radio;
  };
  globalThis.corralKeys.listen(() => ({ keys: { pick: "8" }, actions: { pick }, submit: () => done.push("submit") }));
  assert.deepEqual(done, ["pick", "submit"]);
});
