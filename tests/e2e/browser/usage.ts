// What a TypeScript program does with the package; `tsc --strict` reads it and nothing runs it.

import { Verifier, type Account, type Answer, type Release, type Verdict } from "cocoon-verifier";

export async function judge(wasm: Uint8Array<ArrayBuffer>, bundle: Uint8Array): Promise<string> {
  const verifier = await Verifier.load(wasm);
  const answer: Answer = await verifier.verifyBundle(bundle, { at: 1_795_305_600, policy: "strict" });
  if (answer.decision === "bad-input") {
    // @ts-expect-error: what is no bundle has no verdict
    answer.verdict.checks;
    return answer.error.code;
  }
  const verdict: Verdict = answer.verdict;
  const account: Account = answer.account;
  const registers = account.release.shapes.flatMap((shape) => shape.registers);
  return [verdict.machine?.chip, ...registers.map((one) => one.register)].join(" ");
}

/** A release that a log must hold. */
export async function byLog(verifier: Verifier, bundle: Uint8Array, release: Release): Promise<string> {
  const { account } = await verifier.verifyBundle(bundle, { at: 1_795_305_600, release });
  return account?.release_log?.log ?? "";
}

export async function wrong(verifier: Verifier): Promise<void> {
  const bytes = new Uint8Array();
  // @ts-expect-error: the time has no default
  await verifier.verifyBundle(new Uint8Array(), { policy: "strict" });
  // @ts-expect-error: a release without its log's key is none
  const release: Release = { entry: bytes, proof: bytes, manifest: bytes, referenceValues: bytes };
  await verifier.verifyBundle(bytes, { at: 1, release });
  // @ts-expect-error: a verifier is loaded, not made
  new Verifier(new WebAssembly.Module(new Uint8Array()));
}
