// The configuration of the emulated network: the emulator's built-in one under an id of its own,
// optionally with the lower prices of 2026.
import { beginCell, Cell, Dictionary, Slice } from '@ton/core';

/** Configuration parameter 19. No real network has it: nothing signed for it counts elsewhere. */
export const NETWORK_ID = -7357;

/**
 * `before-2026` is what the emulator ships. `since-2026` divides gas, forwarding and storage by
 * six: secondary reports only, no primary source was found, so it is an estimate.
 */
export type Prices = 'before-2026' | 'since-2026';
const CUT = 6n;

const STORAGE_PRICES = 18;
const NETWORK_ID_PARAMETER = 19;
const GAS_PRICES = [20, 21];
const FORWARD_PRICES = [24, 25];

export function networkConfig(builtIn: Cell, prices: Prices): Cell {
    const keys = Dictionary.Keys.Int(32);
    const config = Dictionary.loadDirect(keys, Dictionary.Values.Cell(), builtIn);
    config.set(NETWORK_ID_PARAMETER, beginCell().storeInt(NETWORK_ID, 32).endCell());
    if (prices === 'since-2026') {
        for (const index of GAS_PRICES) config.set(index, cheaperGas(parameter(config, index)));
        for (const index of FORWARD_PRICES)
            config.set(index, cheaperForwarding(parameter(config, index)));
        config.set(STORAGE_PRICES, cheaperStorage(parameter(config, STORAGE_PRICES)));
    }
    return beginCell().storeDictDirect(config, keys, Dictionary.Values.Cell()).endCell();
}

function parameter(config: Dictionary<number, Cell>, index: number): Slice {
    const cell = config.get(index);
    if (!cell) throw new Error(`the built-in configuration has no parameter ${index}`);
    return cell.beginParse();
}

function cut(price: bigint): bigint {
    return price / CUT > 0n ? price / CUT : price;
}

function cheaperGas(old: Slice): Cell {
    return beginCell()
        .storeUint(old.loadUint(8), 8)
        .storeUint(old.loadUintBig(64), 64) // flat limit, gas
        .storeUint(cut(old.loadUintBig(64)), 64) // flat price
        .storeUint(old.loadUint(8), 8)
        .storeUint(cut(old.loadUintBig(64)), 64) // price of gas
        .storeSlice(old)
        .endCell();
}

function cheaperForwarding(old: Slice): Cell {
    const cheaper = beginCell().storeUint(old.loadUint(8), 8);
    // Lump, bit, cell.
    for (let price = 0; price < 3; price += 1) cheaper.storeUint(cut(old.loadUintBig(64)), 64);
    return cheaper.storeSlice(old).endCell();
}

function cheaperStorage(old: Slice): Cell {
    const keys = Dictionary.Keys.Uint(32);
    const values = Dictionary.Values.BitString(8 + 32 + 4 * 64);
    const periods = Dictionary.loadDirect(keys, values, old);
    for (const [since, bits] of periods) {
        const period = beginCell().storeBits(bits).endCell().beginParse();
        const cheaper = beginCell()
            .storeUint(period.loadUint(8), 8)
            .storeUint(period.loadUint(32), 32);
        for (let price = 0; price < 4; price += 1)
            cheaper.storeUint(cut(period.loadUintBig(64)), 64);
        periods.set(since, cheaper.endCell().bits);
    }
    return beginCell().storeDictDirect(periods, keys, values).endCell();
}
