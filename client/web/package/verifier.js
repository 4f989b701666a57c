// Asks the verifier, a WebAssembly module, about a bundle. The messages are those of the project's
// docs/spec/bundle.md §4. No rule of appraisal is here, and nothing is fetched.

const DECISIONS = new Map([[0, "accepted"], [20, "rejected"], [2, "bad-input"]]);
const PIN_NOTHING = 0;
const PIN_DIGEST = 1;
const PIN_VALUES = 2;
const PIN_RELEASE = 3;
const HEADER_BYTES = 5;

/** The bytes of 64 hex digits. */
function digestBytes(text) {
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new TypeError("a digest is 64 lower-case hex digits");
  }
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}

function littleEndian(bytes, value) {
  const out = new Uint8Array(bytes);
  let rest = BigInt(value);
  for (let at = 0; at < bytes; at += 1) {
    out[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return out;
}

const blob = (bytes) => [littleEndian(4, bytes.length), bytes];

function pinParts({ referenceValues, referenceDigest, release }) {
  const given = [referenceValues, referenceDigest, release].filter((pin) => pin !== undefined);
  if (given.length > 1) {
    throw new TypeError("give a release, reference values or their digest, one of them");
  }
  if (release !== undefined) {
    const { logKey, entry, proof, manifest, referenceValues: values } = release;
    const files = [new TextEncoder().encode(logKey), entry, proof, manifest, values];
    return [Uint8Array.of(PIN_RELEASE), ...files.flatMap(blob)];
  }
  if (referenceValues !== undefined) {
    return [Uint8Array.of(PIN_VALUES), ...blob(referenceValues)];
  }
  if (referenceDigest !== undefined) {
    return [Uint8Array.of(PIN_DIGEST), digestBytes(referenceDigest)];
  }
  return [Uint8Array.of(PIN_NOTHING)];
}

function encodeQuestion(bundle, terms) {
  const at = terms.at;
  if (typeof at !== "bigint" && !Number.isSafeInteger(at)) {
    throw new TypeError("`at` is the time in whole seconds since 1970");
  }
  if (at < 0 || BigInt(at) >= 1n << 64n) {
    throw new RangeError("`at` does not fit 64 bits");
  }
  const policy = terms.policy ?? "strict";
  const policyBytes = typeof policy === "string" ? new TextEncoder().encode(policy) : policy;
  const parts = [littleEndian(8, at), ...blob(policyBytes), ...pinParts(terms), ...blob(bundle)];
  const question = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    question.set(part, end);
    end += part.length;
  }
  return question;
}

function decodeAnswer(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decision = DECISIONS.get(bytes[0]);
  const verdictEnd = HEADER_BYTES + view.getUint32(1, true);
  const text = (from, to) => new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(from, to));
  const verdictText = text(HEADER_BYTES, verdictEnd);
  const rest = JSON.parse(text(verdictEnd + 4, verdictEnd + 4 + view.getUint32(verdictEnd, true)));
  if (decision === undefined) {
    throw new Error("the module gave an answer of another form");
  }
  if (decision === "bad-input") {
    return { decision, verdictText: null, verdict: null, account: null, error: rest };
  }
  return { decision, verdictText, verdict: JSON.parse(verdictText), account: rest, error: null };
}

/** A compiled verifier. It holds nothing of what it was asked. */
export class Verifier {
  #module;

  /** Use `Verifier.load`. */
  constructor(module) {
    if (WebAssembly.Module.imports(module).length > 0) {
      throw new TypeError("a verifier imports nothing");
    }
    this.#module = module;
  }

  /** Compiles a module, or takes one that is compiled. */
  static async load(source) {
    const compiled = source instanceof WebAssembly.Module;
    return new Verifier(compiled ? source : await WebAssembly.compile(source));
  }

  /** Judges a bundle, in an instance of its own. */
  async verifyBundle(bundle, terms) {
    const question = encodeQuestion(bundle, terms);
    const { exports } = await WebAssembly.instantiate(this.#module, {});
    const room = exports.room(question.length) >>> 0;
    if (room === 0) {
      const error = { code: "bundle-too-long", reason: "the question is longer than any bundle makes it" };
      return { decision: "bad-input", verdictText: null, verdict: null, account: null, error };
    }
    new Uint8Array(exports.memory.buffer, room, question.length).set(question);
    const length = exports.judge() >>> 0;
    return decodeAnswer(new Uint8Array(exports.memory.buffer, exports.answer() >>> 0, length).slice());
  }
}
