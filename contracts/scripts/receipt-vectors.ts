// Makes vectors of receipts and of the Merkle tree over them, so that protocol's own computation is
// compared with another implementation. With --check it compares with the committed file.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Address } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import {
    inclusionPath,
    type Receipt,
    RECEIPT_BYTES,
    receiptDigest,
    receiptHolds,
    receiptsRoot,
    requestDigest,
    responseDigest,
    rootThrough,
    signReceipt,
} from '../wrappers/receipt.ts';

const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const file = join(room, '../tests/fixtures/receipt/vectors.json');
const SEED = Buffer.alloc(32, 43); // of no machine
const SALT = Buffer.alloc(32, 9);
const ALL = 2 ** 32 - 1;

function pattern(first: number): Buffer {
    return Buffer.from(Array.from({ length: 32 }, (_, index) => (first + 11 * index) & 0xff));
}

const base: Receipt = {
    network: -7357,
    statement: pattern(1),
    bootId: pattern(2),
    class: 1,
    beacon: Buffer.alloc(32),
    request: requestDigest(SALT, Buffer.from('{"model":"m"}')),
    response: responseDigest(SALT, Buffer.from('Grüße, 世界')),
    model: pattern(3),
    image: [0, 1, 2],
    temperatureMilli: 700,
    topPMilli: 950,
    topK: 40,
    minPMilli: 50,
    presenceMilli: -2000,
    frequencyMilli: 1500,
    seed: 2n ** 64n - 1n,
    maxTokens: 256,
    tokens: [100, 20, 64],
    prices: [20n, 2n, 160n],
    charged: 100n * 20n + 20n * 2n + 64n * 160n,
    finish: 1,
    channel: new Address(0, pattern(4)),
    epoch: 1_795_000_000,
    sequence: 0n,
    previous: Buffer.alloc(32),
    hostTime: 1_795_000_123n,
};

const cases: [string, Receipt][] = [
    ['an ordinary receipt', base],
    ['the next one, cut by its length', { ...base, finish: 2, sequence: 1n, previous: pattern(5) }],
    ['greedy, nothing drawn', { ...base, temperatureMilli: 0, topPMilli: 1000, seed: 0n }],
    [
        'given up, nothing delivered',
        { ...base, finish: 3, tokens: [0, 0, 0], charged: 0n, sequence: 2n },
    ],
    ['over a beacon', { ...base, class: 2, beacon: pattern(6), sequence: 3n }],
    ['the main network', { ...base, network: -239, sequence: 4n }],
    [
        'large numbers',
        {
            ...base,
            image: [65_535, 65_535, 65_535],
            topK: ALL,
            maxTokens: ALL,
            tokens: [ALL, ALL, ALL],
            prices: [2n ** 64n - 1n, 1n, 1n],
            charged: BigInt(ALL) * (2n ** 64n - 1n) + 2n * BigInt(ALL),
            epoch: ALL,
            sequence: 2n ** 64n - 1n,
            hostTime: 2n ** 64n - 1n,
        },
    ],
];

const { publicKey, secretKey } = keyPairFromSeed(SEED);
const signed = cases.map(([, receipt]) => signReceipt(receipt, secretKey));
const leaves = signed.map((bytes) => receiptDigest(bytes.subarray(0, RECEIPT_BYTES)));
if (!signed.every((bytes) => receiptHolds(bytes, publicKey))) throw new Error('does not verify');

const receipts = cases.map(([name], index) => ({
    name,
    signed: signed[index]!.toString('hex'),
    digest: leaves[index]!.toString('hex'),
}));
const trees = leaves.map((_, last) => {
    const under = leaves.slice(0, last + 1);
    const root = receiptsRoot(under);
    const paths = under.map((leaf, index) => {
        const path = inclusionPath(under, index);
        if (!rootThrough(leaf, index, under.length, path)?.equals(root))
            throw new Error('a path does not lead to the root');
        return path.map((hash) => hash.toString('hex'));
    });
    return { count: under.length, root: root.toString('hex'), paths };
});
const salted = {
    salt: SALT.toString('hex'),
    request: '{"model":"m"}',
    request_digest: base.request.toString('hex'),
    response: 'Grüße, 世界',
    response_digest: base.response.toString('hex'),
};
const all = { public_key: publicKey.toString('hex'), salted, receipts, trees };
const text = `${JSON.stringify(all, null, 2)}\n`;

if (!process.argv.includes('--check')) {
    writeFileSync(file, text);
} else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${file} differs from what this script makes`);
    process.exitCode = 1;
}
