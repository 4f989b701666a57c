// ProviderStake under random sequences of messages, beside a model of what it must hold.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import * as wire from '../wrappers/stake.ts';
import { Random } from './random.ts';
import {
    AMOUNT,
    MARGIN,
    OTHER,
    OWNER,
    REPORTER,
    receipt,
    type Staked,
    staked,
    UNBONDING,
} from './stake-stage.ts';
import { account, COIN, type Moment, type Outcome, World } from './world.ts';

const SEQUENCES = 5;
const STEPS = 20;

class Run {
    private held = AMOUNT;
    private releaseAt = 0;
    private slashed = false;

    constructor(
        private readonly s: Staked,
        private readonly random: Random,
    ) {}

    private async act(): Promise<[number, Outcome]> {
        const { random, s } = this;
        const now = s.world.now;
        const anyone = random.pick([OWNER, REPORTER, account(30)]);
        switch (random.below(5)) {
            case 0: {
                const amount = random.amount(10n * COIN);
                const result = await s.stake(amount, anyone, amount + MARGIN);
                const exit = this.slashed ? 306 : this.releaseAt !== 0 ? 303 : 0;
                if (exit === 0) this.held += amount;
                return [exit, result];
            }
            case 1: {
                const result = await s.send(anyone, wire.unbond());
                const refusal = this.held === 0n ? 302 : this.releaseAt !== 0 ? 303 : 0;
                const exit = anyone.equals(OWNER) ? refusal : 301;
                if (exit === 0) this.releaseAt = now + UNBONDING;
                return [exit, result];
            }
            case 2: {
                const result = await s.send(anyone, wire.withdraw());
                const exit = this.releaseAt === 0 ? 304 : now < this.releaseAt ? 305 : 0;
                if (exit === 0) [this.held, this.releaseAt] = [0n, 0];
                return [exit, result];
            }
            case 3: {
                // Receipts of an honest machine: other numbers, or one and the same.
                const sequence = BigInt(random.below(3));
                const second = random.once(2) ? receipt() : receipt({ sequence });
                return [315, await s.conflict(receipt(), second)];
            }
            default: {
                const lie = receipt({ charged: 1n + BigInt(random.below(100)) });
                const forged = random.once(4) ? undefined : receipt({}, OTHER);
                const result = await s.conflict(forged ?? receipt(), lie);
                if (forged) return [314, result];
                if (this.held === 0n) return [302, result];
                [this.held, this.releaseAt, this.slashed] = [0n, 0, true];
                return [0, result];
            }
        }
    }

    async step(): Promise<void> {
        const { s, random } = this;
        if (random.once(3)) s.world.advance(random.below(UNBONDING));
        const data = await s.world.dataOf(s.address);
        const [exit, result] = await this.act();
        assert.equal(result.exit, exit);
        if (exit !== 0) assert.ok((await s.world.dataOf(s.address)).equals(data));
        const state = await s.stored();
        assert.equal(state.staked, this.held);
        assert.equal(state.releaseAt, this.releaseAt);
        assert.equal(state.slashedAt !== 0, this.slashed);
        assert.ok(s.world.balance(s.address) >= state.staked, 'what is staked is there');
    }
}

describe('provider stake under random sequences', () => {
    let s: Staked;
    let moment: Moment;

    before(async () => {
        s = await staked(await World.create());
        moment = s.world.snapshot();
    });
    beforeEach(() => s.world.restore(moment));

    for (let seed = 1; seed <= SEQUENCES; seed += 1) {
        test(`holds_what_it_must_seed_${seed}`, async () => {
            const run = new Run(s, new Random(200 + seed));
            for (let step = 0; step < STEPS; step += 1) await run.step();
        });
    }
});
