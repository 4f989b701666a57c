// Records what the scenarios' contracts did, for another virtual machine to do again: each account
// before and after a transaction, and the transaction. Nothing is recorded unless COCOON_TRACES
// names a folder.
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beginCell, Cell, Dictionary } from '@ton/core';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';

export interface Trace {
    prices: Prices;
    before: Cell; // the shard's record of the account
    transaction: Cell;
    after: Cell;
}

const folder = process.env['COCOON_TRACES'];
const traces = new Map<string, Trace>();
const configs = new Map<Prices, Cell>();

export const TRACE_VALUES = Dictionary.Values.Cell();
export const TRACE_KEYS = Dictionary.Keys.Uint(32);

export function traceCell(trace: Trace): Cell {
    return beginCell()
        .storeBit(trace.prices === 'since-2026')
        .storeRef(trace.before)
        .storeRef(trace.transaction)
        .storeRef(trace.after)
        .endCell();
}

export function record(config: Cell, trace: Trace): void {
    if (!folder) return;
    configs.set(trace.prices, config);
    const key = trace.before.hash().toString('hex') + trace.transaction.hash().toString('hex');
    traces.set(key, trace);
}

/** One root over numbered traces and the configurations that they ran under. */
export function bagOf(all: Cell[], of: Map<Prices, Cell>): Cell {
    const list = Dictionary.empty(TRACE_KEYS, TRACE_VALUES);
    for (const [number, trace] of all.entries()) list.set(number, trace);
    return beginCell()
        .storeDict(list)
        .storeMaybeRef(of.get('before-2026'))
        .storeMaybeRef(of.get('since-2026'))
        .endCell();
}

if (folder) {
    process.on('exit', () => {
        if (traces.size === 0) return;
        const root = bagOf([...traces.values()].map(traceCell), configs);
        const name = basename(process.argv[1] ?? 'traces').replace(/\.ts$/, '');
        writeFileSync(join(folder, `${name}.boc`), root.toBoc());
    });
}
