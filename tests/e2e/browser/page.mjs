// The page in a real Chromium, without network: bundles are dropped on it, and what it shows is held
// against what the program says. Usage: node page.mjs CHROMIUM DIRECTORY PROGRAM [PICTURES_DIR]
// DIRECTORY holds release/index.html, research/index.html and cases/.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { Browser } from "./devtools.mjs";

const [chromium, folder, program, pictures] = process.argv.slice(2);
const at = Number(await readFile(join(folder, "cases", "at"), "utf8"));
const when = `${new Date(at * 1000).toISOString().slice(0, 19)}Z`;
let passed = 0;
const failed = [];

function check(holds, claim) {
  if (holds) {
    passed += 1;
  } else {
    failed.push(claim);
    console.error(`FAILED: ${claim}`);
  }
}

function verdictOf(name, pinned) {
  const values = join(folder, "cases", `${name}.json`);
  return verdictWith(name, pinned ? ["--reference-values", values] : []);
}

function verdictWith(name, pins) {
  const file = join(folder, "cases", name);
  const args = ["verify", "bundle", `${file}.bundle`, "--policy", "strict", "--at", String(at), ...pins];
  try {
    return execFileSync(program, args, { stdio: ["ignore", "pipe", "ignore"] }).toString().trimEnd();
  } catch (error) {
    return error.stdout.toString().trimEnd();
  }
}

/** What the page shows, as a reader sees it. */
const SHOWN = `(() => {
  const text = (id) => document.getElementById(id).innerText;
  const ink = (found) => getComputedStyle(found).color.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const rows = [...document.querySelectorAll("#checks tbody tr")].map((row) => ({
    check: row.dataset.check,
    of: row.dataset.of,
    outcome: row.className,
    ink: ink(row.querySelector(".outcome")),
    text: row.innerText,
  }));
  return {
    decision: document.getElementById("result").dataset.decision,
    code: document.getElementById("result").dataset.code,
    headline: text("verdict"),
    ink: ink(document.querySelector("#verdict strong")),
    facts: text("facts"),
    difference: text("difference"),
    registers: [...document.querySelectorAll("#difference tr[data-register]")].map((row) => [
      row.dataset.register, row.className]),
    others: [...document.querySelectorAll("#difference tbody tr:not([data-register])")].map((row) => [
      row.className, row.innerText]),
    rows,
    parts: [...document.querySelectorAll("#checks details.part")].map((part) => ({
      open: part.open,
      summary: part.querySelector("summary").innerText,
    })),
    verdict: document.getElementById("verdict-text")?.textContent ?? null,
    title: document.title,
    body: document.body.innerText,
  };
})()`;

const isGreen = ([red, green, blue]) => green > red + 40 && green > blue;
const isRed = ([red, green, blue]) => red > green + 40 && red > blue + 40;

async function shownAfter(page, files) {
  await page.evaluate(`delete document.getElementById("result").dataset.decision`);
  await page.drop("#drop", files.map((file) => `/shown/cases/${file}`));
  await page.until(`document.getElementById("result").dataset.decision !== undefined`);
  return page.evaluate(SHOWN);
}

async function opened(browser, profile) {
  const page = await browser.open(`file:///shown/${profile}/index.html`);
  await page.until(`document.documentElement.dataset.ready === "yes"`);
  await page.evaluate(`document.getElementById("at").value = ${JSON.stringify(when)}`);
  return page;
}

async function picture(page, name) {
  if (pictures !== undefined) {
    await mkdir(pictures, { recursive: true });
    const options = { format: "png", captureBeyondViewport: true };
    const { data } = await page.send("Page.captureScreenshot", options);
    await writeFile(join(pictures, `${name}.png`), Buffer.from(data, "base64"));
  }
}

async function acceptsHonest(page) {
  for (const [name, kind, device] of [
    ["honest-snp", "AMD SEV-SNP", "no evidence of GPUs"],
    ["honest-tdx", "Intel TDX", "no evidence of GPUs"],
    ["honest-gpu", "AMD SEV-SNP", "Hopper GPU"],
  ]) {
    const shown = await shownAfter(page, [`${name}.json`, `${name}.bundle`]);
    check(shown.decision === "accepted", `${name} is accepted: ${shown.headline}`);
    check(isGreen(shown.ink) && shown.headline.includes("Accepted"), `${name}: the headline is green`);
    check(shown.headline.includes("Channel binding not checked"), `${name}: says what is not checked`);
    check(shown.verdict === verdictOf(name, true), `${name}: the verdict's bytes are the program's`);
    const listed = JSON.parse(shown.verdict).checks;
    check(shown.rows.length === listed.length, `${name}: every check has a row`);
    const green = shown.rows.filter((row) => row.outcome === "passed");
    check(green.length > 20 && green.every((row) => isGreen(row.ink)), `${name}: green rows`);
    check(shown.rows.every((row) => row.outcome !== "failed"), `${name}: no red row`);
    const { machine } = JSON.parse(shown.verdict);
    for (const [what, text] of [
      ["machine", kind], ["chip", machine.chip], ["shape", machine.shape], ["image", machine.image],
      ["measurement", machine.measurement], ["model", machine.models[0]], ["GPU", device],
    ]) {
      check(shown.facts.includes(text), `${name}: shows the ${what}`);
    }
    const equal = shown.registers.every(([, outcome]) => outcome === "passed");
    check(shown.registers.length > 0 && equal, `${name}: no register differs from the release`);
    const same = shown.others.every(([outcome]) => outcome === "passed");
    check(shown.others.length === 2 && same, `${name}: model and devices are the release's`);
    await picture(page, name);
  }
}

/** A board of devices takes as much of the page as there is something to see to. */
async function foldsDevices(page) {
  const honest = await shownAfter(page, ["honest-gpu.json", "honest-gpu.bundle"]);
  const devices = honest.parts.filter(({ summary }) => /^(GPU|Switch) /.test(summary));
  check(devices.length === 12, `8 GPUs and 4 switches have a part each, not ${devices.length}`);
  check(honest.parts.every(({ open }) => !open), "a part with nothing to see to is closed");
  const cases = await readdir(join(folder, "cases"));
  const name = cases.find((found) => found.endsWith("-badsignature.bundle")).replace(/\.bundle$/, "");
  const lie = await shownAfter(page, [`${name}.json`, `${name}.bundle`]);
  const failed = lie.rows.filter((row) => row.outcome === "failed" && row.of.startsWith("gpu-"));
  const seen = failed.every((row) => row.text.includes(row.check));
  check(failed.length > 0 && seen, `${name}: what failed is seen without a click`);
  const open = lie.parts.filter((part) => part.open);
  check(open.some(({ summary }) => summary.includes("1 failed")), `${name}: the device is open`);
  await picture(page, "gpu-lie");
}

async function rejectsLies(page) {
  for (const [name, code] of [
    ["snp-debug", "snp-debug"],
    ["snp-bad-signature", "snp-signature-invalid"],
    ["snp-revoked", "certificate-revoked"],
    ["tdx-rtmr3", "tdx-rtmr3"],
    ["tdx-out-of-date", "tdx-tcb-status"],
    ["snp-stale-nonce", "report-data-mismatch"],
    ["snp-no-crl", "crl-missing"],
  ]) {
    const shown = await shownAfter(page, [`${name}.json`, `${name}.bundle`]);
    check(shown.decision === "rejected" && shown.code === code, `${name}: ${code}, not ${shown.code}`);
    check(isRed(shown.ink) && shown.headline.includes(code), `${name}: the headline is red and names it`);
    const row = shown.rows.find((found) => found.check === code && found.outcome === "failed");
    check(row !== undefined && isRed(row.ink), `${name}: the check's row is red`);
    const reason = row?.text.split(code).at(-1) ?? "";
    check(/[a-z]{3,} [a-z]/.test(reason), `${name}: the row says why: ${row?.text}`);
    check(shown.verdict === verdictOf(name, true), `${name}: the verdict's bytes are the program's`);
    await picture(page, name);
  }
}

async function showsTheDifference(page) {
  const shown = await shownAfter(page, ["other-release.json", "other-release.bundle"]);
  check(shown.code === "registers-unknown", `another release: ${shown.code}`);
  const [register, outcome] = shown.registers[0] ?? [];
  check(register === "MEASUREMENT" && outcome === "failed", "another release: the register differs");
  const both = shown.difference.includes("4e4e4e") && shown.difference.includes("4d4d4d");
  check(both, "another release: expected and measured stand side by side");
  const lie = await shownAfter(page, ["tdx-other-measurement.json", "tdx-other-measurement.bundle"]);
  const differing = lie.registers.filter(([, found]) => found === "failed").map(([name]) => name);
  check(lie.registers.length === 4 && differing.length > 0 && differing.length < 4,
    `a register of a TD differs: ${differing}`);
  await picture(page, "other-release");
  const models = await shownAfter(page, ["other-models.json", "other-models.bundle"]);
  const [model, devices] = models.others;
  check(models.code === "model-not-pinned" && model[0] === "failed", "a model is not the release's");
  check(model[1].includes("no model of this digest"), `what the release has for it: ${model[1]}`);
  check(devices[0] === "failed" && devices[1].includes("1 × Hopper GPU"), `devices: ${devices[1]}`);
}

/** Everything that is not a bundle ends in words, never in markup or a stack. */
async function saysBadInput(page) {
  await writeFile(join(folder, "cases", "markup.bundle"), "<img src=x onerror=document.title='owned'>");
  for (const [name, code] of [["bad-cut-500", "bundle-malformed"], ["markup", "bundle-malformed"]]) {
    const shown = await shownAfter(page, [`${name}.bundle`]);
    check(shown.decision === "bad-input" && shown.code === code, `${name}: ${shown.decision} ${shown.code}`);
    check(isRed(shown.ink) && shown.rows.length === 0, `${name}: red, and no rows`);
    check(!shown.title.includes("owned"), `${name}: nothing of it runs`);
  }
  const huge = join(folder, "cases", "huge.bundle");
  await writeFile(huge, Buffer.alloc(10 * 1024 * 1024));
  check((await shownAfter(page, ["huge.bundle"])).code === "bundle-too-long", "10 MiB: too long");
}

/** Without a pin nothing is accepted; with the digest of the values it is. */
async function pinsByDigest(browser) {
  const page = await opened(browser, "research");
  const unpinned = await shownAfter(page, ["honest-snp.bundle"]);
  check(unpinned.code === "reference-values-not-pinned", `without a pin: ${unpinned.code}`);
  check(unpinned.verdict === verdictOf("honest-snp", false), "without a pin: the program's bytes");
  const digest = JSON.parse(unpinned.verdict).reference_values;
  await page.evaluate(`delete document.getElementById("result").dataset.decision;
    document.getElementById("release-digest").value = ${JSON.stringify(digest)};
    document.getElementById("release-digest").dispatchEvent(new Event("change"))`);
  await page.until(`document.getElementById("result").dataset.decision !== undefined`);
  check((await page.evaluate(SHOWN)).decision === "accepted", "with the digest: accepted");
  const { root } = await page.send("DOM.getDocument");
  const field = { nodeId: root.nodeId, selector: "#bundle-file" };
  const { nodeId } = await page.send("DOM.querySelector", field);
  await page.evaluate(`delete document.getElementById("result").dataset.decision`);
  await page.send("DOM.setFileInputFiles", { nodeId, files: ["/shown/cases/snp-debug.bundle"] });
  await page.until(`document.getElementById("result").dataset.decision !== undefined`);
  check((await page.evaluate(SHOWN)).code === "snp-debug", "a file that is chosen is judged too");
  return page;
}

/** Beside the bundle a release and the key of its log: what the log does not hold is no pin. */
async function pinsByItsLog(browser) {
  const page = await opened(browser, "research");
  const directory = join(folder, "cases", "release");
  const files = (await readdir(directory)).map((name) => `release/${name}`);
  const logKey = (await readFile(join(folder, "cases", "log-key"), "utf8")).trim();
  const keyed = async (key) => {
    await page.evaluate(`delete document.getElementById("result").dataset.decision;
      document.getElementById("log-key").value = ${JSON.stringify(key)};
      document.getElementById("log-key").dispatchEvent(new Event("change"))`);
    await page.until(`document.getElementById("result").dataset.decision !== undefined`);
    return page.evaluate(SHOWN);
  };
  const alone = await shownAfter(page, ["release/entry", "honest-snp.bundle"]);
  check(alone.code === "terms", `a record alone is no release: ${alone.code}`);
  const missing = ["the log's key", "entry.tlog-proof", "manifest.json", "reference-values.json"];
  check(missing.every((name) => alone.headline.includes(name)), `what is missing: ${alone.headline}`);
  const keyless = await shownAfter(page, files);
  check(keyless.code === "terms", `without the log's key nothing is pinned: ${keyless.code}`);
  check((await keyed("log.example/releases")).code === "log-key-malformed", "a key that is none");
  const shown = await keyed(logKey);
  check(shown.decision === "accepted", `a release in its log: ${shown.headline}`);
  const pins = ["--release", directory, "--log-key", logKey];
  check(shown.verdict === verdictWith("honest-snp", pins), "by its log: the program's bytes");
  const log = await page.evaluate(`document.getElementById("release-log")?.innerText ?? ""`);
  check(log.includes("number 2 of the 2 in the log log.example/releases"), `its place: ${log}`);
  check(shown.registers.every(([, outcome]) => outcome === "passed"), "no register differs from it");
  await picture(page, "release-log");
  const strangers = (await readFile(join(folder, "cases", "strangers-key"), "utf8")).trim();
  check((await keyed(strangers)).code === "release-log-signature", "the key of another log");
  await keyed(logKey);
  const proof = await readFile(join(directory, "entry.tlog-proof"), "utf8");
  const elsewhere = join(folder, "cases", "elsewhere");
  await writeFile(elsewhere, proof.replace("index 1\n", "index 0\n"));
  const moved = await shownAfter(page, ["elsewhere"]);
  check(moved.decision === "bad-input" && moved.code === "release-not-in-log",
    `a release that the log does not hold there: ${moved.code}`);
  const others = await shownAfter(page, ["release/entry.tlog-proof", "other-release.json"]);
  check(others.code === "release-file-changed", `values that are not the release's: ${others.code}`);
  return page;
}

/** The page for people: the vendors' roots, and no way to others. */
async function refusesTheSimulation(browser) {
  const page = await opened(browser, "release");
  const shown = await shownAfter(page, ["honest-snp.json", "honest-snp.bundle"]);
  check(shown.code === "profile-mismatch", `the release page: ${shown.code}`);
  const marked = shown.rows.find((row) => row.check === "research-certificate");
  check(marked?.outcome === "failed", "the release page: the simulation's certificates are refused");
  check(!/research/i.test(shown.title) && !shown.body.includes("Research build"), "it says so nowhere");
  await picture(page, "release-page");
  return page;
}

/** Nothing is asked of the network, nothing is broken, and the policy of the page holds. */
async function staysAlone(page, url) {
  const requests = page.events("Network.requestWillBeSent").map(({ request }) => request.url);
  const foreign = requests.filter((found) => found !== url && !found.startsWith("blob:"));
  check(requests.includes(url) && foreign.length === 0, `no request but the page itself: ${foreign}`);
  const thrown = page.events("Runtime.exceptionThrown").map((event) => event.exceptionDetails.text);
  check(thrown.length === 0, `no exception: ${thrown}`);
  const logged = page.events("Log.entryAdded").map(({ entry }) => `${entry.level} ${entry.text}`);
  check(logged.length === 0, `nothing is complained of: ${logged}`);
  for (const [what, attempt] of [
    ["fetch", `fetch("https://example.org/").then(() => "sent", () => "refused")`],
    ["fetch of data", `fetch("data:text/plain,x").then(() => "sent", () => "refused")`],
    ["eval", `(() => { try { return new Function("return 'sent'")(); } catch { return "refused"; } })()`],
    ["markup", `(() => { try { document.body.innerHTML = "<b>x</b>"; return "sent"; } catch { return "refused"; } })()`],
  ]) {
    check(await page.evaluate(attempt) === "refused", `the page's own policy refuses ${what}`);
  }
}

/** Labels for who does not see it, contrast for who sees badly. */
async function canBeUsed(page) {
  const unnamed = await page.evaluate(`[...document.querySelectorAll("input, select, button")]
    .filter((found) => (found.labels?.length ?? 0) === 0 && found.textContent.trim() === "").length`);
  check(unnamed === 0, `every control has a name, ${unnamed} have none`);
  for (const scheme of ["light", "dark"]) {
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await page.send("Emulation.setEmulatedMedia", { features });
    const low = await page.evaluate(`(() => {
      const parts = (color) => color.match(/[0-9.]+/g).map(Number);
      const luminance = (rgb) => rgb.slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
      const ground = (found) => {
        const own = parts(getComputedStyle(found).backgroundColor);
        return own.length === 4 && own[3] === 0 && found.parentElement ? ground(found.parentElement) : own;
      };
      const low = [];
      for (const found of document.querySelectorAll("p, dt, dd, td, th, label, strong, h1, h2, h3, summary")) {
        const [a, b] = [luminance(parts(getComputedStyle(found).color)), luminance(ground(found))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (found.innerText.trim() !== "" && contrast < 4.5) {
          low.push(found.tagName + " " + contrast.toFixed(1) + " " + found.innerText.slice(0, 30));
        }
      }
      return low;
    })()`);
    check(low.length === 0, `contrast of at least 4.5, ${scheme}: ${low.slice(0, 3)}`);
    await picture(page, `scheme-${scheme}`);
  }
  const narrow = { width: 360, height: 740, deviceScaleFactor: 1, mobile: true };
  await page.send("Emulation.setDeviceMetricsOverride", narrow);
  const over = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
  check(over <= 0, `a narrow screen scrolls one way only, not by ${over} pixels`);
  await picture(page, "narrow");
}

const browser = new Browser(chromium, folder);
try {
  const { product } = await browser.send("Browser.getVersion");
  console.error(`browser: ${product}`);
  const page = await opened(browser, "research");
  check((await page.evaluate("document.body.innerText")).includes("Research build"), "research says so");
  await acceptsHonest(page);
  await foldsDevices(page);
  await rejectsLies(page);
  await showsTheDifference(page);
  await saysBadInput(page);
  await shownAfter(page, ["honest-tdx.json", "honest-tdx.bundle"]);
  await canBeUsed(await pinsByDigest(browser));
  await staysAlone(await pinsByItsLog(browser), "file:///shown/research/index.html");
  await staysAlone(await refusesTheSimulation(browser), "file:///shown/release/index.html");
  await staysAlone(page, "file:///shown/research/index.html");
} catch (error) {
  check(false, `${basename(process.argv[1])}: ${error.stack}`);
} finally {
  await browser.close();
}
console.error(`${passed} claims hold, ${failed.length} do not`);
process.exitCode = failed.length === 0 ? 0 : 1;
