// Runs every scenario, with what its contracts did recorded, and writes it all as one bag of cells,
// tests/fixtures/traces/scenarios.boc, which contracts/tests/two_machines.rs does again in another
// virtual machine. Run it after a change of a contract or a scenario.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cell } from '@ton/core';
import { bagOf, TRACE_KEYS, TRACE_VALUES } from '../scenarios/recording.ts';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';

const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = mkdtempSync(join(tmpdir(), 'traces-'));
try {
    const scenarios = readdirSync(join(room, 'scenarios'))
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => join('scenarios', name));
    const ran = spawnSync('npx', ['tsx', '--test', ...scenarios], {
        cwd: room,
        env: { ...process.env, COCOON_TRACES: folder },
        stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (ran.status !== 0) throw new Error('a scenario failed: npm test says which');
    const all: Cell[] = [];
    const configs = new Map<Prices, Cell>();
    for (const name of readdirSync(folder).sort()) {
        const [root] = Cell.fromBoc(readFileSync(join(folder, name)));
        const slice = root!.beginParse();
        for (const [, trace] of slice.loadDict(TRACE_KEYS, TRACE_VALUES)) all.push(trace);
        for (const prices of ['before-2026', 'since-2026'] as const) {
            const config = slice.loadMaybeRef();
            if (config) configs.set(prices, config);
        }
    }
    const bag = bagOf(all, configs).toBoc();
    writeFileSync(join(room, '../tests/fixtures/traces/scenarios.boc'), bag);
    console.log(`${all.length} transactions, ${bag.length} bytes`);
} finally {
    rmSync(folder, { recursive: true });
}
