// PaymentChannel: what it pays, what it refuses and with which exit code.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Address, beginCell, Cell } from '@ton/core';
import { sign } from '@ton/crypto';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import { addressOf } from '../wrappers/code.ts';
import {
    ACCOUNT_BITS,
    ACCOUNT_CELLS,
    CLAIM_GAS_BUDGET,
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
    terms,
    topUp,
    voucher,
    WINDOW,
} from './channel-stage.ts';
import { account, COIN, type Moment, START, World } from './world.ts';

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`payment channel, prices ${prices}`, () => {
        let base: Deployed;
        let d: Deployed;
        let snapshot: Moment;

        before(async () => {
            base = await open(await World.create(prices));
            snapshot = base.world.snapshot();
        });
        beforeEach(async () => {
            await base.world.restore(snapshot);
            d = base;
        });

        test('opens_with_the_deposit_and_the_time_as_its_epoch', async () => {
            const state = await stored(d);
            assert.equal(state.closeAt, wire.OPEN);
            assert.equal(state.deposited, DEPOSIT);
            assert.equal(state.claimed, 0n);
            assert.equal(state.epoch, START);
            const { stackReader } = await d.world.chain.runGetMethod(d.address, 'channel');
            assert.equal(stackReader.readNumber(), START);
            assert.equal(stackReader.readBigNumber(), DEPOSIT);
        });

        test('anyone_may_add_to_the_deposit', async () => {
            assert.equal((await topUp(d, COIN, STRANGER)).exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT + COIN);
            assert.equal((await stored(d)).epoch, START);
        });

        test('a_plain_transfer_adds_no_deposit', async () => {
            const result = await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            assert.equal(result.exit, 0);
            assert.equal((await stored(d)).deposited, DEPOSIT);
        });

        test('a_bounced_message_changes_nothing', async () => {
            const data = await d.world.dataOf(d.address);
            const body = beginCell()
                .storeUint(0xffffffff, 32)
                .storeSlice(wire.startClose().asSlice())
                .endCell();
            const to = d.address;
            const result = await d.world.send({
                from: PAYER,
                to,
                value: COIN,
                body,
                bounce: false,
                bounced: true,
            });
            assert.equal(result.exit, 0);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
        });

        test('a_claim_pays_exactly_the_increment_and_the_payee_pays_the_fees', async () => {
            d.world.advance(60);
            const before = d.world.balance(d.address);
            const result = await claim(d, { cumulative: COIN + 7n });
            assert.equal(result.exit, 0);
            const rent = storageFee(result);
            assert.equal(d.world.balance(d.address), before - (COIN + 7n) - rent);
            const [payout] = result.transactions[0]!.outMessages.values();
            assert.ok(payout?.info.type === 'internal');
            const fees = result.fees - rent + payout.info.forwardFee;
            assert.equal(result.paid, COIN + 7n + FEE_VALUE - fees);
            const state = await stored(d);
            assert.equal(state.claimed, COIN + 7n);
            assert.equal(state.lastRoot, 42n);
            assert.ok(result.gas <= CLAIM_GAS_BUDGET, `claim used ${result.gas} gas`);
        });

        test('the_second_claim_pays_only_what_came_on_top', async () => {
            await claim(d, { cumulative: COIN });
            const before = d.world.balance(d.address);
            await claim(d, { cumulative: 3n * COIN });
            assert.equal(before - d.world.balance(d.address), 2n * COIN);
        });

        test('the_whole_deposit_can_be_claimed', async () => {
            assert.equal((await claim(d, { cumulative: DEPOSIT })).exit, 0);
            assert.equal((await stored(d)).claimed, DEPOSIT);
        });

        test('a_voucher_counts_in_its_last_second', async () => {
            assert.equal((await claim(d, { validUntil: d.world.now })).exit, 0);
        });

        test('a_voucher_without_increment_anchors_a_new_root_and_pays_nothing', async () => {
            await claim(d);
            const before = d.world.balance(d.address);
            assert.equal((await claim(d, { receiptsRoot: 43n })).exit, 0);
            assert.equal(d.world.balance(d.address), before);
            assert.equal((await stored(d)).lastRoot, 43n);
        });

        test('refuses_the_same_voucher_twice', async () => {
            await claim(d);
            await refused(d, 104, () => claim(d));
        });

        test('refuses_a_lower_total', async () => {
            await claim(d);
            await refused(d, 104, () => claim(d, { cumulative: COIN - 1n, receiptsRoot: 43n }));
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

        test('refuses_a_voucher_for_another_network', async () => {
            await refused(d, 105, () => claim(d, { network: -239 }));
        });

        test('refuses_a_voucher_for_another_channel', async () => {
            await refused(d, 106, () => claim(d, { channel: account(9) }));
            const sameHashElsewhere = new Address(-1, d.address.hash);
            await refused(d, 106, () => claim(d, { channel: sameHashElsewhere }));
        });

        test('refuses_a_voucher_of_another_epoch', async () => {
            await refused(d, 107, () => claim(d, { epoch: START - 1 }));
        });

        test('refuses_an_expired_voucher', async () => {
            await refused(d, 108, () => claim(d, { validUntil: d.world.now - 1 }));
        });

        test('refuses_more_than_the_deposit_before_anything_is_sent', async () => {
            await refused(d, 109, () => claim(d, { cumulative: DEPOSIT + 1n }));
            await refused(d, 109, () => claim(d, { cumulative: 2n ** 120n - 1n }));
        });

        test('refuses_another_tag', async () => {
            const cell = wire.voucherCell(await voucher(d), 0x56434832);
            await refused(d, 117, () => sendBody(d, wire.claim(cell, KEY.secretKey), PAYEE));
        });

        test('refuses_a_voucher_with_more_in_it', async () => {
            const good = wire.voucherCell(await voucher(d));
            const longer = beginCell().storeSlice(good.beginParse()).storeBit(0).endCell();
            const withRef = beginCell()
                .storeSlice(good.beginParse())
                .storeRef(Cell.EMPTY)
                .endCell();
            await refused(d, 9, () => sendBody(d, wire.claim(longer, KEY.secretKey), PAYEE));
            await refused(d, 9, () => sendBody(d, wire.claim(withRef, KEY.secretKey), PAYEE));
        });

        test('refuses_unknown_and_cut_messages', async () => {
            await refused(d, 0xffff, () =>
                sendBody(d, beginCell().storeUint(0x43480009, 32).endCell(), PAYER),
            );
            await refused(d, 0xffff, () =>
                sendBody(d, beginCell().storeUint(1, 7).endCell(), PAYER),
            );
            await refused(d, 9, () =>
                sendBody(d, beginCell().storeUint(wire.OP_TOP_UP, 32).endCell(), PAYER),
            );
        });

        test('refuses_a_top_up_that_does_not_cover_its_amount', async () => {
            await refused(d, 115, () => topUp(d, 10n * COIN, PAYER, 9n * COIN));
        });

        test('only_the_payer_starts_the_close_and_only_once', async () => {
            await refused(d, 102, () => sendBody(d, wire.startClose(), PAYEE));
            await refused(d, 102, () => sendBody(d, wire.startClose(), STRANGER));
            assert.equal((await sendBody(d, wire.startClose(), PAYER)).exit, 0);
            const state = await stored(d);
            assert.equal(state.closeAt, d.world.now + WINDOW);
            await refused(d, 111, () => sendBody(d, wire.startClose(), PAYER));
            await refused(d, 111, () => topUp(d, COIN));
        });

        test('the_payee_claims_during_the_window_and_never_after_it', async () => {
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW - 1);
            assert.equal((await claim(d)).exit, 0);
            d.world.advance(1);
            await refused(d, 112, () => claim(d, { cumulative: 2n * COIN }));
        });

        test('the_close_waits_for_the_window_and_then_anyone_finishes_it', async () => {
            await refused(d, 114, () => sendBody(d, wire.finishClose(), PAYER));
            await claim(d);
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW - 1);
            await refused(d, 113, () => sendBody(d, wire.finishClose(), PAYER));
            d.world.advance(1);
            const result = await sendBody(d, wire.finishClose(), STRANGER);
            assert.equal(result.exit, 0);
            assert.ok(result.paid >= DEPOSIT - COIN, 'all that was not claimed goes to the payer');
            const [refund] = result.transactions[0]!.outMessages.values();
            assert.ok(refund?.info.type === 'internal' && refund.info.dest.equals(PAYER));
            assert.equal(d.world.balance(d.address), 0n);
            const state = await stored(d);
            assert.equal(state.closeAt, wire.CLOSED);
            assert.equal(state.claimed, COIN);
            await refused(d, 110, () => claim(d, { cumulative: 2n * COIN }));
            await refused(d, 110, () => sendBody(d, wire.startClose(), PAYER));
            await refused(d, 114, () => sendBody(d, wire.finishClose(), PAYER));
        });

        test('a_channel_opened_again_takes_no_voucher_of_the_time_before', async () => {
            const old = wire.claim(
                wire.voucherCell(await voucher(d, { validUntil: 2 ** 32 - 1 })),
                KEY.secretKey,
            );
            assert.equal((await claim(d)).exit, 0);
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW);
            await sendBody(d, wire.finishClose(), PAYER);
            assert.equal((await topUp(d, DEPOSIT)).exit, 0);
            const state = await stored(d);
            assert.equal(state.epoch, START + WINDOW);
            assert.equal(state.claimed, 0n);
            assert.equal(state.lastRoot, 0n);
            await refused(d, 107, () => sendBody(d, old, PAYEE));
        });

        test('an_epoch_never_repeats_even_within_one_second', async () => {
            const quick = await open(d.world, { window: 0 });
            await sendBody(quick, wire.startClose(), PAYER);
            await sendBody(quick, wire.finishClose(), PAYER);
            await topUp(quick, DEPOSIT);
            assert.equal((await stored(quick)).epoch, START + 1);
        });

        test('a_channel_deployed_anew_after_deletion_takes_no_old_voucher', async () => {
            const old = wire.claim(
                wire.voucherCell(await voucher(d, { validUntil: 2 ** 32 - 1 })),
                KEY.secretKey,
            );
            await d.world.erase(d.address);
            d.world.advance(20 * 365 * 86400);
            assert.equal((await topUp(d, DEPOSIT)).exit, 0);
            await refused(d, 107, () => sendBody(d, old, PAYEE));
        });

        test('refuses_to_open_on_terms_that_could_hurt', async () => {
            const bad: Partial<wire.Terms>[] = [
                { payer: account(1, -1) },
                { payee: account(2, -1) },
                { window: 90 * 86400 + 1 },
            ];
            for (const changes of bad) {
                const init = wire.channelInit(terms(changes));
                const result = await topUp(
                    { world: d.world, address: addressOf(init), init },
                    DEPOSIT,
                );
                assert.equal(result.exit, 116);
                assert.ok(result.bounced);
            }
        });

        test('refuses_to_open_on_the_masterchain', async () => {
            const init = wire.channelInit(terms());
            const address = addressOf(init, -1);
            const value = 10n * DEPOSIT; // prices there are far higher
            const result = await topUp({ world: d.world, address, init }, DEPOSIT, PAYER, value);
            assert.equal(result.exit, 116);
            assert.ok(result.bounced);
        });

        test('opens_with_the_longest_window', async () => {
            const longest = await open(d.world, { window: 90 * 86400 });
            assert.equal((await stored(longest)).closeAt, wire.OPEN);
        });

        test('opens_with_exactly_what_amount_rent_and_gas_need_and_not_a_nano_less', async () => {
            const old = prices === 'before-2026';
            const [cellPrice, flat, gasPrice] = old
                ? [500n, 40_000n, 26_214_400n]
                : [83n, 6_666n, 4_369_066n];
            const up = (x: bigint) => (x + 65_535n) >> 16n;
            const rent = up((ACCOUNT_BITS + ACCOUNT_CELLS * cellPrice) * 5n * 365n * 86_400n);
            const need = DEPOSIT + rent + flat + up((6000n - 100n) * gasPrice);
            const init = wire.channelInit(terms({ window: 3 }));
            const unopened = { world: d.world, address: addressOf(init), init };
            assert.equal((await topUp(unopened, DEPOSIT, PAYER, need - 1n)).exit, 115);
            assert.equal((await topUp(unopened, DEPOSIT, PAYER, need)).exit, 0);
        });

        test('refuses_to_open_without_storage_reserve', async () => {
            const init = wire.channelInit(terms({ window: 1 }));
            const unopened = { world: d.world, address: addressOf(init), init };
            const result = await topUp(unopened, DEPOSIT, PAYER, DEPOSIT + 1_000_000n);
            assert.equal(result.exit, 115);
            assert.ok(result.bounced);
        });

        test('takes_no_claim_before_it_was_opened', async () => {
            const init = wire.channelInit(terms({ window: 1 }));
            const address = addressOf(init);
            const cell = wire.voucherCell(
                await voucher(d, { channel: address, epoch: 0, cumulative: 0n }),
            );
            const body = wire.claim(cell, KEY.secretKey);
            const result = await d.world.send({
                from: PAYEE,
                to: address,
                value: FEE_VALUE,
                body,
                init,
            });
            assert.equal(result.exit, 110);
        });

        test('after_five_years_the_whole_deposit_is_still_there', async () => {
            d.world.advance(5 * 365 * 86400);
            const result = await claim(d, { cumulative: DEPOSIT });
            assert.equal(result.exit, 0);
            assert.ok(storageFee(result) > 0n);
            assert.ok(d.world.balance(d.address) > 0n);
        });

        test('a_claim_on_an_eroded_channel_bounces_and_a_plain_transfer_mends_it', async () => {
            await d.world.decree(d.address, COIN / 2n);
            const data = await d.world.dataOf(d.address);
            const result = await claim(d);
            assert.equal(result.actionOk, false);
            assert.ok(result.bounced, 'the value came back');
            assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
            await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            assert.equal((await claim(d)).exit, 0);
        });

        test('a_claim_that_pays_too_little_for_gas_changes_nothing', async () => {
            const data = await d.world.dataOf(d.address);
            const body = wire.claim(wire.voucherCell(await voucher(d)), KEY.secretKey);
            const result = await d.world.send({
                from: PAYEE,
                to: d.address,
                value: 200_000n,
                body,
            });
            assert.ok(result.exit !== 0);
            assert.ok((await d.world.dataOf(d.address)).equals(data));
        });

        test('the_account_fits_the_size_it_reserves_rent_for', async () => {
            await topUp(d, 100_000_000n * COIN);
            await claim(d, { cumulative: 99_999_999n * COIN });
            await sendBody(d, wire.startClose(), PAYER);
            const used = (await d.world.chain.getContract(d.address)).account.account?.storageStats
                .used;
            assert.ok(used);
            assert.ok(used.bits <= ACCOUNT_BITS, `${used.bits} bits`);
            assert.ok(used.cells <= ACCOUNT_CELLS, `${used.cells} cells`);
        });

        test('top_up_stays_within_the_gas_it_asks_for', async () => {
            const init = wire.channelInit(terms({ window: 2 }));
            const result = await topUp({ world: d.world, address: addressOf(init), init }, DEPOSIT);
            assert.ok(result.gas <= 6000n, `opening used ${result.gas} gas`);
        });
    });
}
