// How long the WebAssembly module takes for honest bundles, beside the same verdicts natively.
// Usage: node times.mjs PACKAGE_DIR WASM CASES_DIR NATIVE_JSON [--json]
// NATIVE_JSON: milliseconds by a bundle's name, as `--bundles` of the verifier's bench prints them.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, wasm, cases, nativeFile, form] = process.argv.slice(2);
const { Verifier } = await import(pathToFileURL(join(packageFolder, "verifier.js")).href);
const verifier = await Verifier.load(await readFile(wasm));
const at = Number(await readFile(join(cases, "at"), "utf8"));
const native = JSON.parse(await readFile(nativeFile, "utf8"));

/** The engine compiles what is called often once more, better: those turns are not counted. */
const WARM = 20;
const ROUNDS = 41;
const LIMIT = 5;

const rows = [];
for (const name of Object.keys(native).sort()) {
  const bundle = await readFile(join(cases, `${name}.bundle`));
  const terms = { at, referenceValues: await readFile(join(cases, `${name}.json`)) };
  const times = [];
  for (let turn = -WARM; turn < ROUNDS; turn += 1) {
    const began = performance.now();
    const { decision } = await verifier.verifyBundle(bundle, terms);
    const took = performance.now() - began;
    if (decision !== "accepted") {
      throw new Error(`${name}: ${decision}`);
    }
    if (turn >= 0) {
      times.push(took);
    }
  }
  times.sort((a, b) => a - b);
  const median = times[Math.floor(ROUNDS / 2)];
  rows.push({ name, native_ms: native[name], wasm_ms: median, ratio: median / native[name] });
}
if (rows.length === 0) {
  throw new Error("no bundle was timed natively");
}
if (form === "--json") {
  console.log(JSON.stringify({ rounds: ROUNDS, limit: LIMIT, rows }));
} else {
  const row = (name, ...cells) => console.log(name.padEnd(20), ...cells.map((cell) => cell.padStart(10)));
  row("verdict of a bundle", "native ms", "wasm ms", "ratio", "limit");
  for (const { name, native_ms: there, wasm_ms: here, ratio } of rows) {
    row(name, there.toFixed(2), here.toFixed(2), ratio.toFixed(1), String(LIMIT));
  }
  console.log(`medians of ${ROUNDS}; wasm in node ${process.versions.node}, an instance for each verdict`);
}
