// In the tests' sandbox: runs the tests against a proxy, and says whether they held. What comes back from the solution is data.
import assert from "node:assert";
import { inspect } from "node:util";
import { NotData, plain, require, silence } from "./loading.mjs";
import { isTheirs, Peer } from "./wire.mjs";

const MOST_TEXT = 300;
const HEADER = 2; // lines that a made function stands under
const IMPORTED = /^\s*import\s+(?:\*\s+as\s+)?([\w$]+|\{[^}]*\})\s+from\s+(["'][^"']+["']);?/gm;

silence();
const peer = new Peer(["call"]);
const job = peer.hear();
const verdict = { passed: 0, failures: 0, failed: [], unsure: "" };
let counted = 0;
let source = ""; // the tests as they run

const short = (value) =>
  inspect(value, { depth: 4, maxStringLength: MOST_TEXT, breakLength: Number.POSITIVE_INFINITY }).slice(0, MOST_TEXT);

// The names that the tests call; functions also stand for classes.
const proxied = (name) =>
  function solution(...args) {
    return new.target ? peer.call(name, args, "new") : peer.call(name, args);
  };

// Every function of assert, counting what held.
const counting = (check) => {
  const done = (came) => {
    counted += 1;
    return came;
  };
  return function watching(...args) {
    try {
      const came = check(...args);
      return typeof came?.then === "function" ? came.then(done) : done(came);
    } catch (error) {
      if (error?.code === "ERR_ASSERTION") Error.captureStackTrace(error, watching); // the line of the test
      throw error;
    }
  };
};
const watched = Object.assign(counting(assert), assert);
for (const [name, check] of Object.entries(assert)) {
  if (typeof check === "function" && !/^[A-Z]/.test(name)) watched[name] = counting(check);
}
watched.strict = watched;
console.assert = (value, message) => watched(value, message);
const ours = (name) => (/^(node:)?assert(\/strict)?$/.test(name) ? watched : require(name));

const fail = (error) => {
  verdict.failures += 1;
  const place = /tests\.js:(\d+)/.exec(String(error?.stack));
  const said = {
    test: place
      ? (source.split("\n")[place[1] - 1 - HEADER] ?? "")
          .replace(/^return \(async \([^)]*\) => \{ /, "")
          .trim()
          .slice(0, MOST_TEXT)
      : "",
  };
  if (peer.last) {
    said.input = `${peer.last.name}(${peer.unpack(JSON.parse(peer.last.args)).map(short).join(", ")})`.slice(
      0,
      MOST_TEXT,
    );
    if ("got" in peer.last) said.got = short(peer.last.got);
  }
  if (error?.code === "ERR_ASSERTION" && "got" in said) {
    if (/[eE]qual|===?$/.test(String(error.operator))) said.expected = short(error.expected);
  } else
    said.error = `${error?.name ?? "Error"}: ${String(error?.message ?? error).split("\n")[0]}`.slice(0, MOST_TEXT);
  verdict.failed.push(said);
};

const AsyncFunction = (async () => {}).constructor;
try {
  const code = plain(job.code, job.language).replace(IMPORTED, (_all, names, from) => {
    return `const ${names.replaceAll(" as ", ": ")} = require(${from});`;
  });
  const given = job.given ? `${plain(job.given, job.language)}\n` : "";
  let run;
  try {
    source = `${given}return (async (${job.names.join(", ")}) => { ${code}\n})(...solution);`;
    run = new AsyncFunction("require", "assert", "solution", `${source}\n//# sourceURL=tests.js`);
  } catch (error) {
    throw new NotData(`the tests are no ${job.language}: ${error.message}`);
  }
  const later = [];
  process.on("unhandledRejection", (error) => later.push(error));
  await run(ours, watched, job.names.map(proxied));
  await new Promise((done) => setImmediate(done));
  if (later.length) throw later[0];
} catch (error) {
  const absent = error instanceof ReferenceError && !isTheirs(error);
  if (error instanceof NotData) verdict.unsure = error.message;
  else if (error?.code === "EPIPE") verdict.unsure = "the tests wrote too much";
  else if (absent || error?.code === "MODULE_NOT_FOUND")
    verdict.unsure = `the tests are wrong: ${String(error.message).split("\n")[0]}`;
  else fail(error);
}
verdict.passed = counted || (verdict.failures || verdict.unsure ? 0 : 1);
if (!verdict.unsure && !peer.calls) verdict.unsure = "the tests never call the solution";
peer.say({ verdict });
process.exit(0);
