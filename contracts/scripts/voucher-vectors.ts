// Makes the voucher vectors with @ton/core and @ton/crypto, so that protocol's own computation is
// compared with another implementation. With --check it compares with the committed file.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Address } from '@ton/core';
import { keyPairFromSeed, sign } from '@ton/crypto';
import { type Voucher, voucherCell } from '../wrappers/channel.ts';

const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const file = join(room, '../tests/fixtures/voucher/vectors.json');
const SEED = Buffer.alloc(32, 42); // of no wallet

function account(first: number): Buffer {
    return Buffer.from(Array.from({ length: 32 }, (_, index) => (first + 7 * index) & 0xff));
}

function root(of: Buffer): bigint {
    return BigInt(`0x${of.toString('hex')}`);
}

const base: Voucher = {
    network: -7357,
    channel: new Address(0, account(1)),
    epoch: 1_795_000_000,
    cumulative: 1_280n,
    receiptsRoot: root(account(9)),
    validUntil: 1_795_604_800,
};

const cases: [string, Voucher][] = [
    ['an ordinary voucher', base],
    ['nothing yet, no receipt', { ...base, cumulative: 0n, receiptsRoot: 0n }],
    ['one nano', { ...base, cumulative: 1n }],
    ['the last amount of one byte', { ...base, cumulative: 255n }],
    ['the first amount of two bytes', { ...base, cumulative: 256n }],
    ['2^63', { ...base, cumulative: 2n ** 63n }],
    ['2^64', { ...base, cumulative: 2n ** 64n }],
    ['the largest amount', { ...base, cumulative: 2n ** 120n - 1n }],
    ['the main network', { ...base, network: -239 }],
    ['a positive network id', { ...base, network: 2 ** 31 - 1 }],
    ['the masterchain', { ...base, channel: new Address(-1, account(1)) }],
    [
        'all ones',
        { ...base, epoch: 2 ** 32 - 1, validUntil: 2 ** 32 - 1, receiptsRoot: 2n ** 256n - 1n },
    ],
];

/** docs/spec/voucher.md, §3. */
function signedBytes(voucher: Voucher, publicKey: Buffer, signature: Buffer): Buffer {
    const bytes = Buffer.alloc(189);
    bytes.writeInt32LE(voucher.network, 0);
    bytes.writeInt8(voucher.channel.workChain, 4);
    voucher.channel.hash.copy(bytes, 5);
    bytes.writeUInt32LE(voucher.epoch, 37);
    bytes.writeBigUInt64LE(voucher.cumulative & (2n ** 64n - 1n), 41);
    bytes.writeBigUInt64LE(voucher.cumulative >> 64n, 49);
    Buffer.from(voucher.receiptsRoot.toString(16).padStart(64, '0'), 'hex').copy(bytes, 57);
    bytes.writeUInt32LE(voucher.validUntil, 89);
    publicKey.copy(bytes, 93);
    signature.copy(bytes, 125);
    return bytes;
}

const { publicKey, secretKey } = keyPairFromSeed(SEED);
const vectors = cases.map(([name, voucher]) => {
    const cell = voucherCell(voucher);
    const signature = sign(cell.hash(), secretKey);
    return {
        name,
        network: voucher.network,
        channel: voucher.channel.toRawString(),
        epoch: voucher.epoch,
        cumulative: voucher.cumulative.toString(),
        receipts_root: voucher.receiptsRoot.toString(16).padStart(64, '0'),
        valid_until: voucher.validUntil,
        bits: cell.bits.toString(),
        cell_hash: cell.hash().toString('hex'),
        boc: cell.toBoc().toString('base64'),
        signed: signedBytes(voucher, publicKey, signature).toString('hex'),
    };
});
const keys = { seed: SEED.toString('hex'), public_key: publicKey.toString('hex') };
const text = `${JSON.stringify({ ...keys, vectors }, null, 2)}\n`;

if (!process.argv.includes('--check')) {
    writeFileSync(file, text);
} else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${file} differs from what this script makes`);
    process.exitCode = 1;
}
