import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { follow, followAt, stateInWords } from "../../static/js/live.js";

/** An EventSource that says what a test tells it to. */
class Source extends EventTarget {
  static CLOSED = 2;
  static opened = [];
  readyState = 1;
  constructor(url) {
    super();
    this.url = url;
    Source.opened.push(this);
  }
  says(kind, data) {
    this.dispatchEvent(Object.assign(new Event(kind), { data: JSON.stringify(data) }));
  }
  breaks(readyState) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }
  close() {
    this.readyState = Source.CLOSED;
  }
}

const known = { EventSource: globalThis.EventSource, fetch: globalThis.fetch };
beforeEach(() => {
  Source.opened = [];
  globalThis.EventSource = Source;
});
afterEach(() => Object.assign(globalThis, known));

/** A page that follows generation 5: its text, the states that it heard of, and how it ended. */
function page() {
  const seen = { text: "", states: [], ends: [] };
  seen.following = follow(5, {
    onText: (piece) => {
      seen.text += piece;
    },
    onReset: () => {
      seen.text = "";
    },
    onState: (state) => seen.states.push(state),
    onEnd: (end) => seen.ends.push(end),
  });
  return seen;
}

test("pieces make a text, and its end closes the connection", () => {
  const seen = page();
  const [source] = Source.opened;
  assert.equal(source.url, "/api/v1/live/5/events");
  source.says("state", { state: "streaming" });
  source.says("text", { text: "one " });
  source.says("text", { text: "two" });
  assert.equal(seen.text, "one two");
  source.says("end", { state: "done", text: "one two" });
  assert.deepEqual(seen.ends, [{ state: "done", text: "one two" }]);
  assert.equal(source.readyState, Source.CLOSED, "or it would connect again for ever");
});

test("texts that stand side by side come in one stream", () => {
  const texts = ["", ""];
  const ends = [];
  followAt("/api/v1/dialogues/4/turns/9", {
    onText: (now) => {
      now.texts.forEach((piece, side) => {
        texts[side] += piece;
      });
    },
    onEnd: (end) => ends.push(end),
  });
  const [source] = Source.opened;
  assert.equal(source.url, "/api/v1/dialogues/4/turns/9/events");
  source.says("text", { texts: ["one ", "two "] });
  source.says("text", { texts: ["more", "text"] });
  assert.deepEqual(texts, ["one more", "two text"]);
  source.says("end", { replies: [{ text: "one more" }, { text: "two text" }] });
  assert.equal(ends.length, 1);
});

test("a reset voids what came before", () => {
  const seen = page();
  Source.opened[0].says("text", { text: "a first try" });
  Source.opened[0].says("reset", {});
  Source.opened[0].says("text", { text: "a second" });
  assert.equal(seen.text, "a second");
});

test("a connection that breaks is the EventSource's own to mend: it knows what it has", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const seen = page();
  Source.opened[0].says("text", { text: "one " });
  Source.opened[0].breaks(0);
  context.mock.timers.tick(60_000);
  assert.equal(Source.opened.length, 1);
  Source.opened[0].dispatchEvent(new Event("open"));
  assert.equal(seen.text, "one ", "what was there stays");
});

test("a connection that was refused is opened anew, more and more slowly, and all comes again", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const seen = page();
  Source.opened[0].says("text", { text: "one " });
  const after = [];
  for (let n = 1; n <= 7; n++) {
    Source.opened.at(-1).breaks(Source.CLOSED);
    let waited = 0;
    for (; Source.opened.length === n; waited++) context.mock.timers.tick(1000);
    after.push(waited);
  }
  assert.deepEqual(after, [1, 2, 4, 8, 16, 30, 30]);
  assert.match(stateInWords(seen.states.at(-1)), /trying again/);
  assert.equal(seen.text, "one ", "what is shown stays until something better comes");
  const last = Source.opened.at(-1);
  last.dispatchEvent(new Event("open"));
  last.says("state", { state: "streaming" });
  last.says("text", { text: "one two" });
  assert.equal(seen.text, "one two");
  last.breaks(Source.CLOSED);
  context.mock.timers.tick(1000);
  assert.equal(Source.opened.length, 9, "it is patient from the beginning again");
});

test("who looks away is told nothing more", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const seen = page();
  Source.opened[0].breaks(Source.CLOSED);
  seen.following.close();
  context.mock.timers.tick(60_000);
  assert.equal(Source.opened.length, 1);
  assert.equal(Source.opened[0].readyState, Source.CLOSED);
});

test("stop asks the server, and says so when it cannot be reached", async () => {
  const asked = [];
  globalThis.fetch = async (url, options) => asked.push([url, options.method]);
  const seen = page();
  await seen.following.stop();
  assert.deepEqual(asked, [["/api/v1/live/5/stop", "POST"]]);
  assert.deepEqual(seen.states, []);
  globalThis.fetch = async () => {
    throw new TypeError("Failed to fetch");
  };
  await seen.following.stop();
  assert.match(stateInWords(seen.states.at(-1)), /press Stop again/);
});

test("a state in words: the reason first, then the place in the queue", () => {
  assert.equal(stateInWords({ state: "failed", error: "Ask again." }), "Ask again.");
  assert.equal(stateInWords({ state: "queued", position: 2 }), "Waiting: 2 before it");
  assert.equal(stateInWords({ state: "queued", position: 0 }), "Waiting for the model");
  assert.deepEqual(
    ["streaming", "done", "stopped"].map((state) => stateInWords({ state })),
    ["Writing", "Complete", "Stopped"],
  );
});
