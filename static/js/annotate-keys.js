// One key, one action: which key does what comes with the page, since everybody may choose. A script that is there before the
// page is shown: what is pressed while the rest is on its way is kept, and done when it has come. The same holds for what is
// pressed while an action is still at work: after the key that opens the editor, letters are text, however slowly it opens.

(() => {
  const KEPT = 2; // a judgement and what follows it; more would be text that somebody believes to be typing
  const early = [];
  let current = null;
  let waiting = null; // what was pressed since the action began that is still at work

  const dialog = () => document.querySelector("#keys");
  const areOn = () => localStorage.getItem("keys") !== "off";

  function isTyping(target) {
    return target.matches("textarea, select, input:not([type=radio], [type=checkbox])") || target.isContentEditable;
  }

  function showKeys() {
    dialog().querySelector("[data-keys-on]").checked = areOn();
    dialog().showModal();
  }

  /** The action behind `key`, of those in `actions`, by the map from action to key. */
  function actionOf(key, keys, actions) {
    const pressed = key.length === 1 ? key.toLowerCase() : key;
    return Object.keys(actions).find((name) => keys[name] === pressed) ?? null;
  }

  function handle(event, target = event.target) {
    const work = current();
    if (!work || document.querySelector("dialog[open]")) return;
    if (target.closest("[data-skip] .menu__panel")) return; // there a digit or Ctrl+Enter is not about the responses
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      work.submit();
    } else if (event.key === "Escape" && target.matches("#judge textarea")) {
      event.preventDefault();
      work.escape();
    } else if (!event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(target)) {
      single(event, work);
    }
  }

  /** Whether `event` is about the work; Tab, F5 and the browser's own shortcuts are not. */
  function waits({ key, ctrlKey, metaKey, altKey }) {
    if (ctrlKey || metaKey || altKey) return key === "Enter";
    return key.length === 1 || ["Backspace", "Enter", "Escape"].includes(key);
  }

  /** Before the scripts have come; the browser itself does what Enter means on a link or in a field. */
  function isKept({ key, target }) {
    return key.length === 1 || (key === "Enter" && target === document.body);
  }

  /** Do what was pressed meanwhile, where the focus is now. */
  function catchUp() {
    const pressed = waiting;
    waiting = null;
    while (pressed.length && !waiting) {
      const event = pressed.shift();
      const target = document.activeElement ?? event.target;
      if (event.ctrlKey || event.metaKey || event.altKey) handle(event, target);
      else if (isTyping(target) && event.key !== "Escape") type(event.key);
      else if (event.key === "Enter" && target.matches("#judge input"))
        current()?.submit(); // as the browser would
      else handle(event, target);
    }
    waiting?.push(...pressed);
  }

  function type(key) {
    if (key === "Backspace") document.execCommand("delete");
    else document.execCommand("insertText", false, key === "Enter" ? "\n" : key);
  }

  function single(event, { keys, actions }) {
    const name = event.key === "?" ? null : areOn() && actionOf(event.key, keys, actions);
    if (event.key === "?") showKeys();
    else if (name) begin(actions[name]());
    else return;
    event.preventDefault();
  }

  /** Keep what is pressed until `action` has ended. */
  function begin(action) {
    if (typeof action?.finally !== "function") return;
    waiting = [];
    action.catch(() => {}).finally(catchUp);
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    if (waiting && waits(event)) {
      event.preventDefault();
      waiting.push(event);
    } else if (current) handle(event);
    else if (early.length < KEPT && isKept(event)) early.push(event);
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-show-keys]")) showKeys();
  });
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-keys-on]")) localStorage.setItem("keys", target.checked ? "on" : "off");
  });

  /** From now on `given()` says what the item on the page can do: `{ keys, actions, submit, escape }`, or null. */
  function listen(given) {
    current = given;
    waiting = early.splice(0);
    catchUp();
  }

  globalThis.corralKeys = { actionOf, listen };
})();
