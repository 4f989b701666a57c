// PaymentChannel in a jetton under what others may do: false wallets and minters, jettons that come
// uncounted, transfers that bounce, an issuer that locks and takes.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { type Address, beginCell, Cell } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import * as tep from '../wrappers/jetton.ts';
import * as jettons from '../wrappers/jetton-channel.ts';
import { KEY, PAYEE, PAYER, STRANGER, WINDOW } from './channel-stage.ts';
import {
    claim,
    claimBody,
    DAY,
    DEPOSIT,
    type Deployed,
    deposit,
    discover,
    FREE,
    follow,
    givenBack,
    Jetton,
    MARGIN,
    MINTED,
    open,
    place,
    ready,
    refused,
    SENDS_NOTHING,
    sendBody,
    stored,
    TAKES_NOTHING,
    terms,
    transfersOf,
    UNIT,
    VALUE,
    voucher,
} from './jetton-stage.ts';
import { account, COIN, type Moment, type Outcome, World } from './world.ts';

const LARGEST = 2n ** 120n - 1n;

async function close(d: Deployed): Promise<Outcome> {
    assert.equal((await sendBody(d, wire.startClose(), PAYER)).exit, 0);
    d.world.advance(WINDOW);
    return sendBody(d, wire.finishClose(), PAYER);
}

async function coopClose(d: Deployed, cumulative: bigint): Promise<Outcome> {
    const agreed = wire.voucherCell(await voucher(d, { cumulative }), wire.CLOSE_TAG);
    return sendBody(d, wire.coopClose(agreed, KEY.secretKey), PAYEE);
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`a channel in a jetton among others, prices ${prices}`, () => {
        let d: Deployed;
        let snapshot: Moment;

        before(async () => {
            d = await open(await World.create(prices));
            snapshot = d.world.snapshot();
        });
        beforeEach(() => d.world.restore(snapshot));

        /** A message that no wallet's owner could send: the emulator lets anyone be its source. */
        async function says(from: Address, body: Cell, value = VALUE): Promise<Outcome> {
            return d.world.send({ from, to: d.address, value, body, bounce: false });
        }

        /** A transfer that comes back as a bounce, as if it had been under way. */
        function bounces(from: Address, queryId: bigint, op = tep.OP_TRANSFER): Promise<Outcome> {
            const body = beginCell()
                .storeUint(0xffffffff, 32)
                .storeUint(op, 32)
                .storeUint(queryId, 64)
                .storeCoins(UNIT)
                .endCell();
            const asBounce = { bounce: false, bounced: true };
            return d.world.send({ ...{ from, to: d.address, value: VALUE, body }, ...asBounce });
        }

        async function due(): Promise<[bigint, bigint]> {
            const { duePayee, duePayer } = await stored(d);
            return [duePayee, duePayer];
        }

        test('a_false_wallet_gets_its_own_value_back_and_nothing_is_counted', async () => {
            const balance = d.world.balance(d.address);
            const others = [STRANGER, PAYER, PAYEE, d.jetton.minter, d.jetton.walletOf(PAYER)];
            for (const from of others) {
                const notice = tep.jettonNotification(UNIT, PAYER);
                await givenBack(d, () => says(from, notice));
                assert.ok(d.world.balance(d.address) >= balance - 1_000_000n);
            }
            await givenBack(d, () => says(STRANGER, tep.jettonNotification(LARGEST, PAYER)));
        });

        test('a_notification_that_names_no_sender_counts_and_a_false_one_is_dropped', async () => {
            const body = tep.jettonNotification(UNIT, null);
            const data = await d.world.dataOf(d.address);
            assert.equal((await says(STRANGER, body)).exit, 9);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
            assert.equal((await says(d.wallet, body)).exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT + UNIT);
        });

        test('jettons_of_another_minter_are_sent_back', async () => {
            const other = new Jetton(d.world, account(6));
            await other.mint(PAYER, MINTED);
            const data = await d.world.dataOf(d.address);
            await other.transfer(d.address, 3n * UNIT);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
            assert.equal(await other.of(d.address), 0n);
            assert.equal(await other.of(PAYER), MINTED);
        });

        test('uncounted_jettons_of_another_minter_are_the_payers_in_the_end', async () => {
            const other = new Jetton(d.world, account(6));
            await other.mint(STRANGER, MINTED);
            const silent = { from: STRANGER, forwardValue: 0n };
            const steps = await other.transfer(d.address, UNIT, silent);
            assert.equal(steps.at(d.address).length, 0);
            await close(d);
            d.world.advance(DAY);
            const body = jettons.sweep(other.walletOf(d.address), UNIT);
            assert.equal((await follow(d, body, PAYER)).first.exit, 0);
            assert.equal(await other.of(PAYER), UNIT);
        });

        test('a_deposit_before_the_wallet_is_known_is_sent_back', async () => {
            const fresh = place(d.jetton, { window: 9 });
            const { world, address: to, init } = fresh;
            await world.send({ from: PAYER, to, value: COIN, init }); // deployed, nothing asked
            const before = await d.jetton.of(PAYER);
            await givenBack(fresh, () => deposit(fresh, UNIT));
            assert.equal(await d.jetton.of(PAYER), before);
        });

        test('takes_its_wallet_from_its_minter_only_and_once', async () => {
            const fresh = place(d.jetton, { window: 9 });
            const { world, address: to, init } = fresh;
            await world.send({ from: PAYER, to, value: COIN, init });
            const answer = tep.takeWallet(account(9));
            const tell = (from: Address, body = answer) =>
                world.send({ from, to, value: VALUE, body });
            await refused(fresh, 120, () => tell(STRANGER));
            await refused(fresh, 120, () => tell(d.jetton.walletOf(PAYER)));
            const far = tep.takeWallet(account(9, -1));
            await refused(fresh, 116, () => tell(d.jetton.minter, far));
            assert.equal((await stored(fresh)).wallet, null);
            await discover(fresh, STRANGER);
            assert.ok((await stored(fresh)).wallet?.equals(fresh.wallet));
            await refused(fresh, 121, () => tell(d.jetton.minter));
            await refused(fresh, 121, async () => (await discover(fresh)).first);
        });

        test('a_minter_that_does_not_answer_leaves_a_channel_that_takes_nothing', async () => {
            const silent = place(d.jetton, { minter: account(77) });
            await discover(silent);
            assert.equal((await stored(silent)).wallet, null);
            const back = await d.jetton.of(PAYER);
            await givenBack(silent, () => deposit(silent, UNIT));
            assert.equal(await d.jetton.of(PAYER), back);
        });

        test('a_notification_of_nothing_adds_nothing', async () => {
            assert.equal((await deposit(d, 0n)).exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT);
        });

        test('payloads_are_ignored', async () => {
            const big = beginCell().storeUint(1, 256).storeRef(Cell.EMPTY).endCell();
            await deposit(d, UNIT, { forwardPayload: big, customPayload: big });
            assert.equal((await stored(d)).deposited, DEPOSIT + UNIT);
            const inPlace = beginCell()
                .storeUint(tep.OP_NOTIFICATION, 32)
                .storeUint(5, 64)
                .storeCoins(UNIT)
                .storeAddress(PAYER)
                .storeBit(0)
                .storeUint(wire.OP_START_CLOSE, 32)
                .endCell();
            assert.equal((await says(d.wallet, inPlace)).exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT + 2n * UNIT);
            assert.equal((await stored(d)).closeAt, wire.OPEN);
        });

        test('a_deposit_with_too_little_value_is_uncounted_and_the_payers_in_the_end', async () => {
            for (const forwardValue of [1n, 100_000n]) {
                const { exit } = await deposit(d, UNIT, { forwardValue });
                assert.notEqual(exit, 0);
                assert.equal((await stored(d)).deposited, DEPOSIT);
            }
            assert.equal(await d.jetton.of(d.address), DEPOSIT + 2n * UNIT);
            await close(d);
            assert.equal(await d.jetton.of(d.address), 2n * UNIT);
            const body = jettons.sweep(d.wallet, 2n * UNIT);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            d.world.advance(DAY - 1);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            d.world.advance(1);
            await refused(d, 102, () => sendBody(d, body, PAYEE));
            const moment = d.world.snapshot();
            const steps = await follow(d, body, PAYER);
            assert.equal(steps.first.exit, 0);
            assert.equal(await d.jetton.of(PAYER), MINTED);
            const [back] = steps.at(PAYER);
            const excess = back?.transactions[0]!.inMessage?.info;
            assert.ok(excess?.type === 'internal' && excess.value.coins > VALUE / 2n);
            // More than there is bounces, and is owed to nobody.
            await d.world.restore(moment);
            await sendBody(d, jettons.sweep(d.wallet, 2n * UNIT + 1n), PAYER);
            assert.deepEqual(await due(), [0n, 0n]);
            assert.equal(await d.jetton.of(d.address), 2n * UNIT);
        });

        test('nothing_is_swept_while_the_channel_is_open_or_owes_something', async () => {
            const body = jettons.sweep(d.wallet, 1n);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            await sendBody(d, wire.startClose(), PAYER);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            d.world.advance(WINDOW);
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await sendBody(d, wire.finishClose(), PAYER);
            d.world.advance(DAY);
            assert.deepEqual(await due(), [0n, DEPOSIT]);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            await d.world.restore(snapshot);
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await claim(d);
            await close(d);
            await d.jetton.lock(d.address, FREE);
            await sendBody(d, jettons.resend('payer'), PAYER);
            d.world.advance(DAY);
            assert.deepEqual(await due(), [UNIT, 0n]);
            await refused(d, 123, () => sendBody(d, body, PAYER));
        });

        test('what_is_swept_cannot_be_counted_as_a_deposit', async () => {
            await close(d);
            d.world.advance(DAY);
            // The payer's own deposit is under way; a sweep of it reaches the channel first.
            await sendBody(d, jettons.sweep(d.wallet, UNIT), PAYER);
            assert.equal((await stored(d)).openAfter, d.world.now + DAY);
            await givenBack(d, () => deposit(d, UNIT));
            d.world.advance(DAY - 1);
            await givenBack(d, () => deposit(d, UNIT));
            d.world.advance(1);
            await deposit(d, UNIT);
            assert.equal((await stored(d)).closeAt, wire.OPEN);
            assert.equal(await d.jetton.of(d.address), UNIT);
            // Nor before the first opening.
            const fresh = await ready(d.jetton, { window: 11 });
            await sendBody(fresh, jettons.sweep(fresh.wallet, UNIT), PAYER);
            await givenBack(fresh, () => deposit(fresh, UNIT));
        });

        test('what_is_sent_again_may_bounce_again_and_is_not_swept_meanwhile', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await claim(d);
            await d.jetton.lock(d.address, FREE);
            await close(d);
            d.world.advance(DAY);
            await sendBody(d, jettons.resend('payee'), STRANGER);
            assert.deepEqual(await due(), [0n, 0n]);
            await d.jetton.transfer(d.address, UNIT, { forwardValue: 0n });
            const body = jettons.sweep(d.wallet, UNIT);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            d.world.advance(DAY - 1);
            await refused(d, 123, () => sendBody(d, body, PAYER));
            d.world.advance(1);
            assert.equal((await sendBody(d, body, PAYER)).exit, 0);
        });

        test('a_deposit_while_the_channel_closes_is_sent_back', async () => {
            await sendBody(d, wire.startClose(), PAYER);
            const before = await d.jetton.of(STRANGER);
            await givenBack(d, () => deposit(d, UNIT, { from: STRANGER }));
            d.world.advance(WINDOW);
            await givenBack(d, () => deposit(d, UNIT, { from: STRANGER }));
            assert.equal(await d.jetton.of(STRANGER), before);
        });

        test('a_deposit_after_the_close_opens_anew', async () => {
            await close(d);
            await deposit(d, 2n * UNIT, { from: STRANGER });
            const state = await stored(d);
            assert.equal(state.closeAt, wire.OPEN);
            assert.equal(state.deposited, 2n * UNIT);
            assert.equal(await d.jetton.of(d.address), 2n * UNIT);
        });

        test('a_deposit_on_an_eroded_reserve_is_not_taken_until_that_is_mended', async () => {
            await d.world.decree(d.address, 0n);
            const small = { forwardValue: COIN / 500n };
            const before = await d.jetton.of(PAYER);
            // Too little to send the jettons back as well: they stay, uncounted.
            await deposit(d, UNIT, small);
            assert.equal((await stored(d)).deposited, DEPOSIT);
            assert.equal(await d.jetton.of(PAYER), before - UNIT);
            await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            await deposit(d, UNIT, small);
            assert.equal((await stored(d)).deposited, DEPOSIT + UNIT);
        });

        test('a_payout_that_bounces_is_due_and_paid_once', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            const claimed = await claim(d, { cumulative: 2n * UNIT });
            assert.equal(claimed.exit, 0);
            assert.deepEqual(await due(), [2n * UNIT, 0n]);
            assert.equal((await stored(d)).claimed, 2n * UNIT);
            assert.equal(await d.jetton.of(d.address), DEPOSIT);
            await refused(d, 104, () => claim(d, { cumulative: 2n * UNIT }));
            // Still locked: due again. The excess of a resend is its sender's.
            await sendBody(d, jettons.resend('payee'), STRANGER);
            assert.deepEqual(await due(), [2n * UNIT, 0n]);
            await refused(d, 122, () => sendBody(d, jettons.resend('payer'), STRANGER));
            await d.jetton.lock(d.address, FREE);
            const steps = await follow(d, jettons.resend('payee'), STRANGER);
            assert.deepEqual(await due(), [0n, 0n]);
            assert.equal(await d.jetton.of(PAYEE), 2n * UNIT);
            assert.equal(steps.at(STRANGER).length, 1);
            await refused(d, 122, () => sendBody(d, jettons.resend('payee'), STRANGER));
            assert.equal(await d.jetton.of(d.address), DEPOSIT - 2n * UNIT);
        });

        test('the_next_claim_brings_what_was_due', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await claim(d);
            await d.jetton.lock(d.address, FREE);
            const moment = d.world.snapshot();
            await claim(d, { cumulative: 3n * UNIT });
            assert.equal(await d.jetton.of(PAYEE), 3n * UNIT);
            assert.deepEqual(await due(), [0n, 0n]);
            // Also one that adds nothing of its own.
            await d.world.restore(moment);
            await claim(d, { receiptsRoot: 43n });
            assert.equal(await d.jetton.of(PAYEE), UNIT);
            assert.deepEqual(await due(), [0n, 0n]);
        });

        test('payouts_that_bounce_add_up_also_when_they_are_under_way_together', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await claim(d);
            await claim(d, { cumulative: 4n * UNIT });
            assert.deepEqual(await due(), [4n * UNIT, 0n]);
            for (const purpose of [jettons.PAYOUT, jettons.REFUND, jettons.REFUND])
                assert.equal((await bounces(d.wallet, purpose)).exit, 0);
            assert.deepEqual(await due(), [5n * UNIT, 2n * UNIT]);
        });

        test('what_is_due_to_both_in_equal_parts_is_still_due', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await coopClose(d, DEPOSIT / 2n);
            assert.deepEqual(await due(), [DEPOSIT / 2n, DEPOSIT / 2n]);
            d.world.advance(DAY);
            await refused(d, 123, () => sendBody(d, jettons.sweep(d.wallet, 1n), PAYER));
        });

        test('a_refund_that_bounces_is_due_and_the_reserve_comes_back_with_it', async () => {
            await claim(d);
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await close(d);
            assert.deepEqual(await due(), [0n, DEPOSIT - UNIT]);
            assert.ok(d.world.balance(d.address) > MARGIN / 2n);
            await d.jetton.lock(d.address, FREE);
            const little = () => sendBody(d, jettons.resend('payer'), PAYER, 5_000_000n);
            await refused(d, 119, little);
            await sendBody(d, jettons.resend('payer'), STRANGER);
            assert.deepEqual(await due(), [0n, 0n]);
            assert.equal(await d.jetton.of(PAYER), MINTED - UNIT);
        });

        test('what_is_due_outlives_a_close_and_a_new_opening', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await claim(d);
            await close(d);
            assert.deepEqual(await due(), [UNIT, DEPOSIT - UNIT]);
            await d.jetton.lock(d.address, FREE);
            await deposit(d, 7n * UNIT);
            assert.deepEqual(await due(), [UNIT, DEPOSIT - UNIT]);
            await close(d);
            assert.equal(await d.jetton.of(PAYER), MINTED - UNIT);
            assert.deepEqual(await due(), [UNIT, 0n]);
            await sendBody(d, jettons.resend('payee'), PAYEE);
            assert.equal(await d.jetton.of(PAYEE), UNIT);
            assert.equal(await d.jetton.of(d.address), 0n);
        });

        test('a_close_by_both_that_bounces_leaves_both_due_and_the_next_pays_both', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            assert.equal((await coopClose(d, 2n * UNIT)).exit, 0);
            assert.deepEqual(await due(), [2n * UNIT, 3n * UNIT]);
            await d.jetton.lock(d.address, FREE);
            await deposit(d, UNIT);
            assert.equal((await coopClose(d, UNIT)).exit, 0);
            assert.deepEqual(await due(), [0n, 0n]);
            assert.equal(await d.jetton.of(PAYEE), 3n * UNIT);
            assert.equal(await d.jetton.of(PAYER), MINTED - 3n * UNIT);
        });

        test('only_its_own_wallets_bounces_count', async () => {
            const data = await d.world.dataOf(d.address);
            for (const from of [STRANGER, PAYEE, d.jetton.minter, d.jetton.walletOf(PAYEE)])
                assert.equal((await bounces(from, jettons.PAYOUT)).exit, 0);
            assert.equal((await bounces(d.wallet, jettons.SURPLUS)).exit, 0);
            assert.equal((await bounces(d.wallet, 3n)).exit, 0);
            assert.notEqual((await bounces(d.wallet, 1n, tep.OP_EXCESSES)).exit, 0);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
        });

        test('no_bounce_counts_before_the_wallet_is_known', async () => {
            await d.world.erase(d.address);
            const init = jettons.jettonChannelInit(terms(d.jetton));
            await d.world.send({ from: PAYER, to: d.address, value: COIN, init });
            assert.equal((await bounces(d.wallet, jettons.REFUND)).exit, 0);
            assert.deepEqual(await due(), [0n, 0n]);
        });

        test('excesses_that_name_the_channel_join_its_reserve', async () => {
            const before = d.world.balance(d.address);
            const excess = beginCell().storeUint(tep.OP_EXCESSES, 32).storeUint(0, 64).endCell();
            const data = await d.world.dataOf(d.address);
            await says(d.wallet, excess);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
            assert.ok(d.world.balance(d.address) > before + VALUE / 2n);
        });

        test('jettons_that_the_issuer_took_are_due_until_they_come_again', async () => {
            await d.jetton.seize(d.address, 4n * UNIT);
            await claim(d, { cumulative: 2n * UNIT });
            assert.deepEqual(await due(), [2n * UNIT, 0n]);
            await claim(d, { cumulative: 3n * UNIT });
            assert.deepEqual(await due(), [3n * UNIT, 0n]);
            // Anyone may bring jettons; without a notification they are no new deposit.
            await d.jetton.transfer(d.address, 2n * UNIT, { from: STRANGER, forwardValue: 0n });
            await sendBody(d, jettons.resend('payee'), PAYEE);
            assert.deepEqual(await due(), [0n, 0n]);
            assert.equal(await d.jetton.of(PAYEE), 3n * UNIT);
        });

        test('a_payout_that_the_payees_own_wallet_refuses_is_not_seen', async () => {
            await d.jetton.lock(PAYEE, TAKES_NOTHING);
            await claim(d);
            // The channel is not told of it: this is what trust in an issuer means.
            assert.deepEqual(await due(), [0n, 0n]);
            assert.equal(await d.jetton.of(d.address), DEPOSIT);
            assert.equal((await stored(d)).claimed, UNIT);
        });

        test('a_channel_redeployed_after_deletion_does_not_know_its_wallet', async () => {
            const init = jettons.jettonChannelInit(terms(d.jetton));
            await d.world.erase(d.address);
            d.world.advance(DAY);
            await d.world.send({ from: PAYER, to: d.address, value: COIN, init });
            const before = await d.jetton.of(PAYER);
            await givenBack(d, () => deposit(d, UNIT));
            assert.equal(await d.jetton.of(PAYER), before);
            const old = await claimBody(d, { epoch: d.world.now - DAY });
            await refused(d, 110, () => sendBody(d, old, PAYEE));
            assert.equal(transfersOf((await discover(d)).first).length, 0);
        });
    });
}
