// Registry under random sequences of changes, beside a model of what it must list, and with the log
// followed from the beginning to the head after each sequence.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import type { Address, Cell } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/registry.ts';
import { Random } from './random.ts';
import { ADDER, DELAY, deploy, REVOKER, type Registry, STRANGER } from './registry-stage.ts';
import { account, type Moment, World } from './world.ts';

const SEQUENCES = 4;
const STEPS = 20;
const GETTERS = ['measurement', 'model', 'release', 'provider'];
const NEXT = account(4);

class Run {
    private readonly entries = new Map<string, [number, number]>();
    private readonly bodies: Cell[] = [];
    private readonly holders: [Address, Address] = [ADDER, REVOKER];
    private readonly offers: ({ to: Address; from: number } | undefined)[] = [undefined, undefined];

    constructor(
        private readonly r: Registry,
        private readonly random: Random,
    ) {}

    private anyone(role: number): Address {
        const others = [ADDER, REVOKER, STRANGER, NEXT];
        return this.random.once(4) ? this.random.pick(others) : this.holders[role]!;
    }

    private async change(from: Address, body: Cell, exit: number): Promise<boolean> {
        const result = await this.r.send(from, body);
        assert.equal(result.exit, exit);
        for (const message of result.transactions[0]!.outMessages.values())
            if (message.info.type === 'external-out') this.bodies.push(message.body);
        return exit === 0;
    }

    private async add(kind: number, key: bigint): Promise<void> {
        const from = this.anyone(wire.ADDER);
        const known = this.entries.get(`${kind} ${key}`);
        const listed = known !== undefined && known[1] === 0;
        const exit = !from.equals(this.holders[0]) ? 201 : listed ? 203 : 0;
        // I13: what was revoked waits the full delay again.
        if (await this.change(from, wire.add(kind, key), exit))
            this.entries.set(`${kind} ${key}`, [this.r.world.now + DELAY, 0]);
    }

    private async revoke(kind: number, key: bigint): Promise<void> {
        const from = this.anyone(wire.REVOKER);
        const known = this.entries.get(`${kind} ${key}`);
        const refusal = !known ? 204 : known[1] !== 0 ? 205 : 0;
        const exit = !from.equals(this.holders[1]) ? 202 : refusal;
        if (await this.change(from, wire.revoke(kind, key), exit))
            this.entries.set(`${kind} ${key}`, [known![0], this.r.world.now]);
    }

    private async handOver(role: number): Promise<void> {
        const offered = this.offers[role];
        const now = this.r.world.now;
        if (this.random.once(2)) {
            const from = this.anyone(role);
            const exit = from.equals(this.holders[role]!) ? 0 : 210;
            const to = this.random.pick([NEXT, STRANGER, ADDER, REVOKER]);
            if (await this.change(from, wire.offer(role, to), exit))
                this.offers[role] = { to, from: now + DELAY };
            return;
        }
        const from = offered && !this.random.once(4) ? offered.to : STRANGER;
        const wrong = !offered ? 214 : !from.equals(offered.to) ? 211 : 0;
        const exit = wrong !== 0 ? wrong : now < offered!.from ? 212 : 0;
        if (await this.change(from, wire.accept(role), exit)) {
            this.holders[role] = from;
            this.offers[role] = undefined;
        }
    }

    private async veto(role: number): Promise<void> {
        const from = this.anyone(wire.REVOKER);
        const pending = this.offers[role] !== undefined;
        const exit = !from.equals(this.holders[1]) ? 202 : pending ? 0 : 214;
        if (await this.change(from, wire.veto(role), exit)) this.offers[role] = undefined;
    }

    async step(): Promise<void> {
        const { random } = this;
        this.r.world.advance(random.below(DELAY));
        const [kind, key] = [random.below(4), BigInt(random.below(3))];
        const role = random.below(2);
        const acts = [
            () => this.add(kind, key),
            () => this.add(kind, key),
            () => this.revoke(kind, key),
            () => this.revoke(kind, key),
            () => this.handOver(role),
            () => this.handOver(role),
            () => this.veto(role),
        ];
        await random.pick(acts)();
        const shown = await this.r.entry(GETTERS[kind]!, key);
        assert.deepEqual(shown, this.entries.get(`${kind} ${key}`) ?? [0, 0]);
        assert.equal((await this.r.log()).version, this.bodies.length);
    }

    async end(): Promise<void> {
        wire.followLog(this.bodies, await this.r.log());
    }
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`registry under random sequences, prices ${prices}`, () => {
        let r: Registry;
        let moment: Moment;

        before(async () => {
            r = await deploy(await World.create(prices));
            moment = r.world.snapshot();
        });
        beforeEach(() => r.world.restore(moment));

        for (let seed = 1; seed <= SEQUENCES; seed += 1) {
            test(`lists_what_it_must_and_logs_it_seed_${seed}`, async () => {
                const run = new Run(r, new Random(100 + seed + (prices === 'since-2026' ? 50 : 0)));
                for (let step = 0; step < STEPS; step += 1) await run.step();
                await run.end();
            });
        }
    });
}
