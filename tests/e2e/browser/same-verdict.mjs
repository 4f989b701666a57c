// Asks the program and the WebAssembly module about the same bundles and compares the verdicts byte
// by byte. Usage: node same-verdict.mjs PACKAGE_DIR WASM PROGRAM CASES_DIR

import { execFile } from "node:child_process";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, wasm, program, cases] = process.argv.slice(2);
const { Verifier } = await import(pathToFileURL(join(packageFolder, "verifier.js")).href);
const verifier = await Verifier.load(await readFile(wasm));
const EXITS = { accepted: 0, rejected: 20, "bad-input": 2 };
const AT_ONCE = 4;

const at = Number(await readFile(join(cases, "at"), "utf8"));
const logKey = (await readFile(join(cases, "log-key"), "utf8")).trim();
const releaseFiles = [
  ["entry", "entry"],
  ["proof", "entry.tlog-proof"],
  ["manifest", "manifest.json"],
  ["referenceValues", "reference-values.json"],
].map(async ([member, name]) => [member, await readFile(join(cases, "release", name))]);
const names = (await readdir(cases)).filter((name) => name.endsWith(".bundle")).sort();
const policies = new Map();
const seen = { accepted: 0, rejected: 0, "bad-input": 0 };
const codes = new Set();
const wrong = [];

function native(args) {
  return new Promise((resolve) => {
    const options = { encoding: "buffer", maxBuffer: 16 * 1024 * 1024 };
    execFile(program, ["verify", ...args], options, (error, out, errors) => {
      resolve({ exit: error === null ? 0 : error.code, out, errors: errors.toString("utf8") });
    });
  });
}

async function policyText(name) {
  if (!policies.has(name)) {
    policies.set(name, (await native(["policy", name])).out);
  }
  return policies.get(name);
}

/** One bundle under one set of terms. */
async function compare(name, { pin = "values", policy = "strict", time = at }) {
  const file = join(cases, name);
  const values = file.replace(/\.bundle$/, ".json");
  const args = ["bundle", file, "--policy", policy, "--at", String(time)];
  const terms = { at: time, policy: ["strict", "testing"].includes(policy) ? policy : await readFile(policy) };
  if (pin === "release") {
    args.push("--release", join(cases, "release"), "--log-key", logKey);
    terms.release = { logKey, ...Object.fromEntries(await Promise.all(releaseFiles)) };
  } else if (pin === "values") {
    args.push("--reference-values", values);
    terms.referenceValues = await readFile(values);
  } else if (pin !== "nothing") {
    args.push("--reference-digest", pin);
    terms.referenceDigest = pin;
  }
  const [there, here] = await Promise.all([
    native(args),
    verifier.verifyBundle(await readFile(file), terms),
  ]);
  const same = here.decision === "bad-input"
    ? there.out.length === 0 && there.errors.includes(here.error.code)
    : Buffer.compare(there.out, Buffer.from(`${here.verdictText}\n`, "utf8")) === 0;
  if (!same || there.exit !== EXITS[here.decision]) {
    wrong.push(`${name} ${pin} ${policy} ${time}: exit ${there.exit}, ${here.decision}\n${there.out}${there.errors}`);
  }
  seen[here.decision] += 1;
  codes.add(here.verdict?.rejection ?? here.error?.code ?? "accepted");
  return here;
}

async function all(jobs) {
  const waiting = [...jobs];
  const lane = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      await compare(...job);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

function check(holds, claim) {
  if (!holds) {
    wrong.push(claim);
  }
}

await all(names.map((name) => [name, {}]));
const honest = names.filter((name) => name.startsWith("honest-"));
check(honest.length === 5, `5 honest bundles, not ${honest.length}`);
const own = join(cases, "policy.json");
await writeFile(own, await policyText("testing"));
for (const name of honest) {
  const given = await compare(name, {});
  check(given.decision === "accepted", `${name} is accepted`);
  const digest = given.verdict?.reference_values;
  check((await compare(name, { pin: digest })).decision === "accepted", `${name} by its digest`);
  const unpinned = await compare(name, { pin: "nothing" });
  check(unpinned.verdict?.rejection === "reference-values-not-pinned", `${name} without a pin`);
  await compare(name, { pin: "0".repeat(64) });
  await compare(name, { policy: "testing" });
  await compare(name, { policy: own });
  await compare(name, { time: at + 40 * 365 * 86_400 });
  await compare(name, { time: 0 });
}

// A release that its log holds is a pin, as it is for the program.
const logged = await compare("honest-snp.bundle", { pin: "release" });
check(logged.decision === "accepted", "a release in its log is a pin");
check(logged.account?.release_log?.index === 1, "with its place in the log");
const foreign = await compare("tdx-other-measurement.bundle", { pin: "release" });
check(foreign.decision === "rejected", "a machine that runs something else is refused");

// What is no bundle at all: other bytes, and every kind of cut.
const whole = await readFile(join(cases, honest[0]));
for (const [name, bytes] of [
  ["bad-empty", Buffer.alloc(0)],
  ["bad-magic", Buffer.from("not a bundle")],
  ["bad-version", Buffer.concat([whole.subarray(0, 8), Buffer.of(2), whole.subarray(9)])],
  ["bad-evidence", Buffer.concat([whole.subarray(0, 118), Buffer.of(0), whole.subarray(119)])],
  ["bad-longer", Buffer.concat([whole, Buffer.of(0)])],
  ["bad-values", Buffer.concat([whole.subarray(0, -3), Buffer.from("!}\n")])],
  ...[9, 18, 114, 117, 500, whole.length - 1].map((end) => [`bad-cut-${end}`, whole.subarray(0, end)]),
]) {
  const file = `${name}.bundle`;
  await writeFile(join(cases, file), bytes);
  const answer = await compare(file, { pin: "nothing" });
  check(answer.decision === "bad-input", `${name} is bad input`);
}

check(seen.rejected >= 150, `at least 150 rejections, not ${seen.rejected}`);
check(codes.size >= 100, `at least 100 different ends, not ${codes.size}`);

// Figures, for people: how long a verdict takes here.
for (const name of honest) {
  const bundle = await readFile(join(cases, name));
  const terms = { at, referenceValues: await readFile(join(cases, name.replace(/\.bundle$/, ".json"))) };
  const times = [];
  for (let turn = 0; turn < 20; turn += 1) {
    const began = performance.now();
    await verifier.verifyBundle(bundle, terms);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  console.error(`${name.replace(/\.bundle$/, "")}: ${times[10].toFixed(1)} ms a verdict (WebAssembly, median of 20)`);
}
console.error(`${seen.accepted} accepted, ${seen.rejected} rejected, ${seen["bad-input"]} bad input, ${codes.size} different ends`);
for (const claim of wrong.slice(0, 10)) {
  console.error(`FAILED: ${claim}`);
}
process.exitCode = wrong.length === 0 ? 0 : 1;
