// A text that is written while somebody waits: the server's events, followed until it ends.

/** Follow generation `id`. Returns `stop()`, which asks the server to end it, and `close()`, which only looks away. */
export function follow(id, { onText, onReset = () => {}, onState = () => {}, onEnd }) {
  const source = new EventSource(`/api/v1/live/${id}/events`);
  const said = (event) => JSON.parse(event.data);
  source.addEventListener("text", (event) => onText(said(event).text));
  source.addEventListener("reset", () => onReset());
  source.addEventListener("state", (event) => onState(said(event)));
  source.addEventListener("end", (event) => {
    source.close(); // an EventSource would connect again
    onEnd(said(event));
  });
  return {
    stop: () => fetch(`/api/v1/live/${id}/stop`, { method: "POST" }),
    close: () => source.close(),
  };
}

/** What the state of a generation means to who waits for it. */
export function stateInWords({ state, position, error }) {
  if (error) return error;
  if (state === "queued") return position ? `Waiting: ${position} before it` : "Waiting for the model";
  return { streaming: "Writing", done: "Complete", stopped: "Stopped" }[state] ?? "";
}
