// Loads code in either sandbox, and says in data what went wrong with it.
import fs from "node:fs";
import module from "node:module";
import vm from "node:vm";

export const MOST_TEXT = 300;
export const require = module.createRequire(`${process.cwd()}/`);

// What cannot be copied or asked from afar: the check cannot be made.
export class NotData {
  constructor(message) {
    this.message = message;
  }
}

export const silence = () => {
  for (const name of ["log", "info", "debug", "warn", "error", "table", "dir", "trace"]) console[name] = () => {};
  process.stdout.write = () => true; // what is printed is nobody's answer
  process.stderr.write = () => true;
};

// JavaScript from TypeScript; NotData where this Node.js cannot.
export const plain = (code, language) => {
  if (language !== "typescript") return code;
  if (!module.stripTypeScriptTypes) throw new NotData("TypeScript needs Node.js 22.13 or newer");
  return module.stripTypeScriptTypes(code, { mode: "transform" });
};

// Run code so that names() sees what it declares: as a script, which shares its names, or where that is no script as a module.
export const load = async (code, name, names) => {
  const wanted = names.map((each) => `${JSON.stringify(each)}: typeof ${each} === "undefined" ? undefined : ${each}`);
  const collect = `({${wanted.join(", ")}})`;
  globalThis.module = { exports: {} };
  globalThis.exports = globalThis.module.exports;
  globalThis.require = require;
  let script = null;
  try {
    script = new vm.Script(code, {
      filename: name,
      importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch (error) {
    if (!/^\s*(import|export)\b|\bawait\b/m.test(code)) throw error;
  }
  let found = {};
  let whole = null;
  if (script) {
    script.runInThisContext();
    found = vm.runInThisContext(collect);
    whole = globalThis.module.exports;
  } else {
    const file = `${process.cwd()}/${name.replace(/\.\w+$/, "")}.${Date.now()}.mjs`;
    fs.writeFileSync(file, `${code}\n;globalThis.__found = ${collect};`);
    whole = await import(file);
    found = globalThis.__found;
    if (whole.default !== undefined)
      whole = typeof whole.default === "object" ? whole.default : { default: whole.default };
  }
  for (const each of names) found[each] ??= whole?.[each];
  const lone = typeof whole === "function" ? whole : whole?.default;
  if (names.length === 1 && typeof lone === "function") found[names[0]] ??= lone;
  return found;
};

export const failure = (error) => {
  const known = error instanceof Error || (typeof error === "object" && error !== null && "message" in error);
  const place = /solution\.\w+(?:\.\d+\.mjs)?:(\d+)/.exec(known ? String(error.stack) : "");
  return {
    error: [String((known && error.name) || "Error")],
    message: String(known ? error.message : `threw ${typeof error}`).slice(0, MOST_TEXT),
    line: place ? Number(place[1]) : null,
  };
};

export const answerTo = (error) => {
  if (error instanceof NotData) return { unsure: error.message };
  const absent = ["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND"].includes(error?.code);
  const name = absent && /Cannot find (?:module|package) '([^'./][^']*)'/.exec(error.message)?.[1];
  return name ? { unsure: `it needs the package ${name}, which the sandbox does not have` } : failure(error);
};
