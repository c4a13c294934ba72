// In a sandbox: has a program in TypeScript read, without running it. Its types are not checked.
import fs from "node:fs";
import module from "node:module";

if (!module.stripTypeScriptTypes) {
  process.stderr.write("unsupported\n");
  process.exit(3);
}
try {
  module.stripTypeScriptTypes(fs.readFileSync(process.argv[2], "utf8"), { mode: "transform" });
} catch (error) {
  process.stderr.write(`${error.name}: ${error.message}\n`);
  process.exit(1);
}
