// The one place that reads keys. What a key means is what it types; a layout that has letters, digits or signs elsewhere falls back
// on where the key is, as on a US keyboard. A plain script on every page: what listens before the modules have come needs it too.

(() => {
  // by `event.code`; [without Shift, with Shift]
  const SIGNS = {
    Minus: ["-", "_"],
    Equal: ["=", "+"],
    BracketLeft: ["[", "{"],
    BracketRight: ["]", "}"],
    Backslash: ["\\", "|"],
    Semicolon: [";", ":"],
    Quote: ["'", '"'],
    Backquote: ["`", "~"],
    Comma: [",", "<"],
    Period: [".", ">"],
    Slash: ["/", "?"],
    NumpadAdd: ["+", "+"],
    NumpadSubtract: ["-", "-"],
  };
  const isMac = /^Mac/.test(globalThis.navigator?.platform ?? "");

  /** Whether an input method has this key: it converts, chooses or gives up what is being written. */
  function isComposing({ isComposing, keyCode, key }) {
    // Safari ends the composition before the key that ended it; 229 tells that key all the same
    return isComposing === true || keyCode === 229 || key === "Process";
  }

  /** Whether Ctrl, Alt or ⌘ make a command of the key. AltGr (⌥ on a Mac, Ctrl and Alt on some systems) types a sign. */
  function isCommand(event) {
    return (event.ctrlKey || event.metaKey || event.altKey) && !isThirdLevel(event);
  }

  /** Whether it types something, and is no key with a name of its own ("F5", "ArrowUp"). Arabic has keys that type two letters. */
  function isText({ key = "" }) {
    return key !== "" && !/^[A-Za-z][A-Za-z0-9]+$/.test(key);
  }

  function isThirdLevel(event) {
    if (event.metaKey || !isText(event)) return false;
    if (event.getModifierState?.("AltGraph")) return true;
    const types = event.key.toLowerCase() !== printed(event);
    return event.altKey && types && (event.ctrlKey || isMac);
  }

  /** What a US keyboard has on this key, or "". */
  function printed({ code = "", shiftKey }) {
    const [, letter, digit] = /^(?:Key([A-Z])|(?:Digit|Numpad)([0-9]))$/.exec(code) ?? [];
    if (digit && shiftKey && code.startsWith("Digit")) return ""; // "!" is not a 1
    return letter?.toLowerCase() ?? digit ?? SIGNS[code]?.[shiftKey ? 1 : 0] ?? "";
  }

  /** What `event` may mean, the most literal first: small letters, digits and signs. */
  function meanings(event) {
    const { key = "" } = event;
    const typed = isText(event) ? [key.toLowerCase(), key.normalize("NFKC").toLowerCase()] : [];
    if (!typed.length && key !== "Dead" && key !== "Unidentified") return [];
    // a Latin letter or a digit is what it says: an A is an A where a US keyboard has its Q
    const isPlain = /^[a-z0-9]$/.test(typed[1] ?? "");
    return isPlain || isThirdLevel(event) ? typed : [...typed, printed(event)].filter(Boolean);
  }

  /** The first meaning of `event` of which `isKnown` is true, or null. */
  function meaning(event, isKnown) {
    return meanings(event).find(isKnown) ?? null;
  }

  /** Ctrl+Enter, or ⌘ Enter: send what is written. Not what an input method is still at, nor a key that is held down. */
  function isSend(event) {
    return event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat && !isComposing(event);
  }

  // here, so that it is heard before the page's modules have come
  globalThis.document?.addEventListener("keydown", (event) => {
    const form = isSend(event) && event.target.closest("form[data-send]");
    if (!form) return;
    event.preventDefault();
    form.requestSubmit();
  });

  globalThis.corralRead = { isCommand, isComposing, isSend, isText, meaning };
})();
