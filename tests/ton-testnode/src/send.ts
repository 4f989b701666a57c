// Sends the messages of a release's registry-transaction.json from a wallet v4r2, by @ton/ton alone: a
// second reader of what the host agent wrote. For the test chain only.
import { readFileSync } from 'node:fs';
import { Address, Cell, internal, SendMode } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { TonClient, WalletContractV4 } from '@ton/ton';

const STANDARD_SUBWALLET = 698983191;
const RESEARCH_NETWORK = -7357;
const MOST_MESSAGES = 4;

interface Message {
    address: string;
    amount: string;
    payload: string;
}

const [chain, seedFile, file] = process.argv.slice(2);
if (!chain || !seedFile || !file) {
    console.error('usage: send.ts CHAIN SEED_FILE registry-transaction.json');
    process.exit(2);
}
const seed = Buffer.from(readFileSync(seedFile, 'utf8').trim(), 'hex');
const keys = keyPairFromSeed(seed);
const client = new TonClient({ endpoint: `${chain}/api/v2/jsonRPC` });
// A wallet of that network only: contracts/src/wallet.rs.
const walletId = (STANDARD_SUBWALLET + (RESEARCH_NETWORK >>> 0)) >>> 0;
const wallet = client.open(
    WalletContractV4.create({ workchain: 0, publicKey: keys.publicKey, walletId }),
);
const { messages } = JSON.parse(readFileSync(file, 'utf8')) as { messages: Message[] };
for (let at = 0; at < messages.length; at += MOST_MESSAGES) {
    const seqno = await wallet.getSeqno();
    await wallet.sendTransfer({
        seqno,
        secretKey: keys.secretKey,
        // The chain's clock is its own.
        timeout: 0xffff_fffe,
        sendMode: SendMode.PAY_GAS_SEPARATELY,
        messages: messages.slice(at, at + MOST_MESSAGES).map((message) =>
            internal({
                to: Address.parse(message.address),
                value: BigInt(message.amount),
                bounce: true,
                body: Cell.fromBase64(message.payload),
            }),
        ),
    });
    if ((await wallet.getSeqno()) !== seqno + 1) throw new Error('the wallet did not take it');
}
console.log(`sent ${messages.length} messages from ${wallet.address.toRawString()}`);
