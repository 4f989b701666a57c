/** What a verdict is judged by. */
export interface Terms {
  /** The time of the appraisal, in whole seconds since 1970. */
  at: number | bigint;
  /** A built-in policy by its name, or a policy's text. `strict` if it is left out. */
  policy?: "strict" | "testing" | (string & {}) | Uint8Array;
  /** The text of the reference values of the release that you pin. */
  referenceValues?: Uint8Array;
  /** Or the SHA-256 of that text, 64 lower-case hex digits: then the bundle's own values count. */
  referenceDigest?: string;
  /** Or a release that the log of a key must hold: then its reference values count. */
  release?: Release;
}

/** Files of a release's directory, and the key of the log: docs/spec/release.md. */
export interface Release {
  /** The log's public key, `name+id+base64`. */
  logKey: string;
  /** `entry`. */
  entry: Uint8Array;
  /** `entry.tlog-proof`, with the signed checkpoint in it. */
  proof: Uint8Array;
  /** `manifest.json`. */
  manifest: Uint8Array;
  /** `reference-values.json`. */
  referenceValues: Uint8Array;
}

/** How a check ended. */
export type Outcome = "passed" | "tolerated" | "failed" | "not-needed" | "not-reached";

/** One check: docs/spec/verdict.md §3. */
export interface Check {
  /** Its name: the code of the rejection that it ends in. */
  check: string;
  /** What it is about. */
  of: string;
  outcome: Outcome;
  /** Where tolerated: the name by which the policy tolerates it. */
  weakness?: string;
  /** The value that decided; empty where there is none. */
  found: string;
}

/** An accepted machine: docs/spec/verdict.md §2. */
export interface Machine {
  image: string;
  shape: string;
  measurement: string;
  chip: string;
  /** Whether a certificate names the chip; a provider's shared key (VLEK) leaves that open. */
  chip_certified: boolean;
  /** The provider's key that granted the machine, where the policy names providers. */
  provider: string | null;
  models: string[];
  launch_configuration: string;
  boot_id: string;
  statement: string;
  /** Seconds since 1970 from which on the result does not hold any more. */
  not_after: number;
}

/** A verdict: docs/spec/verdict.md §1. */
export interface Verdict {
  version: 1;
  kind: "bundle";
  verdict: "accepted" | "rejected";
  /** The first failed check's code: docs/spec/rejections.md. */
  rejection: string | null;
  channel_binding: "not checked";
  tee: "sev-snp" | "tdx";
  at: number;
  /** Profile of the trust anchors. */
  profile: "release" | "research";
  /** SHA-256 of the policy's text. */
  policy: string;
  /** SHA-256 of the reference values' text. */
  reference_values: string;
  /** None unless accepted. */
  machine: Machine | null;
  checks: Check[];
}

/** One register beside what a release expects. */
export interface RegisterDifference {
  register: "MEASUREMENT" | "MRTD" | "RTMR0" | "RTMR1" | "RTMR2";
  expected: string;
  measured: string;
  origin: "computed" | "computed-unconfirmed" | "captured";
  equal: boolean;
}

/** GPUs and switches that a shape may have. */
export interface DeviceSet {
  architecture: Device;
  gpus: number;
  switches: number;
  mode: "multi-pass" | "single-pass" | "protected-pcie";
}

/** A kind of device: two of GPUs, one of switches. */
export type Device = "hopper" | "blackwell" | "ls10";

/** A machine beside one shape of a release. */
export interface ShapeDifference {
  shape: string;
  vcpus: number;
  memory_mib: number;
  devices: DeviceSet[];
  registers: RegisterDifference[];
}

/** A loaded model beside the pinned ones. */
export interface ModelDifference {
  digest: string;
  name: string;
  pinned_as: string | null;
}

/** A machine beside a release. */
export interface Difference {
  image: string;
  profile: "release" | "research";
  digest: string;
  /** The nearest first. */
  shapes: ShapeDifference[];
  models: ModelDifference[];
}

/** What a bundle says of itself: for people to read, never to decide by. */
export interface Account {
  made_at: number;
  host_time: number;
  tee: "sev-snp" | "tdx";
  class: "fresh" | "epoch" | "hpke";
  boot_id: string;
  statement: string;
  tls_key: string;
  receipt_key: string;
  launch_configuration: {
    digest: string;
    terms: { network: number; payee: string; streams: number; context_tokens: number } | null;
  };
  gpus: { evidence_bytes: number; devices: Device[] };
  /** Whose reference values were used. */
  release_from: "given" | "logged" | "bundle" | "bundle-unpinned";
  /** Where a release was given: its place in the log that holds it. */
  release_log: LoggedRelease | null;
  release: Difference;
  /** Where values or a release were given: whether the receiver of the bundle had pinned the same. */
  receiver_pinned_the_same: boolean | null;
  /** What each check that did not pass means, by its code. */
  reasons: Record<string, string>;
}

/** A release's place in a log. */
export interface LoggedRelease {
  /** The log's name. */
  log: string;
  version: string;
  flavour: "cpu" | "gpu";
  /** The release's number, from 0. */
  index: number;
  /** Releases in the log, as its checkpoint says. */
  size: number;
  /** The checkpoint's root, base64: to compare with what others were shown. */
  root: string;
  /** SHA-256 of the bill of materials and of the build inputs, which are not asked for here. */
  sbom: string;
  build_inputs: string;
}

/** Why there is no verdict. */
export interface BadInput {
  code: string;
  reason: string;
}

/** What comes of a bundle. */
export type Answer =
  | {
      decision: "accepted" | "rejected";
      /** The verdict's bytes as `cocoon verify bundle` prints them, without the line's end. */
      verdictText: string;
      verdict: Verdict;
      account: Account;
      error: null;
    }
  | { decision: "bad-input"; verdictText: null; verdict: null; account: null; error: BadInput };

/** A compiled verifier. */
export class Verifier {
  private constructor(module: WebAssembly.Module);
  /** Compiles `verifier.wasm`; refuses a module that imports anything. */
  static load(source: BufferSource | WebAssembly.Module): Promise<Verifier>;
  /**
   * Judges a bundle, in an instance of its own. Throws only for terms of another type, or if the
   * module cannot run; a file that is no bundle is an answer.
   */
  verifyBundle(bundle: Uint8Array, terms: Terms): Promise<Answer>;
}
