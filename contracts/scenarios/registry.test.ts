// Registry: who may change it, when a change counts, and which exit code refuses.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { type Address, beginCell, type Cell } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import { add, MEASUREMENT, MODEL, revoke } from '../wrappers/registry.ts';
import {
    ADDER,
    DELAY,
    deploy,
    needs,
    REVOKER,
    type Registry,
    STRANGER,
    VALUE,
} from './registry-stage.ts';
import { COIN, type Moment, type Outcome, START, World } from './world.ts';

const IMAGE = 0xabcdn;

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`registry, prices ${prices}`, () => {
        let r: Registry;
        let world: World;
        let moment: Moment;

        before(async () => {
            r = await deploy(await World.create(prices));
            world = r.world;
            moment = world.snapshot();
        });
        beforeEach(() => world.restore(moment));

        const send = (from: Address, body: Cell, value?: bigint) => r.send(from, body, value);
        const number = (getter: string) => r.number(getter);
        const entry = (getter: string, key: bigint) => r.entry(getter, key);
        const refused = (code: number, act: () => Promise<Outcome>) => r.refused(code, act);

        test('starts_empty_with_its_delay', async () => {
            assert.equal(await number('delay'), DELAY);
            assert.equal(await number('version'), 0);
            assert.deepEqual(await entry('measurement', IMAGE), [0, 0]);
            assert.deepEqual(await entry('model', IMAGE), [0, 0]);
        });

        test('an_addition_counts_after_the_delay', async () => {
            assert.equal((await send(ADDER, add(MEASUREMENT, IMAGE))).exit, 0);
            assert.deepEqual(await entry('measurement', IMAGE), [START + DELAY, 0]);
            assert.deepEqual(await entry('model', IMAGE), [0, 0]);
            assert.equal(await number('version'), 1);
        });

        test('models_are_listed_apart_from_measurements', async () => {
            assert.equal((await send(ADDER, add(MODEL, IMAGE))).exit, 0);
            assert.deepEqual(await entry('model', IMAGE), [START + DELAY, 0]);
            assert.deepEqual(await entry('measurement', IMAGE), [0, 0]);
        });

        test('a_revocation_counts_at_once_even_before_the_delay_is_over', async () => {
            await send(ADDER, add(MEASUREMENT, IMAGE));
            world.advance(5);
            assert.equal((await send(REVOKER, revoke(MEASUREMENT, IMAGE))).exit, 0);
            assert.deepEqual(await entry('measurement', IMAGE), [START + DELAY, START + 5]);
            assert.equal(await number('version'), 2);
        });

        test('adding_again_what_was_revoked_takes_the_full_delay', async () => {
            await send(ADDER, add(MEASUREMENT, IMAGE));
            world.advance(DELAY + 1);
            await send(REVOKER, revoke(MEASUREMENT, IMAGE));
            world.advance(10);
            assert.equal((await send(ADDER, add(MEASUREMENT, IMAGE))).exit, 0);
            assert.deepEqual(await entry('measurement', IMAGE), [world.now + DELAY, 0]);
        });

        test('refuses_additions_by_anyone_but_the_adder', async () => {
            await refused(201, () => send(REVOKER, add(MEASUREMENT, IMAGE)));
            await refused(201, () => send(STRANGER, add(MODEL, IMAGE)));
        });

        test('refuses_revocations_by_anyone_but_the_revoker', async () => {
            await send(ADDER, add(MEASUREMENT, IMAGE));
            await refused(202, () => send(ADDER, revoke(MEASUREMENT, IMAGE)));
            await refused(202, () => send(STRANGER, revoke(MEASUREMENT, IMAGE)));
        });

        test('refuses_to_add_what_is_listed_so_that_its_date_stands', async () => {
            await send(ADDER, add(MEASUREMENT, IMAGE));
            await refused(203, () => send(ADDER, add(MEASUREMENT, IMAGE)));
        });

        test('refuses_to_revoke_what_is_not_listed_or_already_revoked', async () => {
            await refused(204, () => send(REVOKER, revoke(MEASUREMENT, IMAGE)));
            await send(ADDER, add(MEASUREMENT, IMAGE));
            await refused(204, () => send(REVOKER, revoke(MODEL, IMAGE)));
            await send(REVOKER, revoke(MEASUREMENT, IMAGE));
            await refused(205, () => send(REVOKER, revoke(MEASUREMENT, IMAGE)));
        });

        test('takes_exactly_the_rent_and_gas_of_a_change_and_not_a_nano_less', async () => {
            const { rent, change: gas } = needs(prices);
            const body = add(MEASUREMENT, IMAGE);
            await refused(206, () => send(ADDER, body, rent + gas - 1n));
            assert.equal((await send(ADDER, body, rent + gas)).exit, 0);
            await refused(206, () => send(REVOKER, revoke(MEASUREMENT, IMAGE), gas - 1n));
            assert.equal((await send(REVOKER, revoke(MEASUREMENT, IMAGE), gas)).exit, 0);
        });

        test('refuses_an_unknown_kind_and_unknown_messages', async () => {
            await refused(207, () => send(ADDER, add(4, IMAGE)));
            await refused(207, () => send(REVOKER, revoke(255, IMAGE)));
            await refused(0xffff, () =>
                send(ADDER, beginCell().storeUint(0x52470009, 32).endCell()),
            );
        });

        test('a_bounced_message_changes_nothing', async () => {
            const data = await world.dataOf(r.address);
            const body = beginCell()
                .storeUint(0xffffffff, 32)
                .storeSlice(add(MODEL, IMAGE).asSlice())
                .endCell();
            const result = await world.send({
                from: ADDER,
                to: r.address,
                value: VALUE,
                body,
                bounce: false,
                bounced: true,
            });
            assert.equal(result.exit, 0);
            assert.ok((await world.dataOf(r.address)).equals(data));
        });

        test('keeps_the_rent_of_an_entry_and_returns_the_rest', async () => {
            const before = world.balance(r.address);
            const result = await send(ADDER, add(MEASUREMENT, IMAGE));
            const kept = world.balance(r.address) - before;
            assert.ok(kept > 0n && kept < VALUE / 10n, `${kept} kept`);
            assert.ok(result.paid > VALUE - VALUE / 5n);
        });

        test('many_entries_stay_within_their_gas_and_pay_their_own_rent', async () => {
            let most = 0n;
            for (let index = 0; index < 40; index += 1) {
                const hash = BigInt(
                    `0x${beginCell().storeUint(index, 32).endCell().hash().toString('hex')}`,
                );
                const result = await send(ADDER, add(MEASUREMENT, hash));
                assert.equal(result.exit, 0);
                if (result.gas > most) most = result.gas;
            }
            assert.ok(most <= 30_000n, `an addition used ${most} gas`);
            world.advance(5 * 365 * 86_400);
            const result = await world.send({ from: STRANGER, to: r.address, value: COIN / 10n });
            assert.equal(result.exit, 0);
            assert.ok(world.balance(r.address) > 0n, 'five years of rent were paid');
            const due = (await world.chain.getContract(r.address)).account.account?.storageStats
                .duePayment;
            assert.ok(due === null || due === undefined || due === 0n);
        });
    });
}
