// The stage of the scenarios of PaymentChannel: an open channel, and what its parties may send.
import assert from 'node:assert/strict';
import type { Address, Cell, StateInit } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { NETWORK_ID } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import { addressOf } from '../wrappers/code.ts';
import { account, COIN, type Outcome, World } from './world.ts';

export const PAYER = account(1);
export const PAYEE = account(2);
export const STRANGER = account(3);
export const KEY = keyPairFromSeed(Buffer.alloc(32, 7));
export const OTHER_KEY = keyPairFromSeed(Buffer.alloc(32, 8));
export const WINDOW = 3600;
export const DEPOSIT = 5n * COIN;
export const MARGIN = COIN / 10n; // for gas and storage reserve
export const FEE_VALUE = COIN / 20n; // attached to a claim or a close
export const CLAIM_GAS_BUDGET = 4500n;
/** What the contract reserves rent for. */
export const ACCOUNT_BITS = 9000n;
export const ACCOUNT_CELLS = 20n;

export interface Deployed {
    world: World;
    address: Address;
    init: StateInit;
}

export function terms(changes: Partial<wire.Terms> = {}): wire.Terms {
    return { payer: PAYER, payee: PAYEE, payerKey: KEY.publicKey, window: WINDOW, ...changes };
}

export async function open(world: World, changes: Partial<wire.Terms> = {}): Promise<Deployed> {
    const init = wire.channelInit(terms(changes));
    const address = addressOf(init);
    const result = await topUp({ world, address, init }, DEPOSIT);
    assert.equal(result.exit, 0);
    return { world, address, init };
}

export function topUp(
    d: Deployed,
    amount: bigint,
    from = PAYER,
    value = amount + MARGIN,
): Promise<Outcome> {
    return d.world.send({ from, to: d.address, value, body: wire.topUp(amount), init: d.init });
}

export async function stored(d: Deployed): Promise<wire.StoredChannel> {
    return wire.parseChannel(await d.world.dataOf(d.address));
}

export async function voucher(
    d: Deployed,
    changes: Partial<wire.Voucher> = {},
): Promise<wire.Voucher> {
    const { epoch } = await stored(d);
    return {
        network: NETWORK_ID,
        channel: d.address,
        epoch,
        cumulative: COIN,
        receiptsRoot: 42n,
        validUntil: d.world.now + 600,
        ...changes,
    };
}

export async function claim(
    d: Deployed,
    changes: Partial<wire.Voucher> = {},
    from = PAYEE,
): Promise<Outcome> {
    const body = wire.claim(wire.voucherCell(await voucher(d, changes)), KEY.secretKey);
    return d.world.send({ from, to: d.address, value: FEE_VALUE, body });
}

export function sendBody(d: Deployed, body: Cell, from: Address): Promise<Outcome> {
    return d.world.send({ from, to: d.address, value: FEE_VALUE, body });
}

/** Refused with this code: the state is untouched and the value returns to the sender. */
export async function refused(
    d: Deployed,
    code: number,
    act: () => Promise<Outcome>,
): Promise<void> {
    const balance = d.world.balance(d.address);
    const data = await d.world.dataOf(d.address);
    const result = await act();
    assert.equal(result.exit, code);
    assert.ok(result.bounced, 'the value came back');
    assert.equal(result.paid, 0n);
    assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
    assert.ok(d.world.balance(d.address) >= balance - 1_000_000n, 'at most rent was lost');
}

export function storageFee(result: Outcome): bigint {
    const description = result.transactions[0]!.description;
    return description.type === 'generic'
        ? (description.storagePhase?.storageFeesCollected ?? 0n)
        : 0n;
}
