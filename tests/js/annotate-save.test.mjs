import assert from "node:assert/strict";
import { test } from "node:test";
import { call, Refused, Saver } from "../../static/js/annotate-save.js";

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

test("a refusal carries the server's words; a failure of the server does not count as one", async () => {
  const answers = (status, body) => async () => new Response(JSON.stringify(body), { status });
  assert.deepEqual(await call("/x", { fetch: answers(200, { version: 1 }) }), { version: 1 });
  await assert.rejects(call("/x", { fetch: answers(409, { detail: "taken" }) }), (error) => error instanceof Refused && error.message === "taken");
  await assert.rejects(call("/x", { fetch: answers(503, {}) }), (error) => !(error instanceof Refused));
  await assert.rejects(call("/x", { fetch: answers(429, {}) }), (error) => !(error instanceof Refused));
});
