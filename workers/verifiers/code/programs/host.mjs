// In the solution's sandbox: loads the response's code, then answers calls. It knows no test and no expected value.
import { answerTo, load, NotData, plain, silence } from "./loading.mjs";
import { Peer } from "./wire.mjs";

silence();
const peer = new Peer(["call", "new", "get", "set", "keys", "iter"]);
const job = peer.hear();
process.on("unhandledRejection", () => {});
let stage = "what the prompt gives";
try {
  const given = await load(plain(job.given, job.language), "given.js", job.names);
  stage = "";
  peer.space = await load(plain(job.code, job.language), "solution.js", job.names);
  const missing = job.names.filter((name) => peer.space[name] === given[name]); // what was given is no answer
  if (missing.length) peer.say({ missing });
  else peer.say({ ready: Object.fromEntries(job.names.map((name) => [name, typeof peer.space[name]])) });
} catch (error) {
  if (stage && !(error instanceof NotData)) peer.say({ unsure: `${stage} does not load: ${error?.message}` });
  else peer.say(answerTo(error));
  process.exit(0);
}
for (;;) {
  const message = peer.hear();
  let answer;
  try {
    answer = await peer.run(message);
  } catch (error) {
    answer = answerTo(error);
  }
  peer.say(answer);
}
