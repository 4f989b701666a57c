// ProviderStake and Registry together: a receipt over a beacon later than its image's revocation.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import type { Cell } from '@ton/core';
import { beginCell } from '@ton/core';
import { NETWORK_ID } from '../../tests/ton-testnode/src/chain-config.ts';
import { add, MEASUREMENT, MODEL, OP_TOLD, revoke, tell } from '../wrappers/registry.ts';
import * as wire from '../wrappers/stake.ts';
import { ADDER, DELAY, REVOKER } from './registry-stage.ts';
import {
    AMOUNT,
    GRACE,
    IMAGE,
    OTHER,
    REPORTER,
    receipt,
    SINK,
    type Staked,
    staked,
} from './stake-stage.ts';
import { COIN, type Moment, type Outcome, START, World } from './world.ts';

const REVOKED = START + 2 * DELAY;

function block(at: number, changes: Partial<Parameters<typeof wire.inventedBlock>[0]> = {}) {
    return wire.inventedBlock({ network: NETWORK_ID, seqno: 777_000, at, ...changes });
}

function over(of: wire.MasterchainBlock, network = NETWORK_ID): Cell {
    return receipt({ beacon: wire.beaconOf(network, of) });
}

describe('a receipt later than the revocation of its measurement', () => {
    let s: Staked;
    let moment: Moment;

    before(async () => {
        s = await staked(await World.create());
        await s.registry.send(ADDER, add(MEASUREMENT, IMAGE));
        await s.registry.send(ADDER, add(MEASUREMENT, 0x77n));
        s.world.advance(2 * DELAY);
        await s.registry.send(REVOKER, revoke(MEASUREMENT, IMAGE));
        s.world.advance(DELAY);
        moment = s.world.snapshot();
    });
    beforeEach(() => s.world.restore(moment));

    interface Shown {
        binding?: Cell;
        receipt: Cell;
        block: Cell;
    }

    /** Through the registry; what the stake made of it. */
    async function report(shown: Shown, kind = MEASUREMENT, key = IMAGE): Promise<Outcome> {
        const binding = shown.binding ?? s.binding();
        const evidence = wire.lateEvidence(binding, shown.receipt, shown.block);
        const body = tell(kind, key, s.address, evidence);
        const [asked, told] = await s.world.sendThrough({
            from: REPORTER,
            to: s.registry.address,
            value: COIN / 5n,
            body,
        });
        assert.equal(asked?.exit, 0);
        assert.ok(told);
        return told;
    }

    function late(of: wire.MasterchainBlock, network = NETWORK_ID): Shown {
        return { receipt: over(of, network), block: wire.blockProof(of) };
    }

    async function refused(code: number, act: () => Promise<Outcome>): Promise<void> {
        const data = await s.world.dataOf(s.address);
        assert.equal((await act()).exit, code);
        assert.ok((await s.world.dataOf(s.address)).equals(data), 'the state is untouched');
    }

    test('takes_the_stake_and_rewards_whoever_asked', async () => {
        const result = await report(late(block(REVOKED + GRACE + 1)));
        assert.equal(result.exit, 0);
        assert.ok(result.actionOk);
        const [rewarded, sunk] = result.transactions[0]!.outMessages.values();
        assert.ok(rewarded?.info.type === 'internal' && sunk?.info.type === 'internal');
        assert.ok(rewarded.info.dest.equals(REPORTER) && sunk.info.dest.equals(SINK));
        assert.ok(rewarded.info.value.coins >= AMOUNT / 10n);
        assert.equal((await s.stored()).staked, 0n);
        assert.equal((await s.stored()).slashedAt, s.world.now);
    });

    test('not_within_the_grace_period_and_not_before_the_revocation', async () => {
        for (const at of [REVOKED + GRACE, REVOKED + 1, REVOKED - 1, START])
            await refused(321, () => report(late(block(at))));
    });

    test('not_for_an_image_that_stands_or_was_never_listed', async () => {
        const shown = late(block(REVOKED + DELAY));
        const standing = { ...shown, binding: s.binding({ measurement: 0x77n }) };
        await refused(318, () => report(standing, MEASUREMENT, 0x77n));
        const unknown = { ...shown, binding: s.binding({ measurement: 0x78n }) };
        await refused(318, () => report(unknown, MEASUREMENT, 0x78n));
    });

    test('not_by_the_revocation_of_another_image_or_of_a_model', async () => {
        const shown = late(block(REVOKED + DELAY));
        const binding = s.binding({ measurement: 0x77n });
        await refused(317, () => report({ ...shown, binding }));
        await s.registry.send(ADDER, add(MODEL, IMAGE));
        await s.registry.send(REVOKER, revoke(MODEL, IMAGE));
        await refused(317, () => report(shown, MODEL));
    });

    test('not_by_another_block_than_the_one_that_the_receipt_names', async () => {
        const [named, other] = [block(REVOKED), block(REVOKED + DELAY)];
        const proof = wire.blockProof(other);
        await refused(319, () => report({ receipt: over(named), block: proof }));
        // The same block under another number or file hash is another beacon.
        const renamed = { ...other, fileHash: Buffer.alloc(32, 1) };
        await refused(319, () => report({ receipt: over(renamed), block: proof }));
        await refused(319, () => report({ receipt: receipt(), block: proof }));
    });

    test('not_by_a_block_of_another_network_or_of_a_shard', async () => {
        const foreign = block(REVOKED + DELAY, { network: -239 });
        await refused(319, () => report(late(foreign)));
        await refused(319, () => report(late(foreign, -239)));
        const shard = block(REVOKED + DELAY, { workchain: 0 });
        await refused(320, () => report(late(shard)));
    });

    test('not_by_a_cell_that_is_no_header', async () => {
        const good = block(REVOKED + DELAY);
        const proof = wire.blockProof(good).beginParse();
        const fileHash = proof.loadBuffer(32);
        proof.loadRef();
        const others = proof.loadRef();
        const put = (header: Cell, siblings = others) =>
            beginCell().storeBuffer(fileHash).storeRef(header).storeRef(siblings).endCell();
        const short = beginCell().storeUint(0x9bc7a987, 32).endCell();
        const tagged = beginCell().storeUint(1, 32).storeUint(0, 300).endCell();
        for (const bad of [put(short), put(tagged)])
            await refused(320, () => report({ receipt: over(good), block: bad }));
        const long = beginCell().storeSlice(others.beginParse()).storeBit(1).endCell();
        const header = good.root.refs[0]!;
        await refused(9, () => report({ receipt: over(good), block: put(header, long) }));
    });

    test('not_by_a_receipt_or_binding_signed_by_another', async () => {
        const of = block(REVOKED + DELAY);
        const beacon = wire.beaconOf(NETWORK_ID, of);
        const shown = late(of);
        await refused(314, () => report({ ...shown, receipt: receipt({ beacon }, OTHER) }));
        await refused(312, () => report({ ...shown, binding: s.binding({}, OTHER) }));
        await refused(311, () =>
            report({ ...shown, binding: s.binding({ stake: s.registry.address }) }),
        );
    });

    test('nobody_but_the_registry_tells_what_was_revoked', async () => {
        const shown = late(block(REVOKED + DELAY));
        const told = beginCell()
            .storeUint(OP_TOLD, 32)
            .storeUint(MEASUREMENT, 8)
            .storeUint(IMAGE, 256)
            .storeUint(1, 32)
            .storeUint(2, 32)
            .storeAddress(REPORTER)
            .storeMaybeRef(wire.lateEvidence(s.binding(), shown.receipt, shown.block))
            .endCell();
        await s.refused(316, () => s.send(REPORTER, told));
    });

    test('told_without_evidence_it_does_nothing', async () => {
        const body = tell(MEASUREMENT, IMAGE, s.address);
        const letter = { from: REPORTER, to: s.registry.address, value: COIN / 5n, body };
        const [, told] = await s.world.sendThrough(letter);
        assert.equal(told?.exit, 313);
        assert.equal((await s.stored()).staked, AMOUNT);
    });
});
