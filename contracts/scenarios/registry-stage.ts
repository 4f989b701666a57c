// The stage of the scenarios of the Registry: one deployed, and what its parties may send.
import assert from 'node:assert/strict';
import type { Address, Cell } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import { addressOf } from '../wrappers/code.ts';
import { registryInit } from '../wrappers/registry.ts';
import { account, COIN, type Outcome, type World } from './world.ts';

export const ADDER = account(1);
export const REVOKER = account(2);
export const STRANGER = account(3);
export const DELAY = 86_400;
export const VALUE = COIN / 5n;

/** What an entry's rent, a change, and the rent of one cell of details cost, to the nano unit. */
export function needs(prices: Prices): { rent: bigint; change: bigint; detailed: bigint } {
    const old = prices === 'before-2026';
    const [cellPrice, flat, gasPrice] = old
        ? [500n, 40_000n, 26_214_400n]
        : [83n, 6_666n, 4_369_066n];
    const [lump, bit, cell] = old
        ? [400_000n, 26_214_400n, 2_621_440_000n]
        : [66_666n, 4_369_066n, 436_906_666n];
    const up = (x: bigint) => (x + 65_535n) >> 16n;
    const years = 5n * 365n * 86_400n;
    return {
        rent: up((800n + 3n * cellPrice) * years),
        detailed: up((1823n + 4n * cellPrice) * years),
        change: flat + up((30_000n - 100n) * gasPrice) + lump + up(2000n * bit + 5n * cell),
    };
}

export class Registry {
    constructor(
        readonly world: World,
        readonly address: Address,
    ) {}

    send(from: Address, body: Cell, value = VALUE): Promise<Outcome> {
        return this.world.send({ from, to: this.address, value, body });
    }

    async get(getter: string, stack: bigint[] = []) {
        const items = stack.map((value) => ({ type: 'int' as const, value }));
        return (await this.world.chain.runGetMethod(this.address, getter, items)).stackReader;
    }

    async number(getter: string): Promise<number> {
        return (await this.get(getter)).readNumber();
    }

    async entry(getter: string, key: bigint): Promise<[number, number]> {
        const stack = await this.get(getter, [key]);
        return [stack.readNumber(), stack.readNumber()];
    }

    async log(): Promise<{ version: number; head: bigint }> {
        const stack = await this.get('log');
        return { version: stack.readNumber(), head: stack.readBigNumber() };
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

export async function deploy(world: World): Promise<Registry> {
    const init = registryInit({ adder: ADDER, revoker: REVOKER, delay: DELAY });
    const address = addressOf(init);
    const result = await world.send({ from: STRANGER, to: address, value: COIN / 5n, init });
    assert.equal(result.exit, 0);
    return new Registry(world, address);
}
