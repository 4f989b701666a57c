// Makes the vectors of the channel in a jetton with @ton/core: address, stored states, messages. The
// Rust crate is compared with them. With --check it compares with the committed file.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Address, beginCell, type Cell } from '@ton/core';
import {
    CLOSED,
    finishClose,
    OPEN,
    signedClaim,
    startClose,
    voucherCell,
} from '../wrappers/channel.ts';
import { addressOf } from '../wrappers/code.ts';
import * as jetton from '../wrappers/jetton.ts';
import * as wire from '../wrappers/jetton-channel.ts';

const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const file = join(room, '../tests/fixtures/jetton-channel/vectors.json');

const party = (number: number) => new Address(0, Buffer.alloc(32, number));
const terms: wire.JettonTerms = {
    payer: party(1),
    payee: party(2),
    payerKey: Buffer.alloc(32, 3),
    window: 3600,
    minter: party(4),
};
const init = wire.jettonChannelInit(terms);
const address = addressOf(init);

/** What the contract stores; built here anew, so that nothing is compared with itself. */
function state(of: Omit<wire.StoredJettonChannel, 'terms'>) {
    const parties = beginCell()
        .storeAddress(terms.payee)
        .storeBuffer(terms.payerKey)
        .storeAddress(terms.payer)
        .endCell();
    const more = beginCell()
        .storeAddress(of.wallet)
        .storeCoins(of.duePayee)
        .storeCoins(of.duePayer)
        .storeUint(of.sweepAfter, 32)
        .storeUint(of.openAfter, 32)
        .storeAddress(terms.minter)
        .endCell();
    const data = beginCell()
        .storeCoins(of.claimed)
        .storeUint(of.lastRoot, 256)
        .storeUint(of.closeAt, 32)
        .storeCoins(of.deposited)
        .storeUint(of.epoch, 32)
        .storeUint(terms.window, 32)
        .storeRef(parties)
        .storeRef(more)
        .endCell();
    return {
        data: base64(data),
        claimed: of.claimed.toString(),
        last_root: of.lastRoot.toString(16).padStart(64, '0'),
        close_at: of.closeAt,
        deposited: of.deposited.toString(),
        epoch: of.epoch,
        wallet: of.wallet?.toRawString() ?? null,
        due_payee: of.duePayee.toString(),
        due_payer: of.duePayer.toString(),
        sweep_after: of.sweepAfter,
        open_after: of.openAfter,
    };
}

function base64(cell: Cell): string {
    return cell.toBoc().toString('base64');
}

const nothing = { claimed: 0n, lastRoot: 0n, deposited: 0n, duePayee: 0n, duePayer: 0n };
const states = [
    state({ ...nothing, closeAt: CLOSED, epoch: 0, wallet: null, sweepAfter: 0, openAfter: 0 }),
    state({
        claimed: 1_280n,
        lastRoot: 77n,
        closeAt: OPEN,
        deposited: 2n ** 64n,
        epoch: 1_795_000_000,
        wallet: party(5),
        duePayee: 320n,
        duePayer: 2n ** 120n - 1n,
        sweepAfter: 1_795_086_400,
        openAfter: 1_795_086_401,
    }),
];
const voucher = voucherCell({
    network: -7357,
    channel: address,
    epoch: 1_795_000_000,
    cumulative: 1_280n,
    receiptsRoot: 77n,
    validUntil: 1_795_604_800,
});
const bodies: Record<string, Cell> = {
    discover: wire.discover(),
    deposit: jetton.jettonTransfer({
        queryId: 9n,
        amount: 5_000_000n,
        destination: address,
        leftover: terms.payer,
        forwardValue: 200_000_000n,
    }),
    claim: signedClaim(voucher, Buffer.alloc(64, 6)),
    start_close: startClose(),
    finish_close: finishClose(),
    resend_to_payee: wire.resend('payee'),
    resend_to_payer: wire.resend('payer'),
    sweep: wire.sweep(party(5), 7n),
};
const text = `${JSON.stringify(
    {
        address: address.toRawString(),
        states,
        bodies: Object.fromEntries(
            Object.entries(bodies).map(([name, body]) => [name, body.hash().toString('hex')]),
        ),
    },
    null,
    2,
)}\n`;

if (!process.argv.includes('--check')) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
} else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${file} differs from what this script makes`);
    process.exitCode = 1;
}
