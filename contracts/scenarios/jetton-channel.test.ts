// PaymentChannel in a jetton: what it pays, what it refuses and with which exit code.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Address, beginCell, Cell } from '@ton/core';
import { sign } from '@ton/crypto';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import { addressOf } from '../wrappers/code.ts';
import * as jettons from '../wrappers/jetton-channel.ts';
import { OTHER_KEY, KEY, PAYEE, PAYER, STRANGER, storageFee, WINDOW } from './channel-stage.ts';
import * as native from './channel-stage.ts';
import {
    ACCOUNT_BITS,
    ACCOUNT_CELLS,
    claim,
    claimBody,
    DAY,
    DEPOSIT,
    DEPOSIT_GAS,
    type Deployed,
    deposit,
    discover,
    FREE,
    follow,
    givenBack,
    MINTED,
    open,
    place,
    ready,
    refused,
    SENDS_NOTHING,
    sendBody,
    stored,
    TRANSFER_GAS,
    terms,
    transfersOf,
    UNIT,
    VALUE,
    voucher,
} from './jetton-stage.ts';
import { account, COIN, type Moment, START, World } from './world.ts';

/** Price of gas and of rent: each set's own, for amounts to the nano unit. */
const GAS: Record<Prices, [bigint, bigint]> = {
    'before-2026': [40_000n, 26_214_400n],
    'since-2026': [6_666n, 4_369_066n],
};
const CELL: Record<Prices, bigint> = { 'before-2026': 500n, 'since-2026': 83n };
const up = (x: bigint) => (x + 65_535n) >> 16n;

function gasFee(prices: Prices, gas: bigint): bigint {
    const [flat, price] = GAS[prices];
    return flat + up((gas - 100n) * price);
}

function reserve(prices: Prices): bigint {
    const rent = up((ACCOUNT_BITS + ACCOUNT_CELLS * CELL[prices]) * 5n * 365n * 86_400n);
    return rent + gasFee(prices, TRANSFER_GAS) + gasFee(prices, DEPOSIT_GAS);
}

async function finish(d: Deployed): Promise<void> {
    assert.equal((await sendBody(d, wire.startClose(), PAYER)).exit, 0);
    d.world.advance(WINDOW);
    assert.equal((await sendBody(d, wire.finishClose(), STRANGER)).exit, 0);
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`payment channel in a jetton, prices ${prices}`, () => {
        let d: Deployed;
        let snapshot: Moment;

        before(async () => {
            d = await open(await World.create(prices));
            snapshot = d.world.snapshot();
        });
        beforeEach(() => d.world.restore(snapshot));

        test('opens_with_the_deposit_and_the_time_as_its_epoch', async () => {
            const state = await stored(d);
            assert.equal(state.closeAt, wire.OPEN);
            assert.equal(state.deposited, DEPOSIT);
            assert.equal(state.claimed, 0n);
            assert.equal(state.epoch, START);
            assert.equal(await d.jetton.of(d.address), DEPOSIT);
            const channel = (await d.world.chain.runGetMethod(d.address, 'channel')).stackReader;
            assert.equal(channel.readNumber(), START);
            assert.equal(channel.readBigNumber(), DEPOSIT);
            assert.equal(channel.remaining, 7);
            const jetton = (await d.world.chain.runGetMethod(d.address, 'jetton')).stackReader;
            assert.ok(jetton.readAddress().equals(d.jetton.minter));
            assert.ok(jetton.readAddress().equals(d.wallet));
            assert.equal(jetton.readBigNumber() + jetton.readBigNumber(), 0n);
            assert.equal(jetton.readNumber() + jetton.readNumber(), 0);
        });

        test('anyone_may_add_to_the_deposit', async () => {
            assert.equal((await deposit(d, UNIT, { from: STRANGER })).exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT + UNIT);
            assert.equal((await stored(d)).epoch, START);
            assert.equal(await d.jetton.of(d.address), DEPOSIT + UNIT);
        });

        test('a_plain_transfer_of_coins_adds_no_deposit', async () => {
            const result = await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            assert.equal(result.exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT);
        });

        test('a_claim_pays_exactly_the_increment_and_the_payee_pays_the_fees', async () => {
            d.world.advance(60);
            const before = d.world.balance(d.address);
            const steps = await follow(d, await claimBody(d, { cumulative: UNIT + 7n }), PAYEE);
            const result = steps.first;
            assert.equal(result.exit, 0);
            assert.equal(await d.jetton.of(PAYEE), UNIT + 7n);
            assert.equal(await d.jetton.of(d.address), DEPOSIT - UNIT - 7n);
            assert.equal(d.world.balance(d.address), before - storageFee(result));
            const [payout, ...more] = transfersOf(result);
            assert.ok(payout && more.length === 0 && payout.to.equals(d.wallet));
            assert.equal(payout.transfer.queryId, jettons.PAYOUT);
            assert.ok(payout.transfer.leftover?.equals(PAYEE));
            // What is left of the payee's value comes back to it.
            const [back] = steps.at(PAYEE);
            const excess = back?.transactions[0]!.inMessage?.info;
            assert.ok(excess?.type === 'internal' && excess.value.coins > VALUE / 2n);
            const state = await stored(d);
            assert.equal(state.claimed, UNIT + 7n);
            assert.equal(state.lastRoot, 42n);
        });

        test('the_second_claim_pays_only_what_came_on_top', async () => {
            await claim(d);
            await claim(d, { cumulative: 3n * UNIT });
            assert.equal(await d.jetton.of(PAYEE), 3n * UNIT);
        });

        test('the_whole_deposit_can_be_claimed', async () => {
            assert.equal((await claim(d, { cumulative: DEPOSIT })).exit, 0);
            assert.equal(await d.jetton.of(PAYEE), DEPOSIT);
            assert.equal(await d.jetton.of(d.address), 0n);
        });

        test('a_voucher_counts_in_its_last_second', async () => {
            assert.equal((await claim(d, { validUntil: d.world.now })).exit, 0);
        });

        test('a_voucher_without_increment_anchors_a_new_root_and_pays_nothing', async () => {
            await claim(d);
            const before = d.world.balance(d.address);
            const result = await claim(d, { receiptsRoot: 43n });
            assert.equal(result.exit, 0);
            assert.equal(transfersOf(result).length, 0);
            assert.equal(await d.jetton.of(PAYEE), UNIT);
            assert.equal(d.world.balance(d.address), before);
            assert.ok(result.paid > VALUE / 2n, 'the value of the message comes back');
            assert.equal((await stored(d)).lastRoot, 43n);
        });

        test('refuses_the_same_voucher_twice_and_a_lower_total', async () => {
            await claim(d);
            await refused(d, 104, () => claim(d));
            await refused(d, 104, () => claim(d, { cumulative: UNIT - 1n, receiptsRoot: 43n }));
        });

        test('refuses_a_claim_by_anyone_but_the_payee', async () => {
            await refused(d, 101, () => claim(d, {}, STRANGER));
            await refused(d, 101, () => claim(d, {}, PAYER));
        });

        test('refuses_a_signature_by_another_key_or_over_other_bytes', async () => {
            const cell = wire.voucherCell(await voucher(d));
            await refused(d, 103, () => sendBody(d, wire.claim(cell, OTHER_KEY.secretKey), PAYEE));
            const signature = sign(cell.hash(), KEY.secretKey);
            signature[40]! ^= 1;
            await refused(d, 103, () => sendBody(d, wire.signedClaim(cell, signature), PAYEE));
        });

        test('refuses_another_network_channel_epoch_or_an_expired_voucher', async () => {
            await refused(d, 105, () => claim(d, { network: -239 }));
            await refused(d, 106, () => claim(d, { channel: account(9) }));
            const sameHashElsewhere = new Address(-1, d.address.hash);
            await refused(d, 106, () => claim(d, { channel: sameHashElsewhere }));
            await refused(d, 107, () => claim(d, { epoch: START - 1 }));
            await refused(d, 108, () => claim(d, { validUntil: d.world.now - 1 }));
        });

        test('no_voucher_of_a_channel_in_the_networks_coin_counts_here_nor_back', async () => {
            const other = await native.open(d.world);
            const [here, there] = [await voucher(d), await native.voucher(other)];
            assert.equal(here.epoch, there.epoch);
            const foreign = wire.claim(wire.voucherCell(there), KEY.secretKey);
            await refused(d, 106, () => sendBody(d, foreign, PAYEE));
            const back = wire.claim(wire.voucherCell(here), KEY.secretKey);
            await native.refused(other, 106, () => native.sendBody(other, back, PAYEE));
        });

        test('refuses_more_than_the_deposit', async () => {
            await refused(d, 109, () => claim(d, { cumulative: DEPOSIT + 1n }));
            await refused(d, 109, () => claim(d, { cumulative: 2n ** 120n - 1n }));
        });

        test('refuses_another_tag_and_a_voucher_with_more_in_it', async () => {
            const tagged = wire.voucherCell(await voucher(d), 0x56434832);
            await refused(d, 117, () => sendBody(d, wire.claim(tagged, KEY.secretKey), PAYEE));
            const good = wire.voucherCell(await voucher(d));
            const longer = beginCell().storeSlice(good.beginParse()).storeBit(0).endCell();
            await refused(d, 9, () => sendBody(d, wire.claim(longer, KEY.secretKey), PAYEE));
        });

        test('refuses_unknown_and_cut_messages', async () => {
            for (const body of [
                beginCell().storeUint(0x43480009, 32).endCell(),
                beginCell().storeUint(1, 7).endCell(),
                // The deposit of a channel in the network's own coin is none here.
                wire.topUp(UNIT),
            ])
                await refused(d, 0xffff, () => sendBody(d, body, PAYER));
            const cut = beginCell().storeUint(jettons.OP_RESEND, 32).endCell();
            await refused(d, 9, () => sendBody(d, cut, PAYER));
        });

        test('only_the_payer_starts_the_close_and_only_once', async () => {
            await refused(d, 102, () => sendBody(d, wire.startClose(), PAYEE));
            await refused(d, 102, () => sendBody(d, wire.startClose(), STRANGER));
            assert.equal((await sendBody(d, wire.startClose(), PAYER)).exit, 0);
            assert.equal((await stored(d)).closeAt, d.world.now + WINDOW);
            await refused(d, 111, () => sendBody(d, wire.startClose(), PAYER));
        });

        test('the_payee_claims_during_the_window_and_never_after_it', async () => {
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW - 1);
            assert.equal((await claim(d)).exit, 0);
            d.world.advance(1);
            await refused(d, 112, () => claim(d, { cumulative: 2n * UNIT }));
        });

        test('the_close_waits_for_the_window_and_then_anyone_finishes_it', async () => {
            await refused(d, 114, () => sendBody(d, wire.finishClose(), PAYER));
            await claim(d);
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW - 1);
            await refused(d, 113, () => sendBody(d, wire.finishClose(), PAYER));
            d.world.advance(1);
            const held = d.world.balance(d.address);
            const steps = await follow(d, wire.finishClose(), STRANGER);
            assert.equal(steps.first.exit, 0);
            assert.equal(await d.jetton.of(d.address), 0n);
            assert.equal(await d.jetton.of(PAYER), MINTED - UNIT);
            // The reserve went with the refund, and what it left came to the payer.
            assert.equal(d.world.balance(d.address), 0n);
            const [back] = steps.at(PAYER);
            const excess = back?.transactions[0]!.inMessage?.info;
            assert.ok(excess?.type === 'internal' && excess.value.coins > held);
            const state = await stored(d);
            assert.equal(state.closeAt, wire.CLOSED);
            assert.equal(state.claimed, UNIT);
            assert.equal(state.sweepAfter, d.world.now + DAY);
            await refused(d, 110, () => claim(d, { cumulative: 2n * UNIT }));
            await refused(d, 110, () => sendBody(d, wire.startClose(), PAYER));
            await refused(d, 114, () => sendBody(d, wire.finishClose(), PAYER));
        });

        test('a_close_of_a_channel_that_was_claimed_whole_returns_the_reserve', async () => {
            await claim(d, { cumulative: DEPOSIT });
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW);
            const held = d.world.balance(d.address);
            const result = await sendBody(d, wire.finishClose(), STRANGER);
            assert.equal(result.exit, 0);
            assert.equal(transfersOf(result).length, 0);
            assert.ok(result.paid > held);
            assert.equal(d.world.balance(d.address), 0n);
        });

        test('a_channel_opened_again_takes_no_voucher_of_the_time_before', async () => {
            const old = await claimBody(d, { validUntil: 2 ** 32 - 1 });
            assert.equal((await claim(d)).exit, 0);
            await finish(d);
            assert.equal((await deposit(d, DEPOSIT)).exit, 0);
            const state = await stored(d);
            assert.equal(state.epoch, START + WINDOW);
            assert.equal(state.deposited, DEPOSIT);
            assert.equal(state.claimed, 0n);
            assert.equal(state.lastRoot, 0n);
            await refused(d, 107, () => sendBody(d, old, PAYEE));
        });

        test('an_epoch_never_repeats_even_within_one_second', async () => {
            const quick = await ready(d.jetton, { window: 0 });
            await deposit(quick, UNIT);
            await sendBody(quick, wire.startClose(), PAYER);
            await sendBody(quick, wire.finishClose(), PAYER);
            await deposit(quick, UNIT);
            assert.equal((await stored(quick)).epoch, START + 1);
        });

        test('a_channel_deployed_anew_after_deletion_takes_no_old_voucher', async () => {
            const old = await claimBody(d, { validUntil: 2 ** 32 - 1 });
            await d.world.erase(d.address);
            d.world.advance(365 * DAY);
            await discover(d);
            assert.equal((await deposit(d, DEPOSIT)).exit, 0);
            await refused(d, 107, () => sendBody(d, old, PAYEE));
        });

        test('terms_that_could_hurt_get_no_wallet', async () => {
            const bad: Partial<jettons.JettonTerms>[] = [
                { payer: account(1, -1) },
                { payee: account(2, -1) },
                { minter: account(5, -1) },
                { window: 90 * DAY + 1 },
            ];
            for (const changes of bad) {
                const { first } = await discover(place(d.jetton, changes));
                assert.equal(first.exit, 116);
                assert.ok(first.bounced);
            }
            const init = jettons.jettonChannelInit(terms(d.jetton));
            const to = addressOf(init, -1);
            const letter = { from: PAYER, to, value: 10n * COIN, init };
            assert.equal((await d.world.send({ ...letter, body: jettons.discover() })).exit, 116);
            const longest = await ready(d.jetton, { window: 90 * DAY });
            assert.equal((await deposit(longest, UNIT)).exit, 0);
            assert.equal((await stored(longest)).closeAt, wire.OPEN);
        });

        test('opens_with_exactly_the_reserve_and_not_a_nano_less', async () => {
            const fresh = await ready(d.jetton, { window: 3 });
            await d.world.decree(fresh.address, 0n);
            const moment = d.world.snapshot();
            const need = reserve(prices);
            await givenBack(fresh, () => deposit(fresh, UNIT, { forwardValue: need - 1n }));
            await d.world.restore(moment);
            await deposit(fresh, UNIT, { forwardValue: need });
            assert.equal((await stored(fresh)).deposited, UNIT);
        });

        test('pays_out_with_exactly_the_gas_it_asks_for_and_not_a_nano_less', async () => {
            const need = gasFee(prices, TRANSFER_GAS);
            const body = await claimBody(d);
            await refused(d, 119, () => sendBody(d, body, PAYEE, need - 1n));
            assert.equal((await sendBody(d, body, PAYEE, need)).exit, 0);
            assert.equal(await d.jetton.of(PAYEE), UNIT);
        });

        test('sends_again_with_exactly_the_gas_it_asks_for', async () => {
            await d.jetton.lock(d.address, SENDS_NOTHING);
            await claim(d);
            await d.jetton.lock(d.address, FREE);
            const need = gasFee(prices, TRANSFER_GAS);
            const again = (value: bigint) => sendBody(d, jettons.resend('payee'), PAYEE, value);
            await refused(d, 119, () => again(need - 1n));
            assert.equal((await again(need)).exit, 0);
            assert.equal(await d.jetton.of(PAYEE), UNIT);
        });

        test('takes_no_claim_before_it_was_opened', async () => {
            const fresh = await ready(d.jetton, { window: 1 });
            const body = await claimBody(fresh, { cumulative: 0n });
            await refused(fresh, 110, () => sendBody(fresh, body, PAYEE));
        });

        test('after_five_years_all_is_still_there_and_can_be_paid_out', async () => {
            d.world.advance(5 * 365 * DAY);
            const moment = d.world.snapshot();
            assert.equal((await claim(d, { cumulative: DEPOSIT })).exit, 0);
            assert.equal(await d.jetton.of(PAYEE), DEPOSIT);
            assert.ok(d.world.balance(d.address) > 0n);
            await d.world.restore(moment);
            await finish(d);
            assert.equal(await d.jetton.of(PAYER), MINTED);
        });

        test('a_channel_in_debt_for_rent_still_pays_from_the_claims_own_value', async () => {
            await d.world.decree(d.address, 0n);
            d.world.advance(2 * 365 * DAY);
            assert.equal((await claim(d)).exit, 0);
            assert.equal(await d.jetton.of(PAYEE), UNIT);
        });

        test('a_message_that_pays_too_little_for_its_gas_changes_nothing', async () => {
            const data = await d.world.dataOf(d.address);
            const result = await sendBody(d, await claimBody(d), PAYEE, 300_000n);
            assert.ok(result.exit !== 0);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
        });

        test('the_account_fits_the_size_it_reserves_rent_for', async () => {
            await d.jetton.mint(PAYER, 2n ** 119n);
            await deposit(d, 2n ** 119n);
            await claim(d, { cumulative: 2n ** 118n });
            await sendBody(d, wire.startClose(), PAYER);
            const { account: shard } = await d.world.chain.getContract(d.address);
            const used = shard.account?.storageStats.used;
            assert.ok(used);
            // Two amounts that are due may come on top.
            assert.ok(used.bits + 2n * 120n <= ACCOUNT_BITS, `${used.bits} bits`);
            assert.ok(used.cells <= ACCOUNT_CELLS, `${used.cells} cells`);
        });

        test('a_deposit_stays_within_the_gas_it_asks_for', async () => {
            const fresh = await ready(d.jetton, { window: 2 });
            const result = await deposit(fresh, UNIT);
            assert.ok(result.gas <= DEPOSIT_GAS, `opening used ${result.gas} gas`);
        });

        test('refuses_a_voucher_with_a_reference', async () => {
            const good = wire.voucherCell(await voucher(d));
            const more = beginCell()
                .storeSlice(good.beginParse())
                .storeRef(Cell.EMPTY)
                .endCell();
            await refused(d, 9, () => sendBody(d, wire.claim(more, KEY.secretKey), PAYEE));
        });
    });
}
