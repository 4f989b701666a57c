// Makes one page of its parts: style, script and module inside, and a policy that lets it run these
// and nothing else. Usage: node assemble.mjs WASM PACKAGE_DIR PAGE_DIR release|research > index.html

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const VARIANTS = {
  release: { title: "Cocoon verifier", banner: "" },
  research: {
    title: "Cocoon verifier (research)",
    banner: '<p class="warning">Research build: it takes simulated machines for real ones. What it accepts proves nothing.</p>',
  },
};

const [wasmPath, packageFolder, pageFolder, variantName] = process.argv.slice(2);
const variant = VARIANTS[variantName];
if (variant === undefined) {
  throw new Error("usage: assemble.mjs WASM PACKAGE_DIR PAGE_DIR release|research");
}
const text = (folder, name) => readFile(join(folder, name), "utf8");

const library = await text(packageFolder, "verifier.js");
const script = `${library.replaceAll(/^export /gm, "")}\n${await text(pageFolder, "page.js")}`;
const style = await text(pageFolder, "page.css");
// Level and header are fixed, so that the same module gives the same page.
const packed = gzipSync(await readFile(wasmPath), { level: 9 }).toString("base64");
if (script.includes("</script") || style.includes("</style")) {
  throw new Error("a part would end its own element");
}

const hash = (part) => `'sha256-${createHash("sha256").update(part).digest("base64")}'`;
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'wasm-unsafe-eval'`,
  `style-src ${hash(style)}`,
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

const parts = {
  POLICY: policy,
  TITLE: variant.title,
  BANNER: variant.banner,
  STYLE: style,
  SCRIPT: script,
  MODULE: packed,
};
const page = await text(pageFolder, "index.html");
process.stdout.write(page.replaceAll(/\{\{([A-Z]+)\}\}/g, (_, name) => parts[name]));
