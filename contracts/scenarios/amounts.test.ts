// PaymentChannel at the edges of what an amount can be, and with amounts encoded otherwise.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { beginCell, type Cell } from '@ton/core';
import { sign } from '@ton/crypto';
import * as wire from '../wrappers/channel.ts';
import {
    claim,
    DEPOSIT,
    type Deployed,
    KEY,
    open,
    PAYEE,
    refused,
    sendBody,
    stored,
    topUp,
    voucher,
} from './channel-stage.ts';
import { type Moment, World } from './world.ts';

const LARGEST = 2n ** 120n - 1n;

/** A voucher whose amount takes `bytes` bytes, however few it needs. */
function withAmountOf(bytes: number, amount: bigint, of: wire.Voucher): Cell {
    return beginCell()
        .storeUint(wire.VOUCHER_TAG, 32)
        .storeInt(of.network, 32)
        .storeAddress(of.channel)
        .storeUint(of.epoch, 32)
        .storeUint(bytes, 4)
        .storeUint(amount, 8 * bytes)
        .storeUint(of.receiptsRoot, 256)
        .storeUint(of.validUntil, 32)
        .endCell();
}

describe('amounts of a payment channel', () => {
    let d: Deployed;
    let snapshot: Moment;

    before(async () => {
        d = await open(await World.create());
        snapshot = d.world.snapshot();
    });
    beforeEach(() => d.world.restore(snapshot));

    test('nothing_is_paid_for_nothing', async () => {
        await refused(d, 104, () => claim(d, { cumulative: 0n, receiptsRoot: 0n }));
        const before = d.world.balance(d.address);
        assert.equal((await claim(d, { cumulative: 0n })).exit, 0);
        assert.equal(d.world.balance(d.address), before);
    });

    test('one_nano_unit_is_paid_once', async () => {
        const before = d.world.balance(d.address);
        assert.equal((await claim(d, { cumulative: 1n })).exit, 0);
        assert.equal(before - d.world.balance(d.address), 1n);
        await refused(d, 104, () => claim(d, { cumulative: 1n }));
    });

    test('2_to_63_is_paid_where_it_was_deposited_and_refused_where_not', async () => {
        await refused(d, 109, () => claim(d, { cumulative: 2n ** 63n }));
        assert.equal((await topUp(d, 2n ** 63n)).exit, 0);
        const before = d.world.balance(d.address);
        assert.equal((await claim(d, { cumulative: 2n ** 63n })).exit, 0);
        assert.equal(before - d.world.balance(d.address), 2n ** 63n);
    });

    test('the_largest_amount_is_refused_everywhere', async () => {
        await refused(d, 109, () => claim(d, { cumulative: LARGEST }));
        await refused(d, 115, () => topUp(d, LARGEST, PAYEE, DEPOSIT));
        // With what is there already it would not fit the contract's own number of 120 bits.
        await refused(d, 115, () => topUp(d, LARGEST - DEPOSIT + 1n, PAYEE, DEPOSIT));
    });

    test('an_amount_cannot_be_negative', async () => {
        // All ones, in as many bytes as an amount has at most, is the largest and not minus one.
        const ones = withAmountOf(15, LARGEST, await voucher(d));
        await refused(d, 109, () => sendBody(d, wire.claim(ones, KEY.secretKey), PAYEE));
    });

    test('an_amount_in_more_bytes_than_it_needs_pays_no_second_time', async () => {
        const plain = await voucher(d);
        const long = withAmountOf(15, plain.cumulative, plain);
        assert.ok(!long.equals(wire.voucherCell(plain)), 'it is another cell');
        // The payer's signature over the ordinary cell does not cover it.
        const signature = sign(wire.voucherCell(plain).hash(), KEY.secretKey);
        await refused(d, 103, () => sendBody(d, wire.signedClaim(long, signature), PAYEE));
        assert.equal((await claim(d)).exit, 0);
        // A payer that signs such a cell of its own will promises no more than its value.
        await refused(d, 104, () => sendBody(d, wire.claim(long, KEY.secretKey), PAYEE));
        assert.equal((await stored(d)).claimed, plain.cumulative);
    });

    test('an_amount_cut_short_is_refused', async () => {
        const good = wire.voucherCell(await voucher(d));
        const cut = beginCell().storeBits(good.bits.substring(0, good.bits.length - 8)).endCell();
        await refused(d, 9, () => sendBody(d, wire.claim(cut, KEY.secretKey), PAYEE));
    });
});
