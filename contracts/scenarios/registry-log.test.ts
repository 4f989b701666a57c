// Registry: releases, providers and prices; roles in two steps; the log that a reader follows.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { beginCell, Cell } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/registry.ts';
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
import { account, type Moment, type Outcome, START, World } from './world.ts';

const KEY = 0x1234n;
const NEXT = account(4);
const BOUNDS: wire.Bounds = [1n, 20n, 0n, 5n, 10n, 160n];
const DETAILS = wire.providerDetails(account(7), account(8), 'machine.example:443');

/** The body of the record that a change sent to the log. */
function recordOf(outcome: Outcome): Cell {
    assert.equal(outcome.exit, 0);
    const out = [...outcome.transactions[0]!.outMessages.values()];
    const logged = out.filter((message) => message.info.type === 'external-out');
    assert.equal(logged.length, 1, 'one change, one record');
    return logged[0]!.body;
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`registry, roles and log, prices ${prices}`, () => {
        let r: Registry;
        let world: World;
        let moment: Moment;

        before(async () => {
            r = await deploy(await World.create(prices));
            world = r.world;
            moment = world.snapshot();
        });
        beforeEach(() => world.restore(moment));

        async function bounds(): Promise<[wire.Bounds, number, wire.Bounds]> {
            const stack = await r.get('prices');
            const six = () =>
                Array.from({ length: 6 }, () => stack.readBigNumber()) as unknown as wire.Bounds;
            const counting = six();
            const from = stack.readNumber();
            return [counting, from, six()];
        }

        test('each_kind_has_a_list_of_its_own', async () => {
            const getters = ['measurement', 'model', 'release', 'provider'];
            for (const [kind, getter] of getters.entries()) {
                assert.equal((await r.send(ADDER, wire.add(kind, KEY))).exit, 0);
                assert.deepEqual(await r.entry(getter, KEY), [START + DELAY, 0]);
                for (const later of getters.slice(kind + 1))
                    assert.deepEqual(await r.entry(later, KEY), [0, 0]);
            }
            await r.send(REVOKER, wire.revoke(wire.RELEASE, KEY));
            assert.deepEqual(await r.entry('release', KEY), [START + DELAY, START]);
            assert.deepEqual(await r.entry('provider', KEY), [START + DELAY, 0]);
            assert.deepEqual(await r.entry('measurement', KEY), [START + DELAY, 0]);
            assert.deepEqual(await r.entry('model', KEY), [START + DELAY, 0]);
        });

        test('a_provider_is_listed_with_its_details_and_keeps_them_when_revoked', async () => {
            await r.send(ADDER, wire.add(wire.PROVIDER, KEY, DETAILS));
            const details = async (kind: number, key: bigint) =>
                (await r.get('details', [BigInt(kind), key])).readCellOpt();
            assert.ok((await details(wire.PROVIDER, KEY))?.equals(DETAILS));
            assert.equal(await details(wire.PROVIDER, 1n), null);
            assert.equal(await details(wire.MODEL, KEY), null);
            await r.send(REVOKER, wire.revoke(wire.PROVIDER, KEY));
            assert.ok((await details(wire.PROVIDER, KEY))?.equals(DETAILS));
        });

        test('details_are_one_cell_and_prepay_their_own_rent', async () => {
            const nested = beginCell().storeRef(Cell.EMPTY).endCell();
            await r.refused(208, () => r.send(ADDER, wire.add(wire.PROVIDER, KEY, nested)));
            const { detailed, change } = needs(prices);
            const body = wire.add(wire.PROVIDER, KEY, DETAILS);
            await r.refused(206, () => r.send(ADDER, body, detailed + change - 1n));
            assert.equal((await r.send(ADDER, body, detailed + change)).exit, 0);
        });

        test('prices_count_after_the_delay_and_until_then_the_ones_before', async () => {
            assert.deepEqual(await bounds(), [wire.NO_BOUNDS, 0, wire.NO_BOUNDS]);
            assert.equal((await r.send(ADDER, wire.setPrices(BOUNDS))).exit, 0);
            assert.deepEqual(await bounds(), [wire.NO_BOUNDS, START + DELAY, BOUNDS]);
            world.advance(DELAY - 1);
            assert.deepEqual((await bounds())[0], wire.NO_BOUNDS);
            world.advance(1);
            assert.deepEqual(await bounds(), [BOUNDS, 0, BOUNDS]);
            // What counts goes on counting while the next ones wait.
            const higher: wire.Bounds = [2n, 40n, 0n, 10n, 20n, 320n];
            await r.send(ADDER, wire.setPrices(higher));
            assert.deepEqual(await bounds(), [BOUNDS, world.now + DELAY, higher]);
        });

        test('prices_replaced_before_they_count_never_count', async () => {
            await r.send(ADDER, wire.setPrices(BOUNDS));
            world.advance(10);
            const other: wire.Bounds = [3n, 3n, 3n, 3n, 3n, 3n];
            await r.send(ADDER, wire.setPrices(other));
            world.advance(DELAY - 1);
            assert.deepEqual((await bounds())[0], wire.NO_BOUNDS);
            world.advance(1);
            assert.deepEqual((await bounds())[0], other);
        });

        test('refuses_prices_by_others_and_bounds_out_of_order', async () => {
            await r.refused(201, () => r.send(REVOKER, wire.setPrices(BOUNDS)));
            await r.refused(201, () => r.send(STRANGER, wire.setPrices(BOUNDS)));
            for (const pair of [0, 2, 4]) {
                const bad = [...BOUNDS];
                [bad[pair], bad[pair + 1]] = [7n, 6n];
                const body = wire.setPrices(bad as unknown as wire.Bounds);
                await r.refused(209, () => r.send(ADDER, body));
            }
        });

        test('a_role_passes_on_in_two_steps_with_the_delay_between', async () => {
            for (const [role, holder] of [
                [wire.ADDER, ADDER],
                [wire.REVOKER, REVOKER],
            ] as const) {
                assert.equal((await r.send(holder, wire.offer(role, NEXT))).exit, 0);
                world.advance(DELAY - 1);
                await r.refused(212, () => r.send(NEXT, wire.accept(role)));
                await r.refused(211, () => r.send(STRANGER, wire.accept(role)));
                await r.refused(211, () => r.send(holder, wire.accept(role)));
                world.advance(1);
                const moment = world.snapshot();
                // Until it is accepted the holder still holds it.
                const own =
                    role === wire.ADDER ? wire.add(0, KEY) : wire.revoke(wire.MEASUREMENT, KEY);
                assert.equal((await r.send(holder, own)).exit, 0);
                await world.restore(moment);
                assert.equal((await r.send(NEXT, wire.accept(role))).exit, 0);
                const refusal = role === wire.ADDER ? 201 : 202;
                await r.refused(refusal, () => r.send(holder, own));
                assert.equal((await r.send(NEXT, own)).exit, 0);
                await r.refused(210, () => r.send(holder, wire.offer(role, holder)));
                await r.refused(214, () => r.send(NEXT, wire.accept(role)));
            }
        });

        test('roles_are_shown_with_whoever_was_offered_them', async () => {
            await r.send(ADDER, wire.offer(wire.ADDER, NEXT));
            const stack = await r.get('roles');
            assert.ok(stack.readAddress().equals(ADDER));
            assert.equal(stack.readNumber(), START + DELAY);
            assert.ok(stack.readAddress().equals(NEXT));
            assert.ok(stack.readAddress().equals(REVOKER));
            assert.equal(stack.readNumber(), 0);
            assert.equal(stack.readAddressOpt(), null);
        });

        test('only_the_holder_offers_a_role_and_only_its_own', async () => {
            await r.refused(210, () => r.send(REVOKER, wire.offer(wire.ADDER, NEXT)));
            await r.refused(210, () => r.send(ADDER, wire.offer(wire.REVOKER, NEXT)));
            await r.refused(210, () => r.send(STRANGER, wire.offer(wire.ADDER, STRANGER)));
            await r.refused(213, () => r.send(ADDER, wire.offer(2, NEXT)));
            await r.refused(213, () => r.send(ADDER, wire.accept(2)));
            await r.refused(214, () => r.send(NEXT, wire.accept(wire.ADDER)));
        });

        test('a_second_offer_replaces_the_first_and_waits_the_full_delay', async () => {
            await r.send(ADDER, wire.offer(wire.ADDER, STRANGER));
            world.advance(DELAY);
            await r.send(ADDER, wire.offer(wire.ADDER, NEXT));
            await r.refused(211, () => r.send(STRANGER, wire.accept(wire.ADDER)));
            await r.refused(212, () => r.send(NEXT, wire.accept(wire.ADDER)));
        });

        test('the_revoker_takes_back_what_has_no_effect_yet', async () => {
            await r.send(ADDER, wire.offer(wire.ADDER, STRANGER));
            await r.refused(202, () => r.send(ADDER, wire.veto(wire.ADDER)));
            assert.equal((await r.send(REVOKER, wire.veto(wire.ADDER))).exit, 0);
            world.advance(DELAY);
            await r.refused(214, () => r.send(STRANGER, wire.accept(wire.ADDER)));
            assert.equal((await r.send(ADDER, wire.add(0, KEY))).exit, 0, 'it still holds it');
            await r.refused(214, () => r.send(REVOKER, wire.veto(wire.ADDER)));
            await r.refused(214, () => r.send(REVOKER, wire.veto(wire.REVOKER)));
            await r.refused(213, () => r.send(REVOKER, wire.veto(3)));

            await r.refused(214, () => r.send(REVOKER, wire.veto(wire.PRICES)));
            await r.send(ADDER, wire.setPrices(BOUNDS));
            assert.equal((await r.send(REVOKER, wire.veto(wire.PRICES))).exit, 0);
            world.advance(DELAY);
            assert.deepEqual((await bounds())[0], wire.NO_BOUNDS);
            await r.send(ADDER, wire.setPrices(BOUNDS));
            world.advance(DELAY);
            await r.refused(214, () => r.send(REVOKER, wire.veto(wire.PRICES)));
            assert.deepEqual((await bounds())[0], BOUNDS, 'what counts cannot be taken back');
        });

        test('every_change_is_in_the_log_and_the_head_proves_it', async () => {
            const changes: [typeof ADDER, Cell][] = [
                [ADDER, wire.add(wire.MEASUREMENT, KEY)],
                [ADDER, wire.add(wire.PROVIDER, KEY, DETAILS)],
                [REVOKER, wire.revoke(wire.MEASUREMENT, KEY)],
                [ADDER, wire.setPrices(BOUNDS)],
                [REVOKER, wire.veto(wire.PRICES)],
                [ADDER, wire.offer(wire.ADDER, NEXT)],
                [NEXT, wire.accept(wire.ADDER)],
            ];
            assert.deepEqual(await r.log(), { version: 0, head: 0n });
            const bodies: Cell[] = [];
            const times: number[] = [];
            for (const [from, body] of changes) {
                world.advance(from === NEXT ? DELAY : 60);
                times.push(world.now);
                bodies.push(recordOf(await r.send(from, body)));
            }
            const head = await r.log();
            const records = wire.followLog(bodies, head);
            for (const [index, record] of records.entries()) {
                assert.ok(record.change.equals(changes[index]![1]), 'the very message');
                assert.equal(record.version, index + 1);
                assert.equal(record.at, times[index]);
            }
            // A reader that knows an earlier state follows from there.
            const { hash } = wire.readRecord(bodies[3]!);
            wire.followLog(bodies.slice(4), head, { version: 4, head: hash });
            // Nothing can be left out, changed, repeated, or added.
            assert.throws(() => wire.followLog(bodies.slice(1), head));
            assert.throws(() => wire.followLog(bodies.slice(0, -1), head));
            assert.throws(() => wire.followLog([...bodies, bodies.at(-1)!], head));
            assert.throws(() => wire.followLog(bodies.filter((_, at) => at !== 3), head));
            const other = recordOf(await r.send(NEXT, wire.add(wire.MODEL, KEY)));
            assert.throws(() => wire.followLog([...bodies.slice(0, -1), other], head));
        });

        test('an_empty_registry_lives_five_years_on_what_it_was_deployed_with', async () => {
            world.advance(5 * 365 * 86_400);
            assert.equal((await r.send(ADDER, wire.add(0, KEY))).exit, 0);
            const { account: shard } = await world.chain.getContract(r.address);
            assert.ok(!shard.account?.storageStats.duePayment, 'nothing is owed');
            assert.ok(world.balance(r.address) > 0n);
        });

        test('what_is_refused_is_not_in_the_log', async () => {
            const refused = await r.send(STRANGER, wire.add(0, KEY));
            const out = [...refused.transactions[0]!.outMessages.values()];
            assert.ok(out.every((message) => message.info.type === 'internal'));
            assert.deepEqual(await r.log(), { version: 0, head: 0n });
        });

        test('tells_another_contract_what_it_lists_and_who_asked', async () => {
            await r.send(ADDER, wire.add(wire.MEASUREMENT, KEY));
            world.advance(7);
            await r.send(REVOKER, wire.revoke(wire.MEASUREMENT, KEY));
            const before = world.balance(r.address);
            const payload = beginCell().storeUint(5, 8).endCell();
            const body = wire.tell(wire.MEASUREMENT, KEY, account(9), payload);
            const result = await r.send(STRANGER, body);
            assert.equal(result.exit, 0);
            assert.equal(world.balance(r.address), before, 'the asker pays');
            const [told] = result.transactions[0]!.outMessages.values();
            assert.ok(told?.info.type === 'internal' && told.info.dest.equals(account(9)));
            const slice = told.body.beginParse();
            assert.equal(slice.loadUint(32), wire.OP_TOLD);
            assert.equal(slice.loadUint(8), wire.MEASUREMENT);
            assert.equal(slice.loadUintBig(256), KEY);
            assert.equal(slice.loadUint(32), START + DELAY);
            assert.equal(slice.loadUint(32), START + 7);
            assert.ok(slice.loadAddress().equals(STRANGER));
            assert.ok(slice.loadMaybeRef()?.equals(payload));
            assert.equal((await r.log()).version, 2, 'telling changes nothing');
            await r.refused(207, () => r.send(STRANGER, wire.tell(4, KEY, account(9))));
        });

        test('a_change_costs_the_registry_nothing', async () => {
            await r.send(ADDER, wire.add(wire.PROVIDER, KEY, DETAILS));
            const before = world.balance(r.address);
            for (const [from, body] of [
                [REVOKER, wire.revoke(wire.PROVIDER, KEY)],
                [ADDER, wire.setPrices(BOUNDS)],
                [ADDER, wire.offer(wire.ADDER, NEXT)],
                [REVOKER, wire.veto(wire.ADDER)],
                [STRANGER, wire.tell(0, KEY, account(9))],
            ] as const) {
                const result = await r.send(from, body, VALUE);
                assert.equal(result.exit, 0);
                assert.ok(result.gas <= 30_000n, `${result.gas} gas`);
                assert.equal(world.balance(r.address), before);
                assert.ok(result.paid > VALUE - VALUE / 5n, 'the rest came back');
            }
        });

        test('refuses_a_change_whose_value_does_not_cover_it', async () => {
            const { change } = needs(prices);
            await r.send(ADDER, wire.add(0, KEY));
            for (const [from, body] of [
                [REVOKER, wire.revoke(0, KEY)],
                [ADDER, wire.setPrices(BOUNDS)],
                [ADDER, wire.offer(wire.ADDER, NEXT)],
                [REVOKER, wire.veto(wire.ADDER)],
            ] as const) {
                await r.refused(206, () => r.send(from, body, change - 1n));
                assert.equal((await r.send(from, body, change)).exit, 0);
            }
            await r.send(ADDER, wire.offer(wire.ADDER, NEXT));
            world.advance(DELAY);
            await r.refused(206, () => r.send(NEXT, wire.accept(wire.ADDER), change - 1n));
            assert.equal((await r.send(NEXT, wire.accept(wire.ADDER), change)).exit, 0);
        });
    });
}
