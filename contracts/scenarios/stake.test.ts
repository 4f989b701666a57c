// ProviderStake: what takes a stake, what does not, and who gets it.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { beginCell, Cell } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import { addressOf } from '../wrappers/code.ts';
import { receiptBytes, signReceipt } from '../wrappers/receipt.ts';
import * as wire from '../wrappers/stake.ts';
import {
    AMOUNT,
    MACHINE,
    MARGIN,
    OTHER,
    OWNER,
    PROVIDER,
    RECEIPT,
    REPORTER,
    receipt,
    SINK,
    Staked,
    staked,
    terms,
    UNBONDING,
} from './stake-stage.ts';
import { account, COIN, type Moment, type Outcome, START, World } from './world.ts';

const OTHER_ANSWER = { response: Buffer.alloc(32, 55) };

function paidTo(result: Outcome, to = REPORTER): bigint {
    for (const message of result.transactions[0]!.outMessages.values())
        if (message.info.type === 'internal' && message.info.dest.equals(to))
            return message.info.value.coins + message.info.forwardFee;
    return 0n;
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`provider stake, prices ${prices}`, () => {
        let s: Staked;
        let moment: Moment;

        before(async () => {
            s = await staked(await World.create(prices));
            moment = s.world.snapshot();
        });
        beforeEach(() => s.world.restore(moment));

        test('holds_what_was_staked_and_anyone_may_add', async () => {
            assert.equal((await s.stored()).staked, AMOUNT);
            assert.equal((await s.stake(COIN, REPORTER)).exit, 0);
            assert.equal((await s.stored()).staked, AMOUNT + COIN);
            const { stackReader } = await s.world.chain.runGetMethod(s.address, 'stakeState');
            assert.equal(stackReader.readBigNumber(), AMOUNT + COIN);
            assert.equal(stackReader.readNumber(), 0);
            assert.equal(stackReader.readNumber(), 0);
        });

        test('a_plain_transfer_and_a_bounced_message_stake_nothing', async () => {
            const data = await s.world.dataOf(s.address);
            const to = s.address;
            assert.equal((await s.world.send({ from: OWNER, to, value: COIN })).exit, 0);
            const body = beginCell()
                .storeUint(0xffffffff, 32)
                .storeSlice(wire.stake(COIN).asSlice())
                .endCell();
            const bounced = { from: OWNER, to, value: COIN, body, bounce: false, bounced: true };
            assert.equal((await s.world.send(bounced)).exit, 0);
            assert.ok((await s.world.dataOf(s.address)).equals(data));
        });

        test('leaves_after_the_unbonding_time_and_not_a_second_earlier', async () => {
            await s.refused(304, () => s.send(OWNER, wire.withdraw()));
            await s.refused(301, () => s.send(REPORTER, wire.unbond()));
            assert.equal((await s.send(OWNER, wire.unbond())).exit, 0);
            assert.equal((await s.stored()).releaseAt, START + UNBONDING);
            await s.refused(303, () => s.send(OWNER, wire.unbond()));
            await s.refused(303, () => s.stake(COIN));
            s.world.advance(UNBONDING - 1);
            await s.refused(305, () => s.send(OWNER, wire.withdraw()));
            s.world.advance(1);
            const result = await s.send(REPORTER, wire.withdraw());
            assert.equal(result.exit, 0);
            assert.ok(paidTo(result, OWNER) >= AMOUNT);
            assert.equal(s.world.balance(s.address), 0n);
            assert.equal((await s.stored()).staked, 0n);
            await s.refused(304, () => s.send(OWNER, wire.withdraw()));
            await s.refused(302, () => s.send(OWNER, wire.unbond()));
            assert.equal((await s.stake(AMOUNT)).exit, 0, 'and may come again');
        });

        test('two_receipts_with_one_number_take_the_stake', async () => {
            const before = s.world.balance(s.address);
            const result = await s.conflict(receipt(), receipt(OTHER_ANSWER));
            assert.equal(result.exit, 0);
            assert.ok(result.actionOk);
            const reward = paidTo(result);
            assert.ok(reward >= AMOUNT / 10n && reward <= AMOUNT / 10n + COIN / 10n);
            const sunk = paidTo(result, SINK);
            const taken = AMOUNT - AMOUNT / 10n;
            assert.ok(sunk <= taken && sunk > taken - COIN / 1000n, 'less its own forwarding');
            assert.equal(s.world.balance(s.address), before - AMOUNT, 'the reserve stays');
            const state = await s.stored();
            assert.equal(state.staked, 0n);
            assert.equal(state.slashedAt, START);
            // It can neither be taken again nor staked again.
            await s.refused(302, () => s.conflict(receipt(), receipt(OTHER_ANSWER)));
            await s.refused(306, () => s.stake(AMOUNT));
            await s.refused(302, () => s.send(OWNER, wire.unbond()));
        });

        test('a_stake_that_is_leaving_can_still_be_taken', async () => {
            await s.send(OWNER, wire.unbond());
            s.world.advance(2 * UNBONDING);
            assert.equal((await s.conflict(receipt(), receipt(OTHER_ANSWER))).exit, 0);
            await s.refused(304, () => s.send(OWNER, wire.withdraw()));
        });

        test('a_conflict_in_any_member_counts', async () => {
            for (const changes of [
                { statement: Buffer.alloc(32, 99) },
                { charged: 3401n },
                { hostTime: 0n },
                { epoch: 1 },
                { previous: Buffer.alloc(32, 99) },
            ]) {
                await s.world.restore(moment);
                assert.equal((await s.conflict(receipt(), receipt(changes))).exit, 0);
            }
        });

        test('one_receipt_twice_is_no_conflict', async () => {
            await s.refused(315, () => s.conflict(receipt(), receipt()));
        });

        test('receipts_of_other_numbers_channels_or_boots_are_no_conflict', async () => {
            for (const changes of [
                { sequence: 10n },
                { sequence: 9n + 2n ** 63n },
                { channel: account(41) },
                { bootId: Buffer.alloc(32, 99) },
            ])
                await s.refused(315, () =>
                    s.conflict(receipt(), receipt({ ...OTHER_ANSWER, ...changes })),
                );
        });

        test('refuses_receipts_that_the_bound_key_did_not_sign', async () => {
            const foreign = receipt(OTHER_ANSWER, OTHER);
            await s.refused(314, () => s.conflict(receipt(), foreign));
            await s.refused(314, () => s.conflict(foreign, receipt()));
            const changed = signReceipt(RECEIPT, MACHINE.secretKey);
            changed[100]! ^= 1;
            await s.refused(314, () => s.conflict(receipt(), wire.signedReceipt(changed)));
        });

        test('refuses_receipts_of_another_network', async () => {
            const other = receipt({ ...OTHER_ANSWER, network: -239 });
            await s.refused(310, () => s.conflict(other, receipt()));
            await s.refused(310, () => s.conflict(receipt(), other));
        });

        test('refuses_bindings_that_the_provider_did_not_make_for_this_stake', async () => {
            const pair = [receipt(), receipt(OTHER_ANSWER)] as const;
            const bad: [number, Cell][] = [
                [312, s.binding({}, OTHER)],
                [310, s.binding({ network: -239 })],
                [311, s.binding({ stake: account(9) })],
                [314, s.binding({ receiptKey: OTHER.publicKey })],
            ];
            for (const [code, binding] of bad)
                await s.refused(code, () => s.conflict(...pair, binding));
        });

        test('refuses_other_cells_in_place_of_a_binding', async () => {
            const pair = [receipt(), receipt(OTHER_ANSWER)] as const;
            const members = {
                network: -7357,
                stake: s.address,
                receiptKey: MACHINE.publicKey,
                measurement: 0n,
            };
            const { secretKey } = PROVIDER;
            const tagged = wire.signedBinding(wire.bindingCell(members, 0x56434831), secretKey);
            await s.refused(309, () => s.conflict(...pair, tagged));
            const good = wire.bindingCell(members);
            const longer = beginCell().storeSlice(good.beginParse()).storeBit(0).endCell();
            await s.refused(9, () => s.conflict(...pair, wire.signedBinding(longer, secretKey)));
        });

        test('refuses_receipts_cut_otherwise', async () => {
            const bytes = receiptBytes(RECEIPT);
            const signature = signReceipt(RECEIPT, MACHINE.secretKey).subarray(387);
            const chain = (...sizes: number[]) => {
                let end = bytes.length;
                let next: Cell | undefined;
                for (const size of sizes.reverse()) {
                    const builder = beginCell().storeBuffer(bytes.subarray(end - size, end));
                    next = (next ? builder.storeRef(next) : builder).endCell();
                    end -= size;
                }
                return beginCell().storeBuffer(signature, 64).storeRef(next!).endCell();
            };
            assert.ok(chain(127, 127, 127, 6).equals(receipt()), 'the right cut');
            for (const bad of [chain(127, 127, 126, 7), chain(126, 127, 127, 7), chain(127, 127)])
                await s.refused(313, () => s.conflict(receipt(OTHER_ANSWER), bad));
            const tail = beginCell().storeBuffer(bytes.subarray(381)).storeRef(Cell.EMPTY);
            const third = beginCell()
                .storeBuffer(bytes.subarray(254, 381))
                .storeRef(tail.endCell());
            const second = beginCell()
                .storeBuffer(bytes.subarray(127, 254))
                .storeRef(third.endCell());
            const first = beginCell()
                .storeBuffer(bytes.subarray(0, 127))
                .storeRef(second.endCell());
            const more = beginCell().storeBuffer(signature, 64).storeRef(first.endCell()).endCell();
            await s.refused(313, () => s.conflict(receipt(OTHER_ANSWER), more));
        });

        test('refuses_unknown_messages_and_what_does_not_cover_its_amount', async () => {
            const unknown = beginCell().storeUint(0x53540009, 32).endCell();
            await s.refused(0xffff, () => s.send(OWNER, unknown));
            await s.refused(307, () => s.stake(2n * AMOUNT, OWNER, AMOUNT));
        });

        test('takes_exactly_amount_rent_and_gas_and_not_a_nano_less', async () => {
            const old = prices === 'before-2026';
            const [cellPrice, flat, gasPrice] = old
                ? [500n, 40_000n, 26_214_400n]
                : [83n, 6_666n, 4_369_066n];
            const up = (x: bigint) => (x + 65_535n) >> 16n;
            const rent = up((16_000n + 32n * cellPrice) * 5n * 365n * 86_400n);
            const need = COIN + rent + flat + up((6000n - 100n) * gasPrice);
            const init = wire.stakeInit(terms(s.registry.address, { grace: 1 }));
            const fresh = new Staked(s.registry, addressOf(init), init);
            assert.equal((await fresh.stake(COIN, OWNER, need - 1n)).exit, 307);
            const result = await fresh.stake(COIN, OWNER, need);
            assert.equal(result.exit, 0);
            assert.ok(result.gas <= 6000n, `${result.gas} gas`);
        });

        test('refuses_terms_that_could_hurt', async () => {
            for (const changes of [
                { owner: account(1, -1) },
                { registry: account(1, -1) },
                { sink: account(1, -1) },
                { unbonding: 86_399 },
                { unbonding: 365 * 86_400 + 1 },
                { grace: 30 * 86_400 + 1 },
            ]) {
                const init = wire.stakeInit(terms(s.registry.address, changes));
                const bad = new Staked(s.registry, addressOf(init), init);
                const result = await bad.stake(COIN);
                assert.equal(result.exit, 308);
                assert.ok(result.bounced);
            }
            for (const changes of [
                { unbonding: 86_400 },
                { unbonding: 365 * 86_400 },
                { grace: 30 * 86_400 },
                { grace: 0 },
            ]) {
                const init = wire.stakeInit(terms(s.registry.address, changes));
                const good = new Staked(s.registry, addressOf(init), init);
                assert.equal((await good.stake(COIN)).exit, 0);
            }
        });

        test('refuses_to_live_on_the_masterchain', async () => {
            const init = wire.stakeInit(terms(s.registry.address));
            const elsewhere = new Staked(s.registry, addressOf(init, -1), init);
            const result = await elsewhere.stake(COIN, OWNER, 100n * COIN);
            assert.equal(result.exit, 308);
        });

        test('after_five_years_the_whole_stake_is_still_there', async () => {
            s.world.advance(5 * 365 * 86_400);
            await s.send(OWNER, wire.unbond());
            assert.ok(s.world.balance(s.address) >= AMOUNT);
            assert.equal((await s.conflict(receipt(), receipt(OTHER_ANSWER))).exit, 0);
        });

        test('an_eroded_stake_is_taken_after_somebody_mends_it', async () => {
            await s.world.decree(s.address, COIN);
            const data = await s.world.dataOf(s.address);
            const result = await s.conflict(receipt(), receipt(OTHER_ANSWER));
            assert.equal(result.actionOk, false);
            assert.ok(result.bounced, 'the value came back');
            assert.ok((await s.world.dataOf(s.address)).equals(data), 'the state is untouched');
            await s.world.send({ from: REPORTER, to: s.address, value: AMOUNT });
            assert.equal((await s.conflict(receipt(), receipt(OTHER_ANSWER))).exit, 0);
        });

        test('the_account_fits_the_size_it_reserves_rent_for', async () => {
            await s.stake(100_000_000n * COIN);
            await s.send(OWNER, wire.unbond());
            const used = (await s.world.chain.getContract(s.address)).account.account?.storageStats
                .used;
            assert.ok(used && used.bits <= 16_000n && used.cells <= 32n, `${used?.bits} bits`);
        });

        test('a_stake_deployed_anew_after_deletion_is_taken_by_the_old_evidence', async () => {
            assert.equal((await s.conflict(receipt(), receipt(OTHER_ANSWER))).exit, 0);
            await s.world.erase(s.address);
            assert.equal((await s.stake(COIN, OWNER, COIN + MARGIN)).exit, 0);
            assert.equal((await s.conflict(receipt(), receipt(OTHER_ANSWER))).exit, 0);
        });
    });
}
