// The stage of the scenarios of ProviderStake: a stake, a registry, a machine that signs receipts.
import assert from 'node:assert/strict';
import type { Address, Cell } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { NETWORK_ID } from '../../tests/ton-testnode/src/chain-config.ts';
import { addressOf } from '../wrappers/code.ts';
import { type Receipt, signReceipt } from '../wrappers/receipt.ts';
import * as wire from '../wrappers/stake.ts';
import { deploy, type Registry } from './registry-stage.ts';
import { account, COIN, type Outcome, type World } from './world.ts';

export const OWNER = account(5);
export const SINK = account(6);
export const REPORTER = account(7);
export const PROVIDER = keyPairFromSeed(Buffer.alloc(32, 11));
export const MACHINE = keyPairFromSeed(Buffer.alloc(32, 12));
export const OTHER = keyPairFromSeed(Buffer.alloc(32, 13));
export const UNBONDING = 14 * 86_400;
export const GRACE = 3600;
export const AMOUNT = 100n * COIN;
export const MARGIN = COIN / 5n;
export const IMAGE = 0xabcdn;

export const RECEIPT: Receipt = {
    network: NETWORK_ID,
    statement: Buffer.alloc(32, 1),
    bootId: Buffer.alloc(32, 2),
    class: 2,
    beacon: Buffer.alloc(32, 3),
    request: Buffer.alloc(32, 4),
    response: Buffer.alloc(32, 5),
    model: Buffer.alloc(32, 6),
    image: [0, 1, 0],
    temperatureMilli: 700,
    topPMilli: 1000,
    topK: 0,
    minPMilli: 0,
    presenceMilli: 0,
    frequencyMilli: 0,
    seed: 7n,
    maxTokens: 100,
    tokens: [10, 0, 20],
    prices: [20n, 2n, 160n],
    charged: 3400n,
    finish: 1,
    channel: account(40),
    epoch: 1_795_000_000,
    sequence: 9n,
    previous: Buffer.alloc(32, 8),
    hostTime: 1_795_000_100n,
};

export function receipt(changes: Partial<Receipt> = {}, key = MACHINE): Cell {
    return wire.signedReceipt(signReceipt({ ...RECEIPT, ...changes }, key.secretKey));
}

export class Staked {
    constructor(
        readonly registry: Registry,
        readonly address: Address,
        readonly init: ReturnType<typeof wire.stakeInit>,
    ) {}

    get world(): World {
        return this.registry.world;
    }

    send(from: Address, body: Cell, value = MARGIN): Promise<Outcome> {
        const { init } = this;
        return this.world.send({ from, to: this.address, value, body, init });
    }

    stake(amount: bigint, from = OWNER, value = amount + MARGIN): Promise<Outcome> {
        return this.send(from, wire.stake(amount), value);
    }

    async stored(): Promise<wire.StoredStake> {
        return wire.parseStake(await this.world.dataOf(this.address));
    }

    binding(changes: Partial<wire.Binding> = {}, key = PROVIDER): Cell {
        const binding = wire.bindingCell({
            network: NETWORK_ID,
            stake: this.address,
            receiptKey: MACHINE.publicKey,
            measurement: IMAGE,
            ...changes,
        });
        return wire.signedBinding(binding, key.secretKey);
    }

    conflict(first: Cell, second: Cell, binding = this.binding()): Promise<Outcome> {
        return this.send(REPORTER, wire.conflict(binding, first, second), COIN / 10n);
    }

    /** Refused with this code: the state is untouched and the value returns to the sender. */
    async refused(code: number, act: () => Promise<Outcome>): Promise<void> {
        const data = await this.world.dataOf(this.address);
        const result = await act();
        assert.equal(result.exit, code);
        assert.ok(result.bounced, 'the value came back');
        assert.ok((await this.world.dataOf(this.address)).equals(data), 'the state is untouched');
    }
}

export function terms(registry: Address, changes: Partial<wire.StakeTerms> = {}): wire.StakeTerms {
    return {
        owner: OWNER,
        registry,
        sink: SINK,
        providerKey: PROVIDER.publicKey,
        unbonding: UNBONDING,
        grace: GRACE,
        ...changes,
    };
}

export async function staked(world: World): Promise<Staked> {
    const registry = await deploy(world);
    const init = wire.stakeInit(terms(registry.address));
    const it = new Staked(registry, addressOf(init), init);
    assert.equal((await it.stake(AMOUNT)).exit, 0);
    return it;
}
