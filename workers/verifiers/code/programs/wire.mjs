// The wire between a solution and its tests, each in a sandbox of its own; wire.py says why. Lines of JSON, each answered by
// exactly one. What JSON has no word for is {"~": kind, "v": content}.
import fs from "node:fs";
import { answerTo, failure, MOST_TEXT, NotData } from "./loading.mjs";

const MOST_ITEMS = 10_000;
const BUILT_IN = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((kind) => [kind.name, kind]),
);
const came = new WeakSet();
// Whether an error came over the wire, so that it is none of this end.
export const isTheirs = (error) => typeof error === "object" && error !== null && came.has(error);

const isMap = (value) => Object.prototype.toString.call(value) === "[object Map]";
const isSet = (value) => Object.prototype.toString.call(value) === "[object Set]";
const isPlain = (value) => {
  const above = Object.getPrototypeOf(value);
  return above === null || above === Object.prototype || Object.getPrototypeOf(above) === null;
};

export class Peer {
  constructor(serves) {
    this.serves = new Set(serves);
    this.held = [];
    this.remotes = new Map();
    this.space = {};
    this.read = Buffer.alloc(0);
    this.calls = 0;
    this.last = null;
    this.numbers = new WeakMap();
  }

  say(what) {
    let left = Buffer.from(`${JSON.stringify(what)}\n`);
    while (left.length) {
      try {
        left = left.subarray(fs.writeSync(1, left));
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
      }
    }
  }

  hear() {
    const piece = Buffer.alloc(1 << 16);
    while (!this.read.includes(10)) {
      let size = 0;
      try {
        size = fs.readSync(0, piece);
      } catch (error) {
        if (error.code === "EAGAIN") continue;
        throw error;
      }
      if (!size) process.exit(0);
      this.read = Buffer.concat([this.read, piece.subarray(0, size)]);
    }
    const end = this.read.indexOf(10);
    const line = this.read.subarray(0, end).toString();
    this.read = this.read.subarray(end + 1);
    return JSON.parse(line);
  }

  call(on, args, operation = "call") {
    this.calls += 1;
    const sent = this.pack(args);
    const named = typeof on === "string";
    if (named) this.last = { name: on, args: JSON.stringify(sent) };
    const answer = this.exchange({ op: operation, on, with: sent });
    for (const [place, after] of answer.after ?? []) update(args[place], this.unpack(after));
    try {
      const value = this.value(answer);
      if (named) this.last = { name: on, args: JSON.stringify(sent), got: value };
      return value;
    } catch (error) {
      if (named) this.last = { name: on, args: JSON.stringify(sent), error };
      throw error;
    }
  }

  ask(operation, on, ...details) {
    return this.value(this.exchange({ op: operation, on, with: this.pack(details) }));
  }

  exchange(message) {
    this.say(message);
    for (;;) {
      const answer = this.hear();
      if (!("op" in answer)) return answer;
      this.say(this.doNow(answer));
    }
  }

  value(answer) {
    if ("rejected" in answer) {
      const rejected = Promise.reject(this.error(answer.rejected));
      rejected.catch(() => {});
      return rejected;
    }
    if ("value" in answer) return this.unpack(answer.value);
    if ("unsure" in answer) throw new NotData(String(answer.unsure).slice(0, MOST_TEXT));
    throw this.error(answer.error ? answer : { message: "the answer wrote something else than what was asked" });
  }

  error(answer) {
    const name = String(answer.error?.[0] ?? "Error");
    const made = new (BUILT_IN.get(name) ?? Error)(String(answer.message ?? "").slice(0, MOST_TEXT));
    if (made.name !== name) made.name = name.slice(0, 60);
    came.add(made);
    return made;
  }

  // A callback: what comes of it is wanted at once.
  doNow(message) {
    try {
      return this.run(message);
    } catch (error) {
      return answerTo(error);
    }
  }

  run(message) {
    if (!this.serves.has(message.op)) throw new NotData("the answer asks the tests for more than a call");
    const details = this.unpack(message.with);
    const on = typeof message.on === "number" ? this.held[message.on] : this.space[message.on];
    if (message.op === "get") {
      const found = on[details[0]];
      return { value: this.pack(typeof found === "function" ? found.bind(on) : found) };
    }
    if (message.op === "set") {
      on[details[0]] = details[1];
      return { value: null };
    }
    if (message.op === "keys") return { value: this.pack(Object.keys(on)) };
    if (message.op === "iter") return { value: this.pack([...on]) };
    const value = message.op === "new" ? Reflect.construct(on, details) : on(...details);
    if (typeof value?.then === "function") return this.promised(value, message, details);
    return { value: this.pack(value), after: this.changes(message, details) };
  }

  async promised(value, message, details) {
    try {
      const came = this.pack(await value);
      return { value: { "~": "promise", v: came }, after: this.changes(message, details) };
    } catch (error) {
      return error instanceof NotData
        ? answerTo(error)
        : { rejected: failure(error), after: this.changes(message, details) };
    }
  }

  changes(message, details) {
    return details.flatMap((now, place) => {
      if (typeof now !== "object" || now === null || this.numbers.has(now)) return [];
      const packed = this.pack(now);
      return JSON.stringify(packed) === JSON.stringify(message.with[place]) ? [] : [[place, packed]];
    });
  }

  pack(value) {
    try {
      return this.packed(value);
    } catch (error) {
      if (error instanceof RangeError) throw new NotData("a value holds itself, or is too large to be sent");
      throw error;
    }
  }

  packed(value) {
    const tagged = (kind, content) => ({ "~": kind, v: content });
    const all = (values) => Array.from(values, (each) => this.packed(each));
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    if (value === undefined) return tagged("undefined", 0);
    if (typeof value === "number") {
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : tagged("number", Object.is(value, -0) ? "-0" : `${value}`);
    }
    if (typeof value === "bigint") return tagged("bigint", `${value}`);
    if (typeof value === "symbol") throw new NotData("a symbol cannot be sent");
    if (this.numbers.has(value)) return tagged("yours", this.numbers.get(value));
    if (typeof value === "function") return this.hold(value);
    if (Array.isArray(value)) return all(value);
    if (isMap(value)) return tagged("map", all([...value].map((pair) => [...pair])));
    if (isSet(value)) return tagged("set", all(value));
    if (value instanceof Date) return tagged("date", value.getTime());
    if (value instanceof RegExp) return tagged("regexp", [value.source, value.flags]);
    if (value instanceof Error) return tagged("error", [value.name, value.message]);
    if (ArrayBuffer.isView(value)) return tagged("typed", [value.constructor.name, all(Array.from(value))]);
    if (typeof value.next === "function") return tagged("iterator", this.drawn(value, all));
    if (isPlain(value))
      return tagged(
        "object",
        Object.entries(value).map(([key, each]) => [key, this.packed(each)]),
      );
    return this.hold(value);
  }

  drawn(iterator, all) {
    const items = [];
    for (let step = iterator.next(); !step.done; step = iterator.next()) {
      if (items.length === MOST_ITEMS) return [all(items), true];
      items.push(step.value);
    }
    return [all(items), false];
  }

  hold(value) {
    if (typeof value !== "function" && !this.serves.has("get")) {
      throw new NotData(`the tests pass a ${value.constructor?.name}, which cannot be sent to the solution`);
    }
    let number = this.held.indexOf(value);
    if (number < 0) number = this.held.push(value) - 1;
    return { "~": "remote", v: [number, typeof value === "function", Symbol.iterator in Object(value)] };
  }

  unpack(packed) {
    if (Array.isArray(packed)) return packed.map((each) => this.unpack(each));
    if (typeof packed !== "object" || packed === null) return packed;
    const content = packed.v;
    switch (packed["~"]) {
      case "undefined":
        return undefined;
      case "number":
        return Number(content);
      case "bigint":
        return BigInt(content);
      case "map":
        return new Map(this.unpack(content));
      case "set":
        return new Set(this.unpack(content));
      case "date":
        return new Date(content);
      case "regexp":
        return new RegExp(content[0], content[1]);
      case "error":
        return this.error({ error: [content[0]], message: content[1] });
      case "typed":
        return globalThis[/^(?:Big)?(?:Int|Uint|Float)\d+(?:Clamped)?Array$/.exec(content[0])[0]].from(
          this.unpack(content[1]),
        );
      case "promise":
        return Promise.resolve(this.unpack(content));
      case "iterator":
        return items(this.unpack(content[0]), content[1]);
      case "object": {
        const made = {};
        for (const [key, each] of content) {
          Object.defineProperty(made, key, {
            value: this.unpack(each),
            writable: true,
            enumerable: true,
            configurable: true,
          });
        }
        return made;
      }
      case "yours":
        return this.held[content];
      case "remote":
        return this.remote(...content);
      default:
        throw new NotData("the answer is no data");
    }
  }

  remote(number, callable, iterable) {
    if (this.remotes.has(number)) return this.remotes.get(number);
    const made = callable ? this.remoteFunction(number) : this.remoteObject(number, iterable);
    this.remotes.set(number, made);
    this.numbers.set(made, number);
    return made;
  }

  remoteFunction(on) {
    const peer = this;
    return function remote(...args) {
      return new.target ? peer.call(on, args, "new") : peer.call(on, args);
    };
  }

  remoteObject(on, iterable) {
    return new Proxy(Object.create({}), {
      get: (_target, key) => {
        if (key === Symbol.iterator && iterable) return () => this.ask("iter", on)[Symbol.iterator]();
        return typeof key === "symbol" || key === "then" ? undefined : this.ask("get", on, key);
      },
      set: (_target, key, value) => {
        this.ask("set", on, key, value);
        return true;
      },
      ownKeys: () => this.ask("keys", on),
      has: (_target, key) => typeof key === "string" && this.ask("get", on, key) !== undefined,
      getOwnPropertyDescriptor: (_target, key) => ({
        value: typeof key === "string" ? this.ask("get", on, key) : undefined,
        writable: true,
        enumerable: true,
        configurable: true,
      }),
    });
  }
}

const items = function* (all, more) {
  yield* all;
  if (more) throw new NotData(`a generator gave more than ${MOST_ITEMS} values`);
};

const update = (mine, now) => {
  if (Array.isArray(mine) && Array.isArray(now)) {
    now.forEach((each, place) => {
      if (typeof mine[place] === "object" && mine[place] !== null && typeof each === "object" && each !== null) {
        update(mine[place], each);
      } else mine[place] = each;
    });
    mine.length = now.length;
  } else if (isMap(mine) || isSet(mine)) {
    mine.clear();
    for (const each of now) isMap(mine) ? mine.set(...each) : mine.add(each);
  } else if (typeof mine === "object" && mine !== null) {
    for (const key of Object.keys(mine)) if (!(key in now)) delete mine[key];
    Object.assign(mine, now);
  }
};
