// One key, one action: which key does what comes with the page, since everybody may choose. A script that is there before the
// page is shown: what is pressed while the rest is on its way is kept, and done when it has come. The same holds for what is
// pressed while an action is still at work: after the key that opens the editor, letters are text, however slowly it opens. And it
// holds while the next item is on its way: what is pressed then is for that one, or for this one where it stays after all.

(() => {
  const KEPT = 2; // a judgement and what follows it; more would be text that somebody believes to be typing
  const early = [];
  const { isCommand, isComposing, isSend, isText, meaning } = globalThis.corralRead;
  let current = null;
  const waiting = []; // what was pressed while something was under way
  let acting = false; // an action is still at work
  let held = false; // another item may be coming

  const dialog = () => document.querySelector("#keys");
  const areOn = () => localStorage.getItem("keys") !== "off";

  function isTyping(target) {
    return target.matches("textarea, select, input:not([type=radio], [type=checkbox])") || target.isContentEditable;
  }

  /** The keys of the item on the page, from the first one on: what does not apply to it is left out. */
  function showKeys() {
    const without = current?.()?.without?.() ?? [];
    for (const line of dialog().querySelectorAll("[data-action]")) line.hidden = without.includes(line.dataset.action);
    dialog().querySelector("[data-keys-on]").checked = areOn();
    dialog().showModal();
    dialog().scrollTop = 0;
  }

  /** The action behind the key that was pressed, of those in `actions`, by the map from action to key; "?" is the list of keys. */
  function actionOf(event, keys, actions) {
    const names = Object.keys(actions);
    const key = meaning(event, (each) => each === "?" || names.some((name) => keys[name] === each));
    return key && (key === "?" ? "?" : names.find((name) => keys[name] === key));
  }

  function handle(event, target = event.target) {
    const work = current();
    if (!work || document.querySelector("dialog[open]")) return;
    // there a digit or Ctrl+Enter is not about the responses
    if (target.closest("[data-skip] .menu__panel")) return isTyping(target) ? undefined : closed(event, work);
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (isSend(event)) work.submit();
    } else if (event.key === "Escape" && target.matches("#judge textarea, [data-own-keys]")) {
      event.preventDefault();
      work.escape();
    } else if (!isCommand(event) && !isTyping(target)) {
      single(event, work);
    }
  }

  /** Whether `event` is about the work; Tab, F5 and the browser's own shortcuts are not. */
  function waits(event) {
    if (isCommand(event)) return event.key === "Enter";
    return isText(event) || isArrow(event) || ["Backspace", "Enter", "Escape"].includes(event.key);
  }

  /** Of use to what reads keys itself: a passage that is being selected, the rows of a ranking. */
  function isArrow(event) {
    return event.key.startsWith("Arrow");
  }

  /** Keep `event` until it is known what it is about. */
  function keep(event) {
    event.preventDefault();
    event.stopPropagation();
    // a second Enter is about the item that is being sent, and that is done already
    const again = event.key === "Enter" && (event.repeat || (held && !acting && !waiting.length));
    if (!again) waiting.push(event);
  }

  /** Before the scripts have come; the browser itself does what typing and Enter mean in a field or on a link. */
  function isKept(event) {
    if (isSend(event)) return true;
    if (isCommand(event) || isTyping(event.target)) return false;
    return isText(event) || (event.key === "Enter" && event.target === document.body);
  }

  /** Do what was pressed meanwhile, where the focus is now. */
  function catchUp() {
    while (waiting.length && !acting && !held) {
      const event = waiting.shift();
      const target = document.activeElement ?? event.target;
      if (isCommand(event)) handle(event, target);
      else if (target.matches("[data-own-keys]")) replay(event, target);
      else if (isArrow(event)) continue;
      else if (isTyping(target) && event.key !== "Escape") type(event.key);
      else if (event.key === "Enter" && target.matches("#judge input"))
        current()?.submit(); // as the browser would
      else handle(event, target);
    }
  }

  /** On something that reads keys itself, and else types or does what they mean everywhere. */
  function replay(event, target) {
    const isLeft = target.dispatchEvent(new KeyboardEvent("keydown", event));
    if (isLeft && isTyping(target) && event.key !== "Escape" && !isArrow(event)) type(event.key);
  }

  function type(key) {
    if (key === "Backspace") document.execCommand("delete");
    else document.execCommand("insertText", false, key === "Enter" ? "\n" : key);
  }

  /** In the panel of skipping: a key that would do something elsewhere says why it does not here. */
  function closed(event, { closed: say }) {
    if (areOn() && (isSend(event) || (!isCommand(event) && isText(event) && event.key !== " "))) say?.();
  }

  /** Enter where nothing has the focus that it could choose, open or submit. */
  function isIdleEnter({ key, target }) {
    return key === "Enter" && (target === document.body || target.matches("#work-title"));
  }

  function single(event, { keys, actions, nothing, failed }) {
    const name = actionOf(event, keys, areOn() ? actions : {});
    if (name === "?") showKeys();
    else if (name) begin(actions[name](), failed);
    else if (areOn() && ((isText(event) && event.key !== " ") || isIdleEnter(event))) return nothing?.(event);
    else return;
    event.preventDefault();
  }

  /** Keep what is pressed until `action` has ended; `failed` says that it could not. */
  function begin(action, failed) {
    if (typeof action?.finally !== "function") return;
    acting = true;
    const ended = () => {
      acting = false;
      catchUp();
    };
    action.catch(() => failed?.()).finally(ended);
  }

  /** Another item may be coming: keep what is pressed until `release`. */
  function hold() {
    held = true;
  }

  function release() {
    held = false;
    catchUp();
  }

  document.addEventListener(
    "keydown",
    (event) => {
      const isAbove = document.querySelector("dialog[open]"); // there a key is about the dialog, however much is on its way
      if ((acting || held) && !isAbove && !isComposing(event) && waits(event)) keep(event);
    },
    true, // before the rows of a ranking hear of it
  );
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || isComposing(event) || acting || held) return;
    if (current) handle(event);
    else if (early.length < KEPT && isKept(event)) early.push(event);
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-show-keys]")) showKeys();
  });
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-keys-on]")) localStorage.setItem("keys", target.checked ? "on" : "off");
  });

  /** From now on `given()` says what the item on the page can do: `{ keys, actions, submit, escape, nothing }`, or null. */
  function listen(given) {
    current = given;
    waiting.push(...early.splice(0));
    catchUp();
  }

  globalThis.corralKeys = { actionOf, hold, listen, release };
})();
