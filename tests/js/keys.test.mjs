import assert from "node:assert/strict";
import { test } from "node:test";

await import("../../static/js/keys.js");
const { isText, meaning } = globalThis.corralRead;

/** What the page makes of a key, of those that it knows by default. */
const means = (key, code, more = {}) => meaning({ key, code, ...more }, (each) => "12345678tua[]=+-?ejkzl".includes(each));

const LAYOUTS = {
  "a US one": [["1", "Digit1", "1"], ["E", "KeyE", "e"], ["[", "BracketLeft", "["], ["=", "Equal", "="]],
  AZERTY: [["&", "Digit1", "1"], ["é", "Digit2", "2"], ["(", "Digit5", "5"], ["_", "Digit8", "8"], ["a", "KeyQ", "a"]],
  Cyrillic: [["у", "KeyE", "e"], ["У", "KeyE", "e"], ["е", "KeyT", "t"], ["х", "BracketLeft", "["], ["ъ", "BracketRight", "]"]],
  Greek: [["ε", "KeyE", "e"], ["τ", "KeyT", "t"], ["Θ", "KeyU", "u"]],
  Hebrew: [["ק", "KeyE", "e"], ["א", "KeyT", "t"], ["ו", "KeyU", "u"]],
  Arabic: [["١", "Digit1", "1"], ["ث", "KeyE", "e"], ["ش", "KeyA", "a"], ["؟", "Slash", "?", { shiftKey: true }]],
  Devanagari: [["१", "Digit1", "1"], ["ा", "KeyE", "e"]],
  "full-width": [["１", "Digit1", "1"], ["ｅ", "KeyE", "e"], ["Ｅ", "KeyE", "e"], ["？", "Slash", "?"], ["＝", "", "="]],
  "a number pad": [["1", "Numpad1", "1"], ["+", "NumpadAdd", "+"], ["-", "NumpadSubtract", "-"]],
  German: [["ü", "BracketLeft", "["], ["Dead", "Equal", "="], ["z", "KeyY", "z"]],
};

for (const [layout, keys] of Object.entries(LAYOUTS)) {
  test(`keys of ${layout} keyboard mean what is expected`, () => {
    for (const [key, code, expected, more] of keys) assert.equal(means(key, code, more), expected, `${key} at ${code}`);
  });
}

test("a Latin letter is what it says, and a key with a name means no letter", () => {
  assert.equal(means("q", "KeyA"), null); // AZERTY: the A is elsewhere
  assert.equal(means("!", "Digit1", { shiftKey: true }), null);
  for (const [key, code] of [["End", "Numpad1"], ["F1", "F1"], ["Shift", "ShiftLeft"], ["Enter", "Enter"]]) {
    assert.equal(means(key, code), null);
    assert.ok(!isText({ key }));
  }
  assert.ok(isText({ key: "لا" })); // one key, two letters
});

test("what somebody gave a key comes before where it is", () => {
  assert.equal(meaning({ key: "ф", code: "KeyA" }, (each) => each === "ф" || each === "a"), "ф");
});
