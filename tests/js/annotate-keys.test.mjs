import assert from "node:assert/strict";
import { test } from "node:test";

const heard = {};
globalThis.document = {
  addEventListener: (kind, listener, capture = false) => {
    heard[kind] = { ...heard[kind], [capture ? "first" : "then"]: listener };
  },
  querySelector: () => null,
};
globalThis.localStorage = { getItem: () => null };
await import("../../static/js/keys.js");
const sendIt = heard.keydown.then;
await import("../../static/js/annotate-keys.js");
const { actionOf, hold, listen, release } = globalThis.corralKeys;

/** Press a key on `target`; returns whether the page took it from the browser. */
function keydown(given, target) {
  let taken = false;
  let stopped = false;
  const event = {
    ...(typeof given === "string" ? { key: given } : given),
    target,
    preventDefault() {
      taken = true;
      event.defaultPrevented = true;
    },
    stopPropagation() {
      stopped = true;
    },
  };
  heard.keydown.first(event);
  if (!stopped) heard.keydown.then(event);
  return taken;
}

const nowhere = { matches: () => false, closest: () => null };
const field = { matches: (selector) => selector.startsWith("textarea") || selector.startsWith("#judge textarea"), closest: () => null };

test("a key does what its person chose, and nothing that this item has not", () => {
  const keys = { tie: "q", raw: "w", pick_A4: "1" };
  const actions = { tie() {}, raw() {} };
  assert.equal(actionOf({ key: "q" }, keys, actions), "tie");
  assert.equal(actionOf({ key: "Q" }, keys, actions), "tie");
  assert.equal(actionOf({ key: "t" }, keys, actions), null);
  assert.equal(actionOf({ key: "1" }, keys, actions), null);
});

test("what an input method is still at is never a key: nothing is sent, left or chosen", () => {
  const done = [];
  const actions = { pick: () => done.push("pick") };
  const given = { keys: { pick: "1" }, actions, submit: () => done.push("submit"), escape: () => done.push("escape") };
  listen(() => given);
  for (const state of [{ isComposing: true }, { keyCode: 229 }]) {
    for (const key of ["Enter", "Escape"]) assert.ok(!keydown({ key, ctrlKey: key === "Enter", ...state }, field));
    assert.ok(!keydown({ key: "1", ...state }, nowhere));
  }
  assert.ok(!keydown({ key: "Process", code: "Digit1" }, nowhere));
  assert.deepEqual(done, []);
  keydown({ key: "Escape" }, field);
  keydown({ key: "Enter", ctrlKey: true }, field);
  keydown({ key: "Enter", ctrlKey: true, repeat: true }, field); // a key that is held down sends once
  assert.deepEqual(done, ["escape", "submit"]);
});

test("AltGr types a sign, and Ctrl or Alt make a command of it", () => {
  const done = [];
  const actions = { previous: () => done.push("previous"), improve: () => done.push("improve") };
  listen(() => ({ keys: { previous: "[", improve: "e" }, actions }));
  const altGr = { getModifierState: (name) => name === "AltGraph" };
  keydown({ key: "[", code: "Digit8", ctrlKey: true, altKey: true, ...altGr }, nowhere); // German, on Windows
  keydown({ key: "[", code: "Digit8", ...altGr }, nowhere); // on Linux
  keydown({ key: "[", code: "Digit8", ctrlKey: true, altKey: true }, nowhere);
  keydown({ key: "€", code: "KeyE", ctrlKey: true, altKey: true, ...altGr }, nowhere);
  keydown({ key: "e", code: "KeyE", ctrlKey: true }, nowhere);
  keydown({ key: "e", code: "KeyE", altKey: true }, nowhere);
  keydown({ key: "у", code: "KeyE", ctrlKey: true }, nowhere);
  assert.deepEqual(done, ["previous", "previous", "previous"]);
});

test("what is pressed while the next item is on its way is for that one, and a second Enter is for the one before", () => {
  const done = [];
  const item = (name) => () => ({
    keys: { pick: "1", tie: "t" },
    actions: { pick: () => done.push(`${name} pick`), tie: () => done.push(`${name} tie`) },
    submit: () => done.push(`${name} submit`),
  });
  document.activeElement = nowhere;
  listen(item("first"));
  hold();
  keydown({ key: "Enter", ctrlKey: true }, nowhere);
  for (const key of ["1", "t"]) assert.ok(keydown(key, nowhere));
  keydown({ key: "Enter", ctrlKey: true }, nowhere);
  assert.deepEqual(done, []);
  listen(item("second"));
  assert.deepEqual(done, []);
  release();
  assert.deepEqual(done, ["second pick", "second tie", "second submit"]);
});

test("a key that does nothing on this item says so, and the space bar scrolls", () => {
  const idle = [];
  listen(() => ({ keys: { tie: "t" }, actions: { tie() {} }, nothing: ({ key }) => idle.push(key) }));
  for (const key of ["x", "t", " ", "F5", "Tab", "ArrowUp"]) keydown(key, nowhere);
  assert.deepEqual(idle, ["x"]);
});

test("what is pressed before the rest of the page has come is done when it has, and no more than a judgement", async () => {
  await import("../../static/js/annotate-keys.js?early"); // a page that has just begun
  document.body = null;
  const press = (key) => keydown(key, nowhere);
  const done = [];
  for (const key of ["Shift", "Enter", "1", "e", "x"]) press(key); // Enter is the browser's own, but for the bare page
  const actions = { pick: () => done.push("pick"), improve: () => done.push("improve"), skip: () => done.push("skip") };
  globalThis.corralKeys.listen(() => ({ keys: { pick: "1", improve: "e", skip: "x" }, actions }));
  assert.deepEqual(done, ["pick", "improve"]);
  press("x");
  assert.deepEqual(done, ["pick", "improve", "skip"]);
});

test("what is pressed while an action is at work waits for it, and is text where a field has the focus by then", async () => {
  const typed = [];
  const page = nowhere;
  document.execCommand = (_command, _ui, text) => typed.push(text);
  document.activeElement = page;
  const press = (key) => keydown(key, page);
  const done = [];
  let open;
  const opened = new Promise((resolve) => {
    open = () => {
      document.activeElement = field;
      resolve();
    };
  });
  const actions = { improve: () => opened, nothing: () => done.push("nothing") };
  globalThis.corralKeys.listen(() => ({ keys: { improve: "e", nothing: "n" }, actions, escape() {} }));
  for (const key of ["e", "n", "o", "Enter"]) press(key);
  assert.deepEqual([done, typed], [[], []]);
  open();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual([done, typed], [[], ["n", "o", "\n"]]);
  document.activeElement = page;
  press("n");
  assert.deepEqual(done, ["nothing"]);
});

for (const [words, enter] of Object.entries({
  Enter: { key: "Enter" },
  "Ctrl+Enter": { key: "Enter", ctrlKey: true },
  "⌘ Enter": { key: "Enter", metaKey: true },
})) {
  test(`a judgement and ${words} that come before the scripts are a submit`, async () => {
    const body = { ...nowhere };
    const radio = { matches: (selector) => selector === "#judge input", closest: () => null };
    Object.assign(document, { body, activeElement: body });
    await import(`../../static/js/annotate-keys.js?${encodeURIComponent(words)}`); // a page that has just begun
    const done = [];
    keydown("8", body);
    keydown(enter, body);
    const pick = () => {
      done.push("pick");
      document.activeElement = radio;
    };
    globalThis.corralKeys.listen(() => ({ keys: { pick: "8" }, actions: { pick }, submit: () => done.push("submit") }));
    assert.deepEqual(done, ["pick", "submit"]);
  });
}

test("what is typed in a field before the scripts have come is typed once; Ctrl+Enter there sends it when they have", async () => {
  const typed = [];
  document.execCommand = (_command, _ui, text) => typed.push(text);
  Object.assign(document, { body: { ...nowhere }, activeElement: field });
  await import("../../static/js/annotate-keys.js?field"); // a page that has just begun
  const done = [];
  assert.ok(!keydown("a", field)); // the browser types it
  keydown({ key: "Enter", ctrlKey: true }, field);
  globalThis.corralKeys.listen(() => ({ keys: {}, actions: {}, submit: () => done.push("submit") }));
  assert.deepEqual([typed, done], [[], ["submit"]]);
});

test("Ctrl+Enter sends a form that says so, on any page and before its modules have come", () => {
  const sent = [];
  const form = { requestSubmit: () => sent.push("form") };
  const inside = { closest: (selector) => (selector === "form[data-send]" ? form : null) };
  const press = (given) => sendIt({ key: "Enter", ctrlKey: true, target: inside, preventDefault() {}, ...given });
  for (const given of [{}, { isComposing: true }, { repeat: true }, { ctrlKey: false }, { target: nowhere }]) press(given);
  assert.deepEqual(sent, ["form"]);
});
