// PaymentChannel under random sequences of messages, beside a model of what it must do. After each
// message: the exit code and the state are the model's, and the invariants hold that no sequence of
// messages may break (docs/spec/channel.md, §4).
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { type Address, beginCell, Cell } from '@ton/core';
import { NETWORK_ID } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import { addressOf } from '../wrappers/code.ts';
import {
    CLAIM_GAS_BUDGET,
    type Deployed,
    FEE_VALUE,
    KEY,
    MARGIN,
    OTHER_KEY,
    PAYEE,
    PAYER,
    STRANGER,
    storageFee,
    terms,
    WINDOW,
} from './channel-stage.ts';
import { Random } from './random.ts';
import { account, COIN, type Moment, type Outcome, World } from './world.ts';

const SEQUENCES = 6;
const STEPS = 25;

/** What the contract must hold, computed without it. */
class Model {
    closeAt = wire.CLOSED;
    epoch = 0;
    deposited = 0n;
    claimed = 0n;
    lastRoot = 0n;

    topUp(now: number, amount: bigint, funded: boolean): number {
        if (this.closeAt !== wire.CLOSED && this.closeAt !== wire.OPEN) return 111;
        if (!funded) return 115;
        if (this.closeAt === wire.CLOSED) {
            this.closeAt = wire.OPEN;
            this.epoch = Math.max(now, this.epoch + 1);
            [this.deposited, this.claimed, this.lastRoot] = [0n, 0n, 0n];
        }
        this.deposited += amount;
        return 0;
    }

    /** The checks that a claim and a close by both share, in their order. */
    private refusal(p: Promise_, now: number): number {
        if (now >= this.closeAt) return this.closeAt === wire.CLOSED ? 110 : 112;
        if (!p.from.equals(PAYEE)) return 101;
        if (p.key !== KEY) return 103;
        if (p.voucher.network !== NETWORK_ID) return 105;
        if (!p.voucher.channel.equals(p.at)) return 106;
        if (p.voucher.epoch !== this.epoch) return 107;
        if (now > p.voucher.validUntil) return 108;
        return 0;
    }

    claim(p: Promise_, now: number): number {
        const refused = this.refusal(p, now);
        if (refused !== 0) return refused;
        const { cumulative, receiptsRoot } = p.voucher;
        if (cumulative < this.claimed) return 104;
        if (cumulative === this.claimed && receiptsRoot === this.lastRoot) return 104;
        if (cumulative > this.deposited) return 109;
        [this.claimed, this.lastRoot] = [cumulative, receiptsRoot];
        return 0;
    }

    coopClose(p: Promise_, now: number): number {
        const refused = this.refusal(p, now);
        if (refused !== 0) return refused;
        if (p.voucher.cumulative < this.claimed) return 104;
        if (p.voucher.cumulative > this.deposited) return 109;
        [this.claimed, this.lastRoot] = [p.voucher.cumulative, p.voucher.receiptsRoot];
        this.closeAt = wire.CLOSED;
        return 0;
    }

    startClose(from: Address, now: number): number {
        if (this.closeAt === wire.CLOSED) return 110;
        if (this.closeAt !== wire.OPEN) return 111;
        if (!from.equals(PAYER)) return 102;
        this.closeAt = now + WINDOW;
        return 0;
    }

    finishClose(now: number): number {
        if (this.closeAt === wire.CLOSED || this.closeAt === wire.OPEN) return 114;
        if (now < this.closeAt) return 113;
        this.closeAt = wire.CLOSED;
        return 0;
    }
}

interface Promise_ {
    at: Address;
    from: Address;
    key: typeof KEY;
    voucher: wire.Voucher;
}

class Run {
    readonly model = new Model();
    /** Everything that was promised, to be shown again later. */
    private readonly shown: Promise_[] = [];
    private readonly paid = new Map<number, bigint>();
    private deployed = false;

    constructor(
        private readonly d: Deployed,
        private readonly random: Random,
    ) {}

    private promise(): Promise_ {
        const { random, model } = this;
        const old = random.once(5) && this.shown.length > 0 ? random.pick(this.shown) : undefined;
        if (old) return old;
        const right: wire.Voucher = {
            network: NETWORK_ID,
            channel: this.d.address,
            epoch: model.epoch,
            cumulative: model.claimed + random.amount(model.deposited - model.claimed),
            receiptsRoot: BigInt(random.below(3)),
            validUntil: this.d.world.now + random.below(2 * WINDOW),
        };
        const wrong: Partial<wire.Voucher>[] = [
            { network: -239 },
            { channel: account(9) },
            { epoch: Math.max(0, model.epoch - 1) },
            { epoch: model.epoch + 1 },
            { validUntil: this.d.world.now - 1 },
            { cumulative: model.claimed - 1n < 0n ? 0n : model.claimed - 1n },
            { cumulative: model.claimed },
            { cumulative: model.deposited + 1n },
            { cumulative: model.deposited },
            { cumulative: 2n ** 120n - 1n },
        ];
        const made = {
            at: this.d.address,
            from: random.once(10) ? random.pick([PAYER, STRANGER]) : PAYEE,
            key: random.once(12) ? OTHER_KEY : KEY,
            voucher: random.once(3) ? { ...right, ...random.pick(wrong) } : right,
        };
        this.shown.push(made);
        return made;
    }

    private send(from: Address, body: Cell, value = FEE_VALUE): Promise<Outcome> {
        const { address, init } = this.d;
        const deploy = this.deployed ? {} : { init };
        return this.d.world.send({ from, to: address, value, body, ...deploy });
    }

    /** One message; the exit code that the model expects, and what came of it. */
    private async act(): Promise<[number, Outcome]> {
        const { random, model, d } = this;
        const now = d.world.now;
        const anyone = random.pick([PAYER, PAYEE, STRANGER]);
        switch (random.below(9)) {
            case 0:
            case 1: {
                const amount = random.amount(10n * COIN);
                const funded = !random.once(4);
                const value = funded ? amount + MARGIN : amount / 2n + 1_000_000n;
                // What the channel holds above its debts may cover what the message lacks.
                const debts = model.closeAt === wire.CLOSED ? 0n : model.deposited - model.claimed;
                const spare = d.world.balance(d.address) - debts;
                if (!funded && spare + value > amount) return this.act();
                const result = await this.send(anyone, wire.topUp(amount), value);
                return [model.topUp(now, amount, funded), result];
            }
            case 2:
            case 3:
            case 4: {
                const p = this.promise();
                const cell = wire.voucherCell(p.voucher);
                const result = await this.send(p.from, wire.claim(cell, p.key.secretKey));
                const before = model.claimed;
                const exit = model.claim(p, now);
                if (exit === 0) this.pay(result, model.claimed - before);
                return [exit, result];
            }
            case 5: {
                if (!random.once(3)) return this.act();
                const p = this.promise();
                const cell = wire.voucherCell(p.voucher, wire.CLOSE_TAG);
                const result = await this.send(p.from, wire.coopClose(cell, p.key.secretKey));
                const before = model.claimed;
                const exit = model.coopClose(p, now);
                if (exit === 0) this.pay(result, model.claimed - before);
                return [exit, result];
            }
            case 6: {
                const result = await this.send(anyone, wire.startClose());
                return [model.startClose(anyone, now), result];
            }
            case 7: {
                const result = await this.send(anyone, wire.finishClose());
                return [model.finishClose(now), result];
            }
            default: {
                const unknown = beginCell().storeUint(random.below(2 ** 31), 32).endCell();
                const body = random.once(2) ? Cell.EMPTY : unknown;
                return [body === unknown ? 0xffff : 0, await this.send(anyone, body)];
            }
        }
    }

    /** The payee got the increment, and of its own message's value at most all. */
    private pay(result: Outcome, increment: bigint): void {
        const [payout] = result.transactions[0]!.outMessages.values();
        assert.ok(payout?.info.type === 'internal' && payout.info.dest.equals(PAYEE));
        const value = payout.info.value.coins;
        assert.ok(value > increment && value < increment + FEE_VALUE);
        const { epoch } = this.model;
        this.paid.set(epoch, (this.paid.get(epoch) ?? 0n) + increment);
    }

    async step(): Promise<void> {
        const { d, model, random } = this;
        if (random.once(3)) d.world.advance(random.below(WINDOW));
        const stored = this.deployed ? await d.world.dataOf(d.address) : undefined;
        const [epoch, claimed, held] = [model.epoch, model.claimed, d.world.balance(d.address)];
        const [exit, result] = await this.act();
        assert.equal(result.exit, exit);
        if (exit !== 0) {
            // I8, I10: nothing changes, and the sender pays: the channel loses rent at most.
            if (stored) assert.ok((await d.world.dataOf(d.address)).equals(stored));
            const rent = storageFee(result);
            assert.ok(d.world.balance(d.address) >= held - rent);
            assert.ok(result.bounced || result.transactions[0]!.outMessages.size === 0);
            return;
        }
        this.deployed = true;
        const state = wire.parseChannel(await d.world.dataOf(d.address));
        assert.equal(state.closeAt, model.closeAt);
        assert.equal(state.epoch, model.epoch);
        assert.equal(state.deposited, model.deposited);
        assert.equal(state.claimed, model.claimed);
        assert.equal(state.lastRoot, model.lastRoot);
        // I1, I3, I7: within an epoch the total never falls, and each unit of it was paid once.
        assert.ok(state.claimed <= state.deposited);
        assert.ok(state.epoch > epoch || state.claimed >= claimed);
        assert.equal(this.paid.get(state.epoch) ?? 0n, state.claimed);
        // Solvent: what may still be claimed or returned is there.
        if (state.closeAt !== wire.CLOSED)
            assert.ok(d.world.balance(d.address) >= state.deposited - state.claimed);
        assert.ok(result.gas <= (model.closeAt === wire.CLOSED ? 7000n : CLAIM_GAS_BUDGET));
    }
}

for (const prices of ['before-2026', 'since-2026'] as const) {
    describe(`payment channel under random sequences, prices ${prices}`, () => {
        let world: World;
        let moment: Moment;

        before(async () => {
            world = await World.create(prices);
            moment = world.snapshot();
        });
        beforeEach(() => world.restore(moment));

        for (let seed = 1; seed <= SEQUENCES; seed += 1) {
            test(`no_sequence_of_messages_breaks_it_seed_${seed}`, async () => {
                const init = wire.channelInit(terms());
                const d = { world, address: addressOf(init), init };
                const run = new Run(d, new Random(2 * seed + (prices === 'since-2026' ? 1 : 0)));
                for (let step = 0; step < STEPS; step += 1) await run.step();
            });
        }
    });
}
