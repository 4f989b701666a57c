// Writes the code of the standard wallets v4r2 and v5r1, as the npm package @ton/ton carries them,
// to compiled/, and a vector of addresses, signed messages and a mnemonic for contracts/src/wallet.
// With --check it compares with the committed files.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { internal, SendMode } from '@ton/core';
import { keyPairFromSeed, mnemonicToPrivateKey } from '@ton/crypto';
import { WalletContractV4, WalletContractV5R1 } from '@ton/ton';

const V4R2_CODE_HASH = 'feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0';
const V5R1_CODE_HASH = '20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f';
const STANDARD_SUBWALLET = 698983191;
const MAIN_NETWORK = -239;
const RESEARCH_NETWORK = -7357;
const VALID_UNTIL = 1_795_000_060;
// Of no wallet; made by mnemonicNew of @ton/crypto.
const MNEMONIC =
    'ring spell crazy update injury fold best keep wing hood letter insect series copper piano ' +
    'bone asset pipe vanish cloud grocery exercise cheap loan';
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

function wallet5(networkGlobalId: number): WalletContractV5R1 {
    return WalletContractV5R1.create({
        publicKey: keys.publicKey,
        walletId: {
            networkGlobalId,
            context: { workchain: 0, walletVersion: 'v5r1', subwalletNumber: 0 },
        },
    });
}

const main = wallet(STANDARD_SUBWALLET);
const main5 = wallet5(MAIN_NETWORK);
const research = wallet((STANDARD_SUBWALLET + (RESEARCH_NETWORK >>> 0)) >>> 0);
if (main.init.code.hash().toString('hex') !== V4R2_CODE_HASH)
    throw new Error('not the code of v4r2');
if (main5.init.code.hash().toString('hex') !== V5R1_CODE_HASH)
    throw new Error('not the code of v5r1');

// Two transfers, with the sequence number 7.
const order = {
    seqno: 7,
    timeout: VALID_UNTIL,
    secretKey: keys.secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY + SendMode.IGNORE_ERRORS,
    messages: [
        internal({ to: main.address, value: 1_000_000_000n }),
        internal({ to: main5.address, value: 1n }),
    ],
};
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const words = await mnemonicToPrivateKey(MNEMONIC.split(' '));

const vector = {
    seed: seed.toString('hex'),
    main_network_address: main.address.toRawString(),
    research_network_address: research.address.toRawString(),
    v5r1_main_network_address: main5.address.toRawString(),
    v5r1_research_network_address: wallet5(RESEARCH_NETWORK).address.toRawString(),
    valid_until: VALID_UNTIL,
    body: hex(main.createTransfer(order).hash()),
    v5r1_body: hex(main5.createTransfer(order).hash()),
    mnemonic: MNEMONIC,
    mnemonic_seed: hex(words.secretKey.subarray(0, 32)),
};
const outputs: [string, Buffer][] = [
    [join(room, 'compiled/wallet-v4r2.boc'), main.init.code.toBoc({ idx: false })],
    [join(room, 'compiled/wallet-v4r2.hash'), Buffer.from(`${V4R2_CODE_HASH}\n`)],
    [join(room, 'compiled/wallet-v5r1.boc'), main5.init.code.toBoc({ idx: false })],
    [join(room, 'compiled/wallet-v5r1.hash'), Buffer.from(`${V5R1_CODE_HASH}\n`)],
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
