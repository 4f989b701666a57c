// Receipts for wallets: their bytes, digests and signatures, and the Merkle tree under a root that a
// voucher carries. A second implementation of protocol's `receipt` and `merkle`; both agree on
// tests/fixtures/receipt/vectors.json. docs/spec/receipt.md.
import { createHash } from 'node:crypto';
import { Address, beginCell, type Cell } from '@ton/core';
import { sign, signVerify } from '@ton/crypto';

const MAGIC = 'COCORCPT';
const RECEIPT_DOMAIN = Buffer.from('cocoon/receipt/v1\0');
/** Bytes that are signed, and bytes with the signature. */
export const RECEIPT_BYTES = 387;
export const SIGNED_RECEIPT_BYTES = 451;

export interface Receipt {
    network: number;
    statement: Buffer;
    bootId: Buffer;
    class: number;
    beacon: Buffer;
    request: Buffer;
    response: Buffer;
    model: Buffer;
    image: [number, number, number];
    temperatureMilli: number;
    topPMilli: number;
    topK: number;
    minPMilli: number;
    presenceMilli: number;
    frequencyMilli: number;
    seed: bigint;
    maxTokens: number;
    tokens: [number, number, number];
    prices: [bigint, bigint, bigint];
    charged: bigint;
    finish: number;
    channel: Address;
    epoch: number;
    sequence: bigint;
    previous: Buffer;
    hostTime: bigint;
}

function sha256(...parts: Buffer[]): Buffer {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return hash.digest();
}

class Writer {
    private readonly parts: Buffer[] = [];

    /** Little-endian, negative numbers in two's complement. */
    number(value: number | bigint, bytes: number): this {
        let rest = BigInt.asUintN(8 * bytes, BigInt(value));
        const out = Buffer.alloc(bytes);
        for (let at = 0; at < bytes; at += 1) {
            out[at] = Number(rest & 0xffn);
            rest >>= 8n;
        }
        this.parts.push(out);
        return this;
    }

    raw(bytes: Buffer, length: number): this {
        if (bytes.length !== length) throw new Error(`${bytes.length} bytes instead of ${length}`);
        this.parts.push(bytes);
        return this;
    }

    done(): Buffer {
        return Buffer.concat(this.parts);
    }
}

/** docs/spec/receipt.md, §1: the 387 bytes that the signature covers. */
export function receiptBytes(receipt: Receipt): Buffer {
    const out = new Writer()
        .raw(Buffer.from(MAGIC), 8)
        .number(1, 2)
        .number(receipt.network, 4)
        .raw(receipt.statement, 32)
        .raw(receipt.bootId, 32)
        .number(receipt.class, 1)
        .raw(receipt.beacon, 32)
        .raw(receipt.request, 32)
        .raw(receipt.response, 32)
        .raw(receipt.model, 32);
    for (const part of receipt.image) out.number(part, 2);
    out.number(receipt.temperatureMilli, 4)
        .number(receipt.topPMilli, 4)
        .number(receipt.topK, 4)
        .number(receipt.minPMilli, 4)
        .number(receipt.presenceMilli, 4)
        .number(receipt.frequencyMilli, 4)
        .number(receipt.seed, 8)
        .number(receipt.maxTokens, 4);
    for (const count of receipt.tokens) out.number(count, 4);
    for (const price of receipt.prices) out.number(price, 8);
    const bytes = out
        .number(receipt.charged, 16)
        .number(receipt.finish, 1)
        .number(receipt.channel.workChain, 1)
        .raw(receipt.channel.hash, 32)
        .number(receipt.epoch, 4)
        .number(receipt.sequence, 8)
        .raw(receipt.previous, 32)
        .number(receipt.hostTime, 8)
        .done();
    if (bytes.length !== RECEIPT_BYTES) throw new Error('not the size of a receipt');
    return bytes;
}

/** The leaf of the Merkle tree, and what the signature covers. */
export function receiptDigest(bytes: Buffer): Buffer {
    return sha256(RECEIPT_DOMAIN, bytes);
}

export function signReceipt(receipt: Receipt, secretKey: Buffer): Buffer {
    const bytes = receiptBytes(receipt);
    return Buffer.concat([bytes, sign(receiptDigest(bytes), secretKey)]);
}

export function receiptHolds(signed: Buffer, publicKey: Buffer): boolean {
    if (signed.length !== SIGNED_RECEIPT_BYTES) return false;
    const digest = receiptDigest(signed.subarray(0, RECEIPT_BYTES));
    return signVerify(digest, signed.subarray(RECEIPT_BYTES), publicKey);
}

export function requestDigest(salt: Buffer, body: Buffer): Buffer {
    return sha256(Buffer.from('cocoon/request-digest/v1\0'), salt, body);
}

export function responseDigest(salt: Buffer, text: Buffer): Buffer {
    return sha256(Buffer.from('cocoon/response-digest/v1\0'), salt, text);
}

function leafHash(leaf: Buffer): Buffer {
    return sha256(Buffer.of(0), leaf);
}

function nodeHash(left: Buffer, right: Buffer): Buffer {
    return sha256(Buffer.of(1), left, right);
}

/** The largest power of two below `count`, which is at least 2. */
function split(count: number): number {
    return 2 ** (Math.ceil(Math.log2(count)) - 1);
}

/** RFC 6962, §2.1; 32 zero bytes over nothing. */
export function receiptsRoot(leaves: Buffer[]): Buffer {
    if (leaves.length === 0) return Buffer.alloc(32);
    if (leaves.length === 1) return leafHash(leaves[0]!);
    const at = split(leaves.length);
    return nodeHash(receiptsRoot(leaves.slice(0, at)), receiptsRoot(leaves.slice(at)));
}

/** What proves that leaf number `index` is under the root: hashes from the leaf upwards. */
export function inclusionPath(leaves: Buffer[], index: number): Buffer[] {
    if (index < 0 || index >= leaves.length) throw new Error('no such leaf');
    if (leaves.length === 1) return [];
    const at = split(leaves.length);
    const [left, right] = [leaves.slice(0, at), leaves.slice(at)];
    return index < at
        ? [...inclusionPath(left, index), receiptsRoot(right)]
        : [...inclusionPath(right, index - at), receiptsRoot(left)];
}

/** The root that a leaf has through a path, or nothing where index, count and path do not fit. */
export function rootThrough(
    leaf: Buffer,
    index: number,
    count: number,
    path: Buffer[],
): Buffer | undefined {
    if (index < 0 || index >= count) return undefined;
    // From the root downwards: on which side the leaf is at each level.
    const sides: ('left' | 'right')[] = [];
    for (let [at, within] = [index, count]; within > 1; ) {
        const middle = split(within);
        sides.push(at < middle ? 'left' : 'right');
        [at, within] = at < middle ? [at, middle] : [at - middle, within - middle];
    }
    if (sides.length !== path.length) return undefined;
    sides.reverse();
    return path.reduce(
        (hash, sibling, level) =>
            sides[level] === 'left' ? nodeHash(hash, sibling) : nodeHash(sibling, hash),
        leafHash(leaf),
    );
}

/** A receipt as ProviderStake reads it: a chain of cells of 127, 127, 127 and 6 bytes. */
export function receiptCells(bytes: Buffer): Cell {
    const whole = 127;
    let next: Cell | undefined;
    for (let at = Math.floor((bytes.length - 1) / whole) * whole; at >= 0; at -= whole) {
        const builder = beginCell().storeBuffer(bytes.subarray(at, at + whole));
        next = (next ? builder.storeRef(next) : builder).endCell();
    }
    if (!next) throw new Error('nothing to store');
    return next;
}
