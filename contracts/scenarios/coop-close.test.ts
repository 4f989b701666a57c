// PaymentChannel closed by both sides: one transaction pays both, and no close counts twice.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Address, beginCell, Cell } from '@ton/core';
import { sign } from '@ton/crypto';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import {
    claim,
    DEPOSIT,
    type Deployed,
    FEE_VALUE,
    KEY,
    OTHER_KEY,
    open,
    PAYEE,
    PAYER,
    refused,
    STRANGER,
    sendBody,
    storageFee,
    stored,
    topUp,
    voucher,
    WINDOW,
} from './channel-stage.ts';
import { account, COIN, type Moment, type Outcome, START, World } from './world.ts';

type Changes = Partial<wire.Voucher>;

async function close(d: Deployed, changes: Changes = {}): Promise<Cell> {
    return wire.voucherCell(await voucher(d, changes), wire.CLOSE_TAG);
}

async function coopClose(d: Deployed, changes: Changes = {}, from = PAYEE): Promise<Outcome> {
    return sendBody(d, wire.coopClose(await close(d, changes), KEY.secretKey), from);
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`close by both sides, prices ${prices}`, () => {
        let d: Deployed;
        let snapshot: Moment;

        before(async () => {
            d = await open(await World.create(prices));
            snapshot = d.world.snapshot();
        });
        beforeEach(() => d.world.restore(snapshot));

        test('pays_both_in_one_transaction_and_leaves_nothing', async () => {
            await claim(d);
            d.world.advance(60);
            const before = d.world.balance(d.address);
            const result = await coopClose(d, { cumulative: 3n * COIN, receiptsRoot: 77n });
            assert.equal(result.exit, 0);
            assert.ok(result.actionOk);
            const [payout, refund, ...more] = result.transactions[0]!.outMessages.values();
            assert.equal(more.length, 0);
            assert.ok(payout?.info.type === 'internal' && refund?.info.type === 'internal');
            assert.ok(payout.info.dest.equals(PAYEE) && refund.info.dest.equals(PAYER));
            assert.ok(!payout.info.bounce && !refund.info.bounce);
            const rent = storageFee(result);
            // The payee's own message pays for the computation and for the payout.
            const fees = result.fees - rent + payout.info.forwardFee;
            const shared = payout.info.value.coins + refund.info.value.coins;
            assert.equal(
                shared + fees + refund.info.forwardFee,
                before + FEE_VALUE - rent,
                'every nano unit went to one of the two or to fees',
            );
            assert.ok(payout.info.value.coins > 2n * COIN, 'the increment, and what was left');
            assert.ok(payout.info.value.coins <= 2n * COIN + FEE_VALUE);
            assert.ok(refund.info.value.coins >= DEPOSIT - 3n * COIN, 'all the rest');
            assert.equal(d.world.balance(d.address), 0n);
            const state = await stored(d);
            assert.equal(state.closeAt, wire.CLOSED);
            assert.equal(state.claimed, 3n * COIN);
            assert.equal(state.lastRoot, 77n);
            assert.equal(state.epoch, START);
        });

        test('may_pay_the_payee_nothing_more', async () => {
            await claim(d);
            assert.equal((await coopClose(d)).exit, 0);
            assert.equal((await stored(d)).claimed, COIN);
        });

        test('may_pay_the_payee_everything_or_nothing_at_all', async () => {
            assert.equal((await coopClose(d, { cumulative: DEPOSIT })).exit, 0);
            await topUp(d, DEPOSIT);
            assert.equal((await coopClose(d, { cumulative: 0n })).exit, 0);
            assert.equal(d.world.balance(d.address), 0n);
        });

        test('counts_during_the_window_and_never_after_it', async () => {
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW - 1);
            const moment = d.world.snapshot();
            assert.equal((await coopClose(d)).exit, 0);
            await d.world.restore(moment);
            d.world.advance(1);
            await refused(d, 112, () => coopClose(d));
        });

        test('refuses_a_close_that_the_payee_does_not_send', async () => {
            await refused(d, 101, () => coopClose(d, {}, PAYER));
            await refused(d, 101, () => coopClose(d, {}, STRANGER));
        });

        test('refuses_a_signature_by_another_key_or_over_other_bytes', async () => {
            const cell = await close(d);
            const other = wire.coopClose(cell, OTHER_KEY.secretKey);
            await refused(d, 103, () => sendBody(d, other, PAYEE));
            const signature = sign(cell.hash(), KEY.secretKey);
            signature[0]! ^= 1;
            await refused(d, 103, () => sendBody(d, wire.signedCoopClose(cell, signature), PAYEE));
        });

        test('a_voucher_closes_nothing_and_a_close_claims_nothing', async () => {
            const promise = wire.voucherCell(await voucher(d));
            await refused(d, 118, () => sendBody(d, wire.coopClose(promise, KEY.secretKey), PAYEE));
            const agreed = await close(d);
            await refused(d, 117, () => sendBody(d, wire.claim(agreed, KEY.secretKey), PAYEE));
        });

        test('refuses_another_network_channel_or_epoch', async () => {
            await refused(d, 105, () => coopClose(d, { network: -239 }));
            await refused(d, 106, () => coopClose(d, { channel: account(9) }));
            const elsewhere = new Address(-1, d.address.hash);
            await refused(d, 106, () => coopClose(d, { channel: elsewhere }));
            await refused(d, 107, () => coopClose(d, { epoch: START - 1 }));
            await refused(d, 107, () => coopClose(d, { epoch: START + 1 }));
        });

        test('counts_in_its_last_second_and_not_after_it', async () => {
            await refused(d, 108, () => coopClose(d, { validUntil: d.world.now - 1 }));
            assert.equal((await coopClose(d, { validUntil: d.world.now })).exit, 0);
        });

        test('refuses_less_than_was_claimed_and_more_than_was_deposited', async () => {
            await claim(d);
            await refused(d, 104, () => coopClose(d, { cumulative: COIN - 1n }));
            await refused(d, 109, () => coopClose(d, { cumulative: DEPOSIT + 1n }));
            await refused(d, 109, () => coopClose(d, { cumulative: 2n ** 120n - 1n }));
        });

        test('refuses_a_close_with_more_or_less_in_it', async () => {
            const good = await close(d);
            const longer = beginCell().storeSlice(good.beginParse()).storeBit(1).endCell();
            const shorter = beginCell().storeBits(good.bits.substring(0, 600)).endCell();
            const withRef = beginCell()
                .storeSlice(good.beginParse())
                .storeRef(Cell.EMPTY)
                .endCell();
            for (const bad of [longer, shorter, withRef])
                await refused(d, 9, () => sendBody(d, wire.coopClose(bad, KEY.secretKey), PAYEE));
        });

        test('the_same_close_twice_closes_once_also_after_a_new_opening', async () => {
            const body = wire.coopClose(
                await close(d, { validUntil: 2 ** 32 - 1 }),
                KEY.secretKey,
            );
            assert.equal((await sendBody(d, body, PAYEE)).exit, 0);
            await refused(d, 110, () => sendBody(d, body, PAYEE));
            assert.equal((await topUp(d, DEPOSIT)).exit, 0);
            await refused(d, 107, () => sendBody(d, body, PAYEE));
            await d.world.erase(d.address);
            d.world.advance(20 * 365 * 86_400);
            assert.equal((await topUp(d, DEPOSIT)).exit, 0);
            await refused(d, 107, () => sendBody(d, body, PAYEE));
        });

        test('on_an_eroded_channel_it_bounces_and_pays_nobody', async () => {
            await d.world.decree(d.address, COIN / 2n);
            const data = await d.world.dataOf(d.address);
            const result = await coopClose(d);
            assert.equal(result.actionOk, false);
            assert.ok(result.bounced, 'the value came back');
            assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
            await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            assert.equal((await coopClose(d)).exit, 0);
        });

        test('without_value_for_its_gas_it_changes_nothing', async () => {
            const data = await d.world.dataOf(d.address);
            const body = wire.coopClose(await close(d), KEY.secretKey);
            const letter = { from: PAYEE, to: d.address, value: 100_000n, body };
            assert.ok((await d.world.send(letter)).exit !== 0);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
        });
    });
}
