// The page around the verifier: files and terms in, the verdict shown. Every text of a bundle is
// put in place as text, never as markup. No rule of appraisal is here.

const MAX_FILE_BYTES = 6 * 1024 * 1024;
const OUTCOMES = new Map([
  ["passed", "✓ passed"],
  ["tolerated", "~ tolerated"],
  ["failed", "✗ failed"],
  ["not-needed", "· not needed"],
  ["not-reached", "– not reached"],
]);
const DEVICES = new Map([
  ["hopper", "Hopper GPU"],
  ["blackwell", "Blackwell GPU"],
  ["ls10", "NVSwitch LS10"],
]);
const NUMBERED = new Map([
  ["gpu", "GPU"],
  ["switch", "Switch"],
  ["manifest", "Manifest"],
]);
const ORIGINS = new Map([
  ["computed", "computed from the sources"],
  ["computed-unconfirmed", "computed; not yet compared with hardware"],
  ["captured", "captured from a machine"],
]);

/** The files by which a log's release is known, as its directory names them. */
const RELEASE_FILES = new Map([
  ["entry", "entry"],
  ["proof", "entry.tlog-proof"],
  ["manifest", "manifest.json"],
  ["values", "reference-values.json"],
]);
/** What lies beside them there, and is not asked for here. */
const BESIDE_RELEASE = [
  "sbom.cdx.json", "build-inputs.json", "shapes.json", "consistency", "registry-transaction.json",
];

const at = (id) => document.getElementById(id);
const asked = { bundle: null, values: null, policy: null, entry: null, proof: null, manifest: null };
let valuesName = "";
let turn = 0;

/** An element of children and texts. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const mono = (text) => element("span", { class: "mono" }, text);

function moment(seconds) {
  const date = new Date(Number(seconds) * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : `${date.toISOString().slice(0, 19)}Z`;
}

/** Base64 of a gzipped module, from the page itself. */
async function moduleBytes() {
  const packed = Uint8Array.from(atob(at("module").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const loading = moduleBytes().then((bytes) => Verifier.load(bytes));

/** Whether a release is to be looked for in a log: then nothing less than that is a pin. */
const isLogged = () => at("log-key").value.trim() !== ""
  || ["entry", "proof", "manifest"].some((name) => asked[name] !== null);

/** What a release in a log still needs, in words. */
function lacking() {
  const files = [...RELEASE_FILES].filter(([name]) => asked[name] === null).map(([, file]) => file);
  return at("log-key").value.trim() === "" ? ["the log's key", ...files] : files;
}

/** Which release is pinned, or the name of what is wrong with it. */
function pin() {
  if (isLogged()) {
    const missing = lacking();
    const { entry, proof, manifest, values: referenceValues } = asked;
    const logKey = at("log-key").value.trim();
    return missing.length > 0
      ? { wrong: `to look for the release in its log, this is missing: ${missing.join(", ")}` }
      : { release: { logKey, entry, proof, manifest, referenceValues } };
  }
  if (asked.values !== null) {
    return { referenceValues: asked.values };
  }
  const digest = at("release-digest").value.trim().toLowerCase();
  if (digest !== "" && !/^[0-9a-f]{64}$/.test(digest)) {
    return { wrong: "a SHA-256 has 64 hex digits" };
  }
  return digest === "" ? {} : { referenceDigest: digest };
}

/** Says which release is pinned, as far as it is there. */
function noteRelease() {
  const files = [...RELEASE_FILES].filter(([kind]) => asked[kind] !== null).map(([, file]) => file);
  const missing = lacking();
  const rest = missing.length > 0 ? `; missing: ${missing.join(", ")}` : ", to be found in the key's log";
  const values = asked.values === null
    ? "None yet: nothing is accepted by what a bundle says of itself."
    : `Reference values: ${valuesName}`;
  at("release-note").textContent = isLogged()
    ? `Release: ${files.join(", ") || "no file yet"}${rest}`
    : values;
}

/** The terms as they stand on the page, or the name of what is wrong with them. */
function terms() {
  const written = at("at").value.trim();
  const time = written === "" ? Date.now() : Date.parse(written);
  if (Number.isNaN(time) || time < 0) {
    return { wrong: "the time is not of the form 2026-11-26T12:00:00Z" };
  }
  const policy = at("policy").value;
  return {
    at: Math.floor(time / 1000),
    policy: policy === "own" && asked.policy !== null ? asked.policy : policy,
    ...pin(),
  };
}

async function judge() {
  if (asked.bundle === null) {
    return;
  }
  turn += 1;
  const mine = turn;
  let answer;
  try {
    const found = terms();
    answer = found.wrong !== undefined
      ? badInput("terms", found.wrong)
      : await (await loading).verifyBundle(asked.bundle, found);
  } catch (error) {
    answer = badInput("page", `the verifier did not run: ${error}`);
  }
  if (mine === turn) {
    show(answer);
  }
}

const badInput = (code, reason) => ({ decision: "bad-input", error: { code, reason } });

/** A file is known by its first bytes, or by the member that only such a document has. */
async function take(file) {
  if (file.size > MAX_FILE_BYTES) {
    refuse("bundle-too-long", `${file.name} is longer than any bundle`);
    return;
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = kindOf(bytes);
  if (RELEASE_FILES.has(kind)) {
    asked[kind] = bytes;
    valuesName = kind === "values" ? file.name : valuesName;
    at("release-digest").value = "";
    noteRelease();
  } else if (kind === "policy") {
    asked.policy = bytes;
    at("policy").querySelector("[value=own]").hidden = false;
    at("policy").value = "own";
    at("policy-note").textContent = `Policy: ${file.name}`;
  } else if (!BESIDE_RELEASE.includes(file.name)) {
    asked.bundle = bytes;
    at("bundle-name").textContent = `${file.name}, ${bytes.length} bytes`;
  }
}

/** No bundle is judged any more. */
function refuse(code, reason) {
  asked.bundle = null;
  turn += 1;
  show(badInput(code, reason));
}

const FIRST_LINES = new Map([
  ["cocoon-release/v1\n", "entry"],
  ["c2sp.org/tlog-proof@v1\n", "proof"],
]);
const MEMBERS = new Map([["shapes", "values"], ["classes", "policy"], ["flavour", "manifest"]]);

/** What a file is, but for a bundle: null for that and for all else. */
function kindOf(bytes) {
  const start = new TextDecoder().decode(bytes.subarray(0, 32));
  const line = [...FIRST_LINES.keys()].find((first) => start.startsWith(first));
  if (line !== undefined || !start.startsWith("{")) {
    return FIRST_LINES.get(line) ?? null;
  }
  try {
    const document = JSON.parse(new TextDecoder().decode(bytes));
    const found = [...MEMBERS.keys()].find((name) => Object.hasOwn(document, name));
    return MEMBERS.get(found) ?? null;
  } catch {
    return null;
  }
}

async function takeAll(files) {
  try {
    for (const file of files) {
      await take(file);
    }
  } catch {
    refuse("page", "a file cannot be read: drop files, not a folder");
    return;
  }
  await judge();
}

function show(answer) {
  const { decision, verdict, account, error } = answer;
  at("result").hidden = false;
  at("result").dataset.decision = decision;
  at("result").dataset.code = error?.code ?? verdict.rejection ?? "";
  at("verdict").className = decision === "accepted" ? "verdict good" : "verdict bad";
  at("verdict").replaceChildren(...headline(answer));
  const parts = error ? [] : [
    ["facts", facts(verdict, account)],
    ["difference", difference(account)],
    ["checks", checks(verdict, account)],
    ["document", documentPart(answer.verdictText)],
  ];
  for (const id of ["facts", "difference", "checks", "document"]) {
    at(id).replaceChildren(...(parts.find(([name]) => name === id)?.[1] ?? []));
  }
}

function headline({ decision, verdict, account, error }) {
  if (error) {
    return [
      element("strong", {}, "✗ No verdict: bad input"),
      element("p", {}, mono(error.code), `: ${error.reason}`),
    ];
  }
  const note = element("p", {}, `Channel binding ${verdict.channel_binding}. Judged for ${moment(verdict.at)}.`);
  if (decision === "accepted") {
    const end = element("p", {}, `Holds until ${moment(verdict.machine.not_after)}.`);
    return [element("strong", {}, "✓ Accepted"), end, note];
  }
  const reason = account.reasons[verdict.rejection] ?? "";
  return [
    element("strong", {}, "✗ Rejected"),
    element("p", {}, mono(verdict.rejection), `: ${reason}`),
    note,
  ];
}

/** One card: a title and pairs of name and value. */
function card(title, pairs) {
  const list = element("dl", {});
  for (const [name, value] of pairs) {
    list.append(element("dt", {}, name), element("dd", {}, value));
  }
  return element("section", { class: "fact" }, element("h3", {}, title), list);
}

function facts(verdict, account) {
  const { machine } = verdict;
  const claimed = machine === null ? " (claimed)" : "";
  const nearest = account.release.shapes.find((shape) => shape.registers.every((one) => one.equal));
  const kind = verdict.tee === "tdx" ? "Intel TDX" : "AMD SEV-SNP";
  const named = (code) => verdict.checks.find((check) => check.of === "chip" && check.check === code);
  const chip = machine?.chip ?? named("chip-not-accepted")?.found ?? "";
  const vouched = named("chip-not-certified")?.outcome === "passed" ? "" : " (no certificate names it)";
  const registers = verdict.checks.find((check) => check.of === "registers");
  const terms = account.launch_configuration.terms;
  const models = account.release.models.map((model) => {
    const pinned = model.pinned_as === null ? "not in the release" : `in the release as ${model.pinned_as}`;
    return [model.name, element("span", {}, mono(model.digest), ` — ${pinned}`)];
  });
  return [
    card(`Machine${claimed}`, [
      ["Kind", kind],
      ["Chip", chip === "" ? mono("not known") : element("span", {}, mono(chip), vouched)],
      ...(machine?.provider ? [["Granted by", mono(machine.provider)]] : []),
      ["Shape", machine?.shape ?? nearest?.shape ?? "none of the release's"],
      ["Boot", mono(account.boot_id)],
      ["Host's clock", moment(account.host_time)],
    ]),
    card(`Image${claimed}`, [
      ["Release held against", `${account.release.image} (${account.release.profile})`],
      ["Measurement", mono(machine?.measurement ?? registers?.found ?? "not known")],
      ["Launch configuration", mono(account.launch_configuration.digest)],
      ["Payee", terms === null ? "not known" : mono(terms.payee)],
    ]),
    card(`Model${claimed}`, models.length > 0 ? models : [["None", "the launch configuration cannot be read"]]),
    card(`GPU${claimed}`, devices(account.gpus)),
  ];
}

function devices({ evidence_bytes: bytes, devices: kinds }) {
  if (bytes === 0) {
    return [["None", "no evidence of GPUs"]];
  }
  const counts = new Map();
  for (const kind of kinds) {
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const pairs = [...counts].map(([kind, count]) => [DEVICES.get(kind) ?? kind, String(count)]);
  return pairs.length > 0 ? pairs : [["Unknown", "their evidence cannot be read"]];
}

/** A table in a frame that scrolls. */
function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = element("tbody", {}, ...rows);
  const whole = element("table", {}, element("caption", {}, caption), element("thead", {}, head), body);
  return element("div", { class: "frame" }, whole);
}

/** One thing of a machine beside what the release has for it. */
function beside(equal, names, name, expected, found) {
  return element(
    "tr",
    { class: equal ? "passed" : "failed", ...names },
    element("td", { class: "outcome" }, equal ? "✓ equal" : "✗ differs"),
    element("th", { scope: "row" }, name),
    element("td", {}, ...expected),
    element("td", {}, equal ? "the same" : found),
  );
}

function registerRow(one) {
  const origin = element("span", { class: "why" }, ORIGINS.get(one.origin) ?? "");
  const names = { "data-register": one.register };
  return beside(one.equal, names, mono(one.register), [mono(one.expected), origin], mono(one.measured));
}

function modelRow(one) {
  const pinned = one.pinned_as !== null;
  const expected = pinned
    ? [mono(one.digest), element("span", { class: "why" }, `as ${one.pinned_as}`)]
    : ["no model of this digest"];
  return beside(pinned, { "data-model": one.name }, `Model ${one.name}`, expected, mono(one.digest));
}

/** Kinds and numbers of devices; the mode in which they report is one of the checks. */
function devicesRow(sets, { evidence_bytes: bytes, devices: reported }) {
  const words = (gpus, kind, switches) => gpus + switches === 0
    ? "no devices"
    : [[gpus, DEVICES.get(kind) ?? kind], [switches, DEVICES.get("ls10")]]
      .filter(([count]) => count > 0).map(([count, name]) => `${count} × ${name}`).join(", ");
  const gpus = reported.filter((kind) => kind !== "ls10");
  const kinds = [...new Set(gpus)];
  const found = bytes > 0 && reported.length === 0
    ? "evidence that cannot be read"
    : words(gpus.length, kinds.join(" and "), reported.length - gpus.length);
  const expected = sets.map((set) => words(set.gpus, set.architecture, set.switches));
  const all = expected.length > 0 ? expected : [words(0, "", 0)];
  return beside(all.includes(found), { "data-devices": "" }, "GPUs", [all.join(", or ")], found);
}

/** Where the log of the reader's key holds the release. */
function place({ log, version, flavour, index, size, root, sbom, build_inputs: inputs }) {
  return [
    element("p", { id: "release-log" },
      `Release ${version} (${flavour}), number ${index + 1} of the ${size} in the log ${log}. Whoever was shown `,
      "the same log has for that number of releases this root: ", mono(root)),
    element("p", { class: "note" }, "SHA-256 of its bill of materials: ", mono(sbom),
      ", of its build inputs: ", mono(inputs)),
  ];
}

function difference({ release, release_from: from, release_log: log, receiver_pinned_the_same: same, gpus }) {
  const source = {
    given: "your release",
    logged: "the release in your log",
    bundle: "the bundle's, by your digest",
  }[from] ?? "the bundle's own, which nobody vouches for";
  const parts = [
    element("h2", {}, "Difference to the pinned release"),
    element("p", {}, `Held against ${source}: `, mono(release.digest)),
    ...(log === null ? [] : place(log)),
  ];
  if (same === false) {
    parts.push(element("p", {}, "Whoever made the bundle had pinned other reference values."));
  }
  const [nearest, ...others] = release.shapes;
  if (nearest === undefined) {
    return [...parts, element("p", {}, "The release has no shape of this kind of machine.")];
  }
  const rows = [
    ...nearest.registers.map(registerRow),
    ...release.models.map(modelRow),
    devicesRow(nearest.devices, gpus),
  ];
  const title = `Nearest shape: ${nearest.shape}, ${nearest.vcpus} vCPUs, ${nearest.memory_mib} MiB`;
  parts.push(table(title, ["", "Of the machine", "Release", "Machine"], rows));
  if (others.length > 0) {
    const names = others.map((shape) => shape.shape).join(", ");
    parts.push(element("p", { class: "note" }, `Other shapes of the release: ${names}`));
  }
  return parts;
}

function checkRow(check, account) {
  const open = !["passed", "not-needed"].includes(check.outcome);
  const weakness = check.weakness === undefined ? "" : ` (the policy tolerates ${check.weakness})`;
  const why = open ? [element("span", { class: "why" }, `${account.reasons[check.check] ?? ""}${weakness}`)] : [];
  return element(
    "tr",
    { class: check.outcome, "data-check": check.check, "data-of": check.of },
    element("td", { class: "outcome" }, OUTCOMES.get(check.outcome) ?? check.outcome),
    element("th", { scope: "row" }, mono(check.check), ...why),
    element("td", {}, check.of),
    element("td", {}, mono(check.found)),
  );
}

/** How many of the checks ended how; what did not occur is left out but `passed`. */
function tally(checks) {
  const count = (outcome) => checks.filter((check) => check.outcome === outcome).length;
  const counted = [...OUTCOMES.keys()].map((name) => [name, count(name)]);
  const there = counted.filter(([name, number]) => number > 0 || name === "passed");
  return there.map(([name, number]) => `${number} ${name.replace("-", " ")}`).join(", ");
}

/** Which of several alike a check is about, as people call it; null for what there is one of. */
function numbered(check) {
  const found = /^(gpu|switch|manifest)-(?:[a-z]+-)?([0-9]+)$/.exec(check.of);
  return found === null ? null : `${NUMBERED.get(found[1])} ${found[2]}`;
}

/** The checks of one of them: folded while there is nothing to see to. */
function numberedChecks(name, checks, account) {
  const rows = checks.map((check) => checkRow(check, account));
  const quiet = checks.every((check) => ["passed", "not-needed"].includes(check.outcome));
  return element(
    "details",
    { class: quiet ? "part quiet-part" : "part", ...(quiet ? {} : { open: "" }) },
    element("summary", {}, `${name}: ${tally(checks)}`),
    table(`Checks of ${name}`, ["", "Check", "Of", "Found"], rows),
  );
}

function checks(verdict, account) {
  const parts = Map.groupBy(verdict.checks, numbered);
  const rows = (parts.get(null) ?? []).map((check) => checkRow(check, account));
  parts.delete(null);
  const list = element(
    "div",
    {},
    table(tally(verdict.checks), ["", "Check", "Of", "Found"], rows),
    ...[...parts].map(([name, of]) => numberedChecks(name, of, account)),
  );
  const box = element("input", { type: "checkbox", id: "only-open" });
  box.addEventListener("change", () => list.classList.toggle("only-open", box.checked));
  const choice = element("label", { class: "switch", for: "only-open" }, box, "Only what did not pass");
  const note = element("p", { class: "note" }, "A check has the name of the rejection that it ends in when it fails.");
  return [element("h2", {}, "Checks"), note, choice, list];
}

function documentPart(text) {
  const save = element("button", { type: "button" }, "Save the verdict");
  save.addEventListener("click", () => {
    const place = URL.createObjectURL(new Blob([`${text}\n`], { type: "application/json" }));
    element("a", { href: place, download: "verdict.json" }).click();
    setTimeout(() => URL.revokeObjectURL(place), 1000);
  });
  const body = element("pre", { id: "verdict-text", tabindex: "0" }, text);
  return [element("details", {}, element("summary", {}, "Verdict as a document"), body, save)];
}

at("bundle-file").addEventListener("change", (event) => takeAll(event.target.files));
at("release-file").addEventListener("change", (event) => takeAll(event.target.files));
at("log-key").addEventListener("change", noteRelease);
for (const id of ["log-key", "release-digest", "policy", "at"]) {
  at(id).addEventListener("change", () => judge());
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  takeAll([...event.dataTransfer.files]);
});
loading.then(
  () => { document.documentElement.dataset.ready = "yes"; },
  (error) => show(badInput("page", `the verifier did not load: ${error}`)),
);
