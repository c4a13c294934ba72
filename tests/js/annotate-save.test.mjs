import assert from "node:assert/strict";
import { test } from "node:test";
import { call, Refused, Saver } from "../../static/js/annotate-draft.js";

/** Timers that run when told. */
function clock() {
  const waiting = [];
  return {
    setTimeout: (run, milliseconds) => waiting.push({ run, milliseconds }) && waiting.length,
    clearTimeout: (id) => id && delete waiting[id - 1],
    delays: () => waiting.filter(Boolean).map((timer) => timer.milliseconds),
    async run() {
      for (const [i, timer] of waiting.entries()) {
        if (!timer) continue;
        delete waiting[i];
        await timer.run();
        return;
      }
    },
  };
}

function saver(save, timers = clock()) {
  const said = [];
  const refused = [];
  const made = new Saver({ save, version: 3, timers, onState: (state) => said.push(state), onRefused: (error) => refused.push(error) });
  return { made, said, refused, timers };
}

test("several changes are saved once, over the version that is known", async () => {
  const sent = [];
  const { made, said, timers } = saver(async (draft, version) => {
    sent.push([draft, version]);
    return { version: version + 1 };
  });
  made.note("a");
  made.note("ab");
  await timers.run();
  assert.deepEqual(sent, [["ab", 3]]);
  assert.equal(made.version, 4);
  assert.equal(said.at(-1), "saved");
});

test("what is typed while a save is under way is saved after it", async () => {
  const sent = [];
  const { made, timers } = saver(async (draft, version) => {
    sent.push([draft, version]);
    if (draft === "a") made.note("b");
    return { version: version + 1 };
  });
  made.note("a");
  await timers.run();
  await timers.run();
  assert.deepEqual(sent, [["a", 3], ["b", 4]]);
});

test("a network that is away is tried again, more and more slowly, with the newest text", async () => {
  let away = true;
  const sent = [];
  const { made, said, timers } = saver(async (draft, version) => {
    if (away) throw new TypeError("Failed to fetch");
    sent.push(draft);
    return { version: version + 1 };
  });
  made.note("a");
  await timers.run();
  assert.equal(said.at(-1), "failed");
  assert.deepEqual(timers.delays(), [1000]);
  made.note("ab");
  assert.deepEqual(timers.delays(), [1000], "typing does not hurry the retry");
  await timers.run();
  assert.deepEqual(timers.delays(), [2000]);
  away = false;
  await timers.run();
  assert.deepEqual(sent, ["ab"]);
  assert.equal(said.at(-1), "saved");
});

test("another window's newer draft stops saving until somebody chooses", async () => {
  let stale = true;
  const sent = [];
  const { made, refused, timers } = saver(async (draft, version) => {
    if (stale) throw new Refused(409, { type: "/api/v1/problems/stale-version", version: 7 });
    sent.push([draft, version]);
    return { version: version + 1 };
  });
  made.note("mine");
  await timers.run();
  assert.equal(refused.length, 1);
  made.note("more");
  assert.deepEqual(timers.delays(), []);
  stale = false;
  made.resume(7);
  made.note("mine and more");
  await made.flush();
  assert.deepEqual(sent, [["mine and more", 7]]);
});

test("an item that was left saves nothing more", async () => {
  const { made, said, timers } = saver(async () => assert.fail("saved"));
  made.note("a");
  made.stop();
  await timers.run();
  made.note("b");
  assert.deepEqual(timers.delays(), []);
  assert.deepEqual(said, ["waiting"]);
});

const draft = (comment, active_seconds = 0) => ({ outcome: null, ranking: [], strengths: [], edits: {}, comment, active_seconds });
const stale = (stored, version) => new Refused(409, { type: "/api/v1/problems/stale-version", stored, version });

test("a draft whose answer was lost is this window's own, and saving goes on over it", async () => {
  const sent = [];
  const { made, refused, timers } = saver(async (value, version) => {
    sent.push([value.comment, version]);
    if (sent.length < 3) throw new TypeError("Failed to fetch"); // the server stored the first one
    if (sent.length === 3) throw stale(draft("a", 7), 4);
    return { version: version + 1 };
  });
  made.note(draft("a", 3));
  await timers.run();
  made.note(draft("ab"));
  await timers.run();
  made.note(draft("abc"));
  await timers.run();
  await timers.run();
  assert.deepEqual(sent, [["a", 3], ["ab", 3], ["abc", 3], ["abc", 4]]);
  assert.deepEqual(refused, []);
  assert.equal(made.version, 5);
});

test("a draft that somebody else stored while the network was away is a conflict", async () => {
  let tries = 0;
  const { made, refused, timers } = saver(async () => {
    tries += 1;
    throw tries === 1 ? new TypeError("Failed to fetch") : stale(draft("theirs"), 4);
  });
  made.note(draft("mine"));
  await timers.run();
  await timers.run();
  assert.equal(refused.length, 1);
  assert.equal(made.atRisk, true);
});

test("leaving the page sends what waits at once", async () => {
  const sent = [];
  const { made } = saver(async (value, version) => sent.push([value.comment, version]) && { version: version + 1 });
  made.note(draft("last words"));
  made.leave();
  made.leave();
  assert.deepEqual(sent, [["last words", 3]]);
});

test("leaving the page while a save is under way sends the newer text over the version that it makes", async () => {
  const sent = [];
  let answer;
  const { made, refused, timers } = saver((value, version) => {
    sent.push([value.comment, version]);
    if (sent.length === 1) return new Promise((resolve) => (answer = resolve));
    if (sent.length === 3) return Promise.reject(stale(draft("ab"), 5));
    return Promise.resolve({ version: version + 1 });
  });
  made.note(draft("a"));
  const first = made.flush();
  made.note(draft("ab"));
  made.leave();
  made.leave();
  assert.deepEqual(sent, [["a", 3], ["ab", 4]], "once, however many events say that the page goes");
  answer({ version: 4 });
  await first;
  made.note(draft("abc"));
  await timers.run();
  await timers.run();
  assert.deepEqual(sent.slice(2), [["abc", 4], ["abc", 5]], "the page stayed after all");
  assert.deepEqual(refused, []);
});

test("while a submit is under way only leaving saves", async () => {
  const sent = [];
  const { made, timers } = saver(async (value, version) => sent.push(value.comment) && { version: version + 1 });
  made.note(draft("a"));
  made.hold();
  made.note(draft("ab"));
  assert.deepEqual(timers.delays(), []);
  made.leave();
  assert.deepEqual(sent, ["ab"]);
});

test("a text that is refused for its length is saved as soon as it is another one", async () => {
  const sent = [];
  const { made, said, refused, timers } = saver(async (value, version) => {
    sent.push(value.comment);
    if (value.comment === "too long") throw new Refused(422, { detail: "too long" });
    return { version: version + 1 };
  });
  made.onRefused = (error) => refused.push(error) && made.resume();
  made.note(draft("too long"));
  await timers.run();
  assert.equal(refused.length, 1);
  assert.deepEqual(timers.delays(), [], "the same text is not sent again");
  assert.equal(made.atRisk, true);
  made.note(draft("short"));
  await timers.run();
  assert.deepEqual(sent, ["too long", "short"]);
  assert.equal(made.atRisk, false);
  assert.equal(said.at(-1), "saved");
});

test("a request outlives its page as long as browsers allow it", async () => {
  const kept = [];
  const fetch = async (_url, { keepalive }) => kept.push(keepalive) && new Response("{}");
  await call("/x", { fetch, body: { text: "é".repeat(1000) } });
  await call("/x", { fetch, body: { text: "é".repeat(32_000) } });
  await call("/x", { fetch });
  assert.deepEqual(kept, [true, false, false]);
});

test("leaving asks first where the text is too large to outlive the page, or the network is away", async () => {
  const { made, timers } = saver(async () => {
    throw new TypeError("Failed to fetch");
  });
  assert.equal(made.atRisk, false);
  made.note(draft("small"));
  assert.equal(made.atRisk, false);
  made.note(draft("x".repeat(70_000)));
  assert.equal(made.atRisk, true);
  made.note(draft("small"));
  await timers.run();
  assert.equal(made.atRisk, true);
  made.stop();
  assert.equal(made.atRisk, false);
});

test("a refusal carries the server's words; a failure of the server does not count as one", async () => {
  const answers = (status, body) => async () => new Response(JSON.stringify(body), { status });
  assert.deepEqual(await call("/x", { fetch: answers(200, { version: 1 }) }), { version: 1 });
  await assert.rejects(call("/x", { fetch: answers(409, { detail: "taken" }) }), (error) => error instanceof Refused && error.message === "taken");
  await assert.rejects(call("/x", { fetch: answers(503, {}) }), (error) => !(error instanceof Refused));
  await assert.rejects(call("/x", { fetch: answers(429, {}) }), (error) => !(error instanceof Refused));
});
