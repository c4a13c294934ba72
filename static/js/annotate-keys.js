// One key, one action: which key does what comes with the page, since everybody may choose. A script that is there before the
// page is shown: what is pressed while the rest is on its way is kept, and done when it has come.

(() => {
  const KEPT = 2; // a judgement and what follows it; more would be text that somebody believes to be typing
  const early = [];
  let current = null;

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

  function handle(event) {
    const work = current();
    if (!work || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.target.closest("[data-skip] .menu__panel")) return; // there a digit or Ctrl+Enter is not about the responses
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      work.submit();
    } else if (event.key === "Escape" && event.target.matches("#judge textarea")) {
      event.preventDefault();
      work.escape();
    } else if (!event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target)) {
      single(event, work);
    }
  }

  function single(event, { keys, actions }) {
    const name = event.key === "?" ? null : areOn() && actionOf(event.key, keys, actions);
    if (event.key === "?") showKeys();
    else if (name) actions[name]();
    else return;
    event.preventDefault();
  }

  document.addEventListener("keydown", (event) => {
    if (current) handle(event);
    else if (early.length < KEPT && event.key.length === 1) early.push(event);
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
    for (const event of early.splice(0)) handle(event);
  }

  globalThis.corralKeys = { actionOf, listen };
})();
