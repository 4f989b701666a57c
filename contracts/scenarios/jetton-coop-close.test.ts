// PaymentChannel in a jetton closed by both sides: one transaction pays both, none counts twice.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Address, beginCell, Cell } from '@ton/core';
import { sign } from '@ton/crypto';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import * as jettons from '../wrappers/jetton-channel.ts';
import { KEY, OTHER_KEY, PAYEE, PAYER, STRANGER, storageFee, WINDOW } from './channel-stage.ts';
import {
    claim,
    DAY,
    DEPOSIT,
    type Deployed,
    deposit,
    discover,
    follow,
    internalOf,
    MINTED,
    open,
    refused,
    sendBody,
    stored,
    transfersOf,
    UNIT,
    VALUE,
    voucher,
} from './jetton-stage.ts';
import { account, COIN, type Moment, type Outcome, START, World } from './world.ts';

type Changes = Partial<wire.Voucher>;

async function close(d: Deployed, changes: Changes = {}): Promise<Cell> {
    return wire.voucherCell(await voucher(d, changes), wire.CLOSE_TAG);
}

async function coopClose(d: Deployed, changes: Changes = {}, from = PAYEE): Promise<Outcome> {
    return sendBody(d, wire.coopClose(await close(d, changes), KEY.secretKey), from);
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`close by both sides in a jetton, prices ${prices}`, () => {
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
            const held = d.world.balance(d.address);
            const body = wire.coopClose(
                await close(d, { cumulative: 3n * UNIT, receiptsRoot: 77n }),
                KEY.secretKey,
            );
            const steps = await follow(d, body, PAYEE);
            const result = steps.first;
            assert.equal(result.exit, 0);
            assert.ok(result.actionOk);
            const [payout, refund, ...more] = transfersOf(result);
            assert.ok(payout && refund && more.length === 0);
            assert.deepEqual(
                [payout.transfer.queryId, refund.transfer.queryId],
                [jettons.PAYOUT, jettons.REFUND],
            );
            assert.equal(await d.jetton.of(PAYEE), 3n * UNIT);
            assert.equal(await d.jetton.of(PAYER), MINTED - 3n * UNIT);
            assert.equal(await d.jetton.of(d.address), 0n);
            // The payee's message carries its payout, the reserve the payer's.
            const [first, second] = internalOf(result).map(({ info }) => info);
            assert.ok(first?.type === 'internal' && second?.type === 'internal');
            assert.ok(first.value.coins <= VALUE && first.value.coins > VALUE / 2n);
            assert.ok(first.bounce && second.bounce);
            const reserve = held - storageFee(result);
            assert.ok(second.value.coins < reserve && second.value.coins > reserve - 2_000_000n);
            assert.equal(d.world.balance(d.address), 0n);
            const state = await stored(d);
            assert.equal(state.closeAt, wire.CLOSED);
            assert.equal(state.claimed, 3n * UNIT);
            assert.equal(state.lastRoot, 77n);
            assert.equal(state.epoch, START);
            assert.equal(state.sweepAfter, d.world.now + DAY);
        });

        test('may_pay_the_payee_nothing_more_and_returns_its_value', async () => {
            await claim(d);
            const result = await coopClose(d);
            assert.equal(result.exit, 0);
            assert.equal((await stored(d)).claimed, UNIT);
            const [rest] = internalOf(result);
            assert.ok(rest?.info.type === 'internal' && rest.info.dest.equals(PAYEE));
            assert.equal(transfersOf(result).length, 1);
            assert.ok(rest.info.value.coins > VALUE / 2n);
        });

        test('may_pay_the_payee_everything_or_nothing_at_all', async () => {
            const all = await coopClose(d, { cumulative: DEPOSIT });
            assert.equal(all.exit, 0);
            const last = internalOf(all).at(-1)!.info;
            assert.ok(last.type === 'internal' && last.dest.equals(PAYER));
            assert.equal(await d.jetton.of(PAYEE), DEPOSIT);
            await deposit(d, DEPOSIT);
            assert.equal((await coopClose(d, { cumulative: 0n })).exit, 0);
            assert.equal(await d.jetton.of(PAYER), MINTED - DEPOSIT);
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
            await refused(d, 104, () => coopClose(d, { cumulative: UNIT - 1n }));
            await refused(d, 109, () => coopClose(d, { cumulative: DEPOSIT + 1n }));
            await refused(d, 109, () => coopClose(d, { cumulative: 2n ** 120n - 1n }));
        });

        test('refuses_a_close_with_more_or_less_in_it', async () => {
            const good = await close(d);
            const longer = beginCell().storeSlice(good.beginParse()).storeBit(1).endCell();
            const shorter = beginCell().storeBits(good.bits.substring(0, 600)).endCell();
            for (const bad of [longer, shorter])
                await refused(d, 9, () => sendBody(d, wire.coopClose(bad, KEY.secretKey), PAYEE));
        });

        test('the_same_close_twice_closes_once_also_after_a_new_opening', async () => {
            const body = wire.coopClose(
                await close(d, { validUntil: 2 ** 32 - 1 }),
                KEY.secretKey,
            );
            assert.equal((await sendBody(d, body, PAYEE)).exit, 0);
            await refused(d, 110, () => sendBody(d, body, PAYEE));
            assert.equal((await deposit(d, DEPOSIT)).exit, 0);
            await refused(d, 107, () => sendBody(d, body, PAYEE));
            await d.world.erase(d.address);
            d.world.advance(365 * DAY);
            await discover(d);
            assert.equal((await deposit(d, DEPOSIT)).exit, 0);
            await refused(d, 107, () => sendBody(d, body, PAYEE));
        });

        test('of_a_channel_claimed_whole_and_out_of_coins_it_waits_for_coins', async () => {
            await claim(d, { cumulative: DEPOSIT });
            await d.world.decree(d.address, 0n);
            const data = await d.world.dataOf(d.address);
            const result = await coopClose(d, { cumulative: DEPOSIT });
            assert.deepEqual([result.exit, result.actionOk], [0, false]);
            assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
            // The network had given the value to the payout: it stays, and the next close has it.
            assert.ok(d.world.balance(d.address) > VALUE / 2n);
            assert.equal((await coopClose(d, { cumulative: DEPOSIT })).exit, 0);
            assert.equal((await stored(d)).closeAt, wire.CLOSED);
        });

        test('waits_for_a_reserve_that_can_carry_the_refund', async () => {
            await d.world.decree(d.address, 1_000_000n);
            await refused(d, 119, () => coopClose(d));
            // What the reserve lacks, the payee's own message does not make up for.
            await d.world.send({ from: STRANGER, to: d.address, value: COIN / 10n });
            assert.equal((await coopClose(d)).exit, 0);
            assert.equal(await d.jetton.of(PAYER), MINTED - UNIT);
        });

        test('without_value_for_its_gas_it_changes_nothing', async () => {
            const body = wire.coopClose(await close(d), KEY.secretKey);
            await refused(d, 119, () => sendBody(d, body, PAYEE, 6_000_000n));
            const data = await d.world.dataOf(d.address);
            assert.ok((await sendBody(d, body, PAYEE, 100_000n)).exit !== 0);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
        });
    });
}
