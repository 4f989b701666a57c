// Writes the code of the standard wallet v4r2, as the npm package @ton/ton carries it, to
// compiled/, and a vector of addresses for contracts/src/wallet.rs.
// With --check it compares with the committed files.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keyPairFromSeed } from '@ton/crypto';
import { WalletContractV4 } from '@ton/ton';

const V4R2_CODE_HASH = 'feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0';
const STANDARD_SUBWALLET = 698983191;
const RESEARCH_NETWORK = -7357;
const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const seed = Buffer.alloc(32, 42); // of no wallet
const keys = keyPairFromSeed(seed);

function wallet(subwallet: number): WalletContractV4 {
    return WalletContractV4.create({
        workchain: 0,
        publicKey: keys.publicKey,
        walletId: subwallet,
    });
}

const main = wallet(STANDARD_SUBWALLET);
const research = wallet((STANDARD_SUBWALLET + (RESEARCH_NETWORK >>> 0)) >>> 0);
if (main.init.code.hash().toString('hex') !== V4R2_CODE_HASH)
    throw new Error('not the code of v4r2');

const vector = {
    seed: seed.toString('hex'),
    main_network_address: main.address.toRawString(),
    research_network_address: research.address.toRawString(),
};
const outputs: [string, Buffer][] = [
    [join(room, 'compiled/wallet-v4r2.boc'), main.init.code.toBoc({ idx: false })],
    [join(room, 'compiled/wallet-v4r2.hash'), Buffer.from(`${V4R2_CODE_HASH}\n`)],
    [
        join(room, '../tests/fixtures/wallet/vector.json'),
        Buffer.from(`${JSON.stringify(vector, null, 2)}\n`),
    ],
];
for (const [path, bytes] of outputs) {
    if (!process.argv.includes('--check')) {
        writeFileSync(path, bytes);
    } else if (!readFileSync(path).equals(bytes)) {
        console.error(`${path} differs from what this script makes`);
        process.exitCode = 1;
    }
}
