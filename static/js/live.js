// A text that is written while somebody waits: the server's events, followed until it ends.

import { t } from "./text.js";

const SOON = 1000;
const LATE = 30000;

/** Follow generation `id`. Returns `stop()`, which asks the server to end it, and `close()`, which only looks away. */
export function follow(id, { onText, ...heard }) {
  return followAt(`/api/v1/live/${id}`, { ...heard, onText: ({ text }) => onText(text) });
}

/** Follow the events at `url`: one text, or several that stand side by side. */
export function followAt(url, { onText, onReset = () => {}, onState = () => {}, onEnd }) {
  const said = (event) => JSON.parse(event.data);
  let source;
  let again;
  let wait = SOON;
  const open = (onOpen) => {
    source = new EventSource(`${url}/events`);
    source.addEventListener("open", onOpen);
    source.addEventListener("text", (event) => onText(said(event)));
    source.addEventListener("reset", () => onReset());
    source.addEventListener("state", (event) => {
      wait = SOON;
      onState(said(event));
    });
    source.addEventListener("end", (event) => {
      source.close(); // an EventSource would connect again
      onEnd(said(event));
    });
    source.addEventListener("error", () => {
      // It connects again by itself, and says what it has, unless it was answered: by a proxy, or after the session ended.
      if (source.readyState !== EventSource.CLOSED) return;
      onState({ error: t("Connection lost: trying again.") });
      again = setTimeout(() => open(onReset), wait); // a new one has nothing, so all of it comes again
      wait = Math.min(2 * wait, LATE);
    });
  };
  open(() => {});
  return {
    stop: async () => {
      try {
        await fetch(`${url}/stop`, { method: "POST" });
      } catch {
        onState({ error: t("The server cannot be reached: press Stop again.") });
      }
    },
    close: () => {
      clearTimeout(again);
      source.close();
    },
  };
}

/** What the state of a generation means to who waits for it. */
export function stateInWords({ state, position, error }) {
  if (error) return error;
  if (state === "queued")
    return position ? t("Waiting: {position} before it", { position }) : t("Waiting for the model");
  return { streaming: t("Writing"), done: t("Complete"), stopped: t("Stopped") }[state] ?? "";
}
