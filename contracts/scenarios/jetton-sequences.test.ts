// PaymentChannel in a jetton under random sequences of messages, with an issuer that locks and
// frees its wallet, beside a model of what it must do. After each: exit code, state and jettons are
// the model's, and nothing promised is missing (docs/spec/jetton-channel.md, §5).
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { type Address, beginCell, Cell } from '@ton/core';
import { NETWORK_ID } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import * as tep from '../wrappers/jetton.ts';
import * as jettons from '../wrappers/jetton-channel.ts';
import { KEY, OTHER_KEY, PAYEE, PAYER, STRANGER, storageFee, WINDOW } from './channel-stage.ts';
import {
    DAY,
    type Deployed,
    FREE,
    Jetton,
    MINTED,
    ready,
    SENDS_NOTHING,
    sendBody,
    stored,
    UNIT,
    VALUE,
} from './jetton-stage.ts';
import { Random } from './random.ts';
import { account, type Moment, type Outcome, World } from './world.ts';

const SEQUENCES = 6;
const STEPS = 25;
/** Too little for a transfer of jettons, enough for the channel's own gas. */
const LITTLE = 5_900_000n;

/** What the contract must hold, computed without it. */
class Model {
    closeAt = wire.CLOSED;
    epoch = 0;
    deposited = 0n;
    claimed = 0n;
    lastRoot = 0n;
    duePayee = 0n;
    duePayer = 0n;
    sweepAfter = 0;
    openAfter = 0;
    locked = false;
    /** In the channel's wallet, counted or not. */
    held = 0n;
    readonly paid = { payee: 0n, payer: 0n };

    /** Whether it was counted; what was not came back. */
    deposit(now: number, amount: bigint): boolean {
        const quiet = this.closeAt === wire.CLOSED && now < this.openAfter;
        if (quiet || (this.closeAt !== wire.CLOSED && this.closeAt !== wire.OPEN)) {
            // A locked wallet does not send it back.
            if (this.locked) this.held += amount;
            return false;
        }
        if (this.closeAt === wire.CLOSED) {
            this.closeAt = wire.OPEN;
            this.epoch = Math.max(now, this.epoch + 1);
            [this.deposited, this.claimed, this.lastRoot] = [0n, 0n, 0n];
        }
        this.deposited += amount;
        this.held += amount;
        return true;
    }

    private pay(payee: bigint, payer: bigint): void {
        if (this.locked) {
            this.duePayee += payee;
            this.duePayer += payer;
            return;
        }
        this.held -= payee + payer;
        this.paid.payee += payee;
        this.paid.payer += payer;
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

    claim(p: Promise_, now: number, value: bigint): number {
        const refused = this.refusal(p, now);
        if (refused !== 0) return refused;
        const { cumulative, receiptsRoot } = p.voucher;
        if (cumulative < this.claimed) return 104;
        if (cumulative === this.claimed && receiptsRoot === this.lastRoot) return 104;
        if (cumulative > this.deposited) return 109;
        const amount = cumulative - this.claimed + this.duePayee;
        if (amount > 0n && value < VALUE) return 119;
        [this.claimed, this.lastRoot, this.duePayee] = [cumulative, receiptsRoot, 0n];
        this.pay(amount, 0n);
        return 0;
    }

    coopClose(p: Promise_, now: number): number {
        const refused = this.refusal(p, now);
        if (refused !== 0) return refused;
        const { cumulative, receiptsRoot } = p.voucher;
        if (cumulative < this.claimed) return 104;
        if (cumulative > this.deposited) return 109;
        const payee = cumulative - this.claimed + this.duePayee;
        const payer = this.deposited - cumulative + this.duePayer;
        [this.claimed, this.lastRoot] = [cumulative, receiptsRoot];
        this.closed(now);
        this.duePayee = 0n;
        this.pay(payee, payer);
        return 0;
    }

    private closed(now: number): void {
        this.closeAt = wire.CLOSED;
        this.sweepAfter = now + DAY;
        this.duePayer = 0n;
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
        const payer = this.deposited - this.claimed + this.duePayer;
        this.closed(now);
        this.pay(0n, payer);
        return 0;
    }

    resend(to: 'payee' | 'payer', value: bigint, now: number): number {
        const amount = to === 'payee' ? this.duePayee : this.duePayer;
        if (amount === 0n) return 122;
        if (value < VALUE) return 119;
        this.sweepAfter = now + DAY;
        if (to === 'payee') this.duePayee = 0n;
        else this.duePayer = 0n;
        this.pay(to === 'payee' ? amount : 0n, to === 'payer' ? amount : 0n);
        return 0;
    }

    sweep(from: Address, amount: bigint, now: number): number {
        if (!from.equals(PAYER)) return 102;
        const owing = this.closeAt !== wire.CLOSED || this.duePayee + this.duePayer > 0n;
        if (owing || now < this.sweepAfter) return 123;
        this.openAfter = now + DAY;
        if (this.locked || amount > this.held) return 0;
        this.held -= amount;
        this.paid.payer += amount;
        return 0;
    }

    /** What the channel owes, to whomever. */
    get owed(): bigint {
        const open = this.closeAt === wire.CLOSED ? 0n : this.deposited - this.claimed;
        return open + this.duePayee + this.duePayer;
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
    private spent = 0n;

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

    private async deposit(): Promise<[number, Outcome]> {
        const { random, model, d } = this;
        const from = random.pick([PAYER, STRANGER]);
        const amount = random.amount(10n * UNIT);
        const steps = await d.jetton.transfer(d.address, amount, { from });
        const counted = model.deposit(d.world.now, amount);
        const stays = counted || model.locked;
        if (from.equals(PAYER) && stays) this.spent += amount;
        return [0, steps.at(d.address)[0]!];
    }

    /** Messages that pretend: of wallets, of the minter, of nothing that is known. */
    private async pretend(): Promise<[number, Outcome]> {
        const { random, d } = this;
        const from = random.pick([PAYER, PAYEE, STRANGER]);
        const say = (body: Cell) => sendBody(d, body, from);
        switch (random.below(4)) {
            case 0:
                return [0, await say(tep.jettonNotification(random.amount(10n * UNIT), from))];
            case 1:
                return [120, await say(tep.takeWallet(from))];
            case 2:
                return [121, await say(jettons.discover())];
            default: {
                const unknown = beginCell().storeUint(random.below(2 ** 31), 32).endCell();
                const body = random.once(2) ? Cell.EMPTY : unknown;
                return [body === unknown ? 0xffff : 0, await say(body)];
            }
        }
    }

    /** One message; the exit code that the model expects, and what came of it. */
    private async act(): Promise<[number, Outcome]> {
        const { random, model, d } = this;
        const now = d.world.now;
        const anyone = random.pick([PAYER, PAYEE, STRANGER]);
        const value = random.once(8) ? LITTLE : VALUE;
        switch (random.below(13)) {
            case 0:
            case 1:
                return this.deposit();
            case 2:
            case 3:
            case 4:
            case 5: {
                const p = this.promise();
                const body = wire.claim(wire.voucherCell(p.voucher), p.key.secretKey);
                return [model.claim(p, now, value), await sendBody(d, body, p.from, value)];
            }
            case 6: {
                if (!random.once(3)) return this.act();
                const p = this.promise();
                const cell = wire.voucherCell(p.voucher, wire.CLOSE_TAG);
                const body = wire.coopClose(cell, p.key.secretKey);
                return [model.coopClose(p, now), await sendBody(d, body, p.from)];
            }
            case 7: {
                const exit = model.startClose(anyone, now);
                return [exit, await sendBody(d, wire.startClose(), anyone)];
            }
            case 8: {
                const exit = model.finishClose(now);
                return [exit, await sendBody(d, wire.finishClose(), anyone)];
            }
            case 9: {
                const to = random.pick(['payee', 'payer'] as const);
                const exit = model.resend(to, value, now);
                return [exit, await sendBody(d, jettons.resend(to), anyone, value)];
            }
            case 10: {
                const surplus = model.held - model.owed;
                const amount = random.once(4) ? model.held + 1n : random.amount(surplus);
                const exit = model.sweep(anyone, amount, now);
                return [exit, await sendBody(d, jettons.sweep(d.wallet, amount), anyone)];
            }
            case 11: {
                model.locked = !model.locked && random.once(2);
                await d.jetton.lock(d.address, model.locked ? SENDS_NOTHING : FREE);
                return this.act();
            }
            default:
                return this.pretend();
        }
    }

    async step(): Promise<void> {
        const { d, model, random } = this;
        if (random.once(3)) d.world.advance(random.below(random.once(4) ? 2 * DAY : WINDOW));
        const before = await d.world.dataOf(d.address);
        const [epoch, claimed, held] = [model.epoch, model.claimed, d.world.balance(d.address)];
        const [exit, result] = await this.act();
        assert.equal(result.exit, exit);
        if (exit !== 0) {
            // I8, I10: nothing changes, and the sender pays: the channel loses rent at most.
            assert.ok((await d.world.dataOf(d.address)).equals(before));
            assert.ok(d.world.balance(d.address) >= held - storageFee(result));
            assert.ok(result.bounced);
        }
        const { wallet, terms, ...state } = await stored(d);
        const { closeAt, deposited, lastRoot, duePayee, duePayer } = model;
        const { sweepAfter, openAfter } = model;
        const dues = { duePayee, duePayer, sweepAfter, openAfter };
        const { epoch: nowEpoch, claimed: nowClaimed } = model;
        const wanted = { claimed: nowClaimed, lastRoot, closeAt, deposited, epoch: nowEpoch };
        assert.deepEqual(state, { ...wanted, ...dues });
        assert.ok(wallet?.equals(d.wallet) && terms.minter.equals(d.jetton.minter));
        // I1, I3, I7: within an epoch the total never falls and is at most what was deposited.
        assert.ok(state.claimed <= state.deposited);
        assert.ok(state.epoch > epoch || state.claimed >= claimed);
        // To the last jetton: who got what, and all that is owed is there.
        assert.equal(await d.jetton.of(d.address), model.held);
        assert.equal(await d.jetton.of(PAYEE), model.paid.payee);
        assert.equal(await d.jetton.of(PAYER), MINTED - this.spent + model.paid.payer);
        assert.ok(model.held >= model.owed);
    }
}

for (const prices of ['before-2026', 'since-2026'] as const) {
    describe(`payment channel in a jetton under random sequences, prices ${prices}`, () => {
        let d: Deployed;
        let moment: Moment;

        before(async () => {
            const jetton = new Jetton(await World.create(prices));
            for (const owner of [PAYER, STRANGER]) await jetton.mint(owner, MINTED);
            d = await ready(jetton);
            moment = d.world.snapshot();
        });
        beforeEach(() => d.world.restore(moment));

        for (let seed = 1; seed <= SEQUENCES; seed += 1) {
            test(`no_sequence_of_messages_breaks_it_seed_${seed}`, async () => {
                const run = new Run(d, new Random(2 * seed + (prices === 'since-2026' ? 1 : 0)));
                for (let step = 0; step < STEPS; step += 1) await run.step();
            });
        }
    });
}
