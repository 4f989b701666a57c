// The program: `start [--port N] [--now UNIX] [--prices before-2026|since-2026]`.
// Prints one line `ready http://127.0.0.1:PORT` and runs until SIGTERM or SIGINT.
import { parseArgs } from 'node:util';
import type { AddressInfo } from 'node:net';
import { Chain } from './chain.ts';
import type { Prices } from './chain-config.ts';
import { serve } from './server.ts';

const { values } = parseArgs({
    options: {
        port: { type: 'string', default: '0' },
        now: { type: 'string', default: String(Math.floor(Date.now() / 1000)) },
        prices: { type: 'string', default: 'before-2026' },
    },
});
const port = whole('port', values.port, 65535);
const now = whole('now', values.now, 0xffffffff);
if (values.prices !== 'before-2026' && values.prices !== 'since-2026') {
    fail('--prices is before-2026 or since-2026');
}

const chain = await Chain.start(now, values.prices as Prices);
const server = serve(chain);
server.listen(port, '127.0.0.1', () => {
    console.log(`ready http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
        server.close(() => process.exit(0));
        server.closeAllConnections();
    });
}

function whole(name: string, text: string, most: number): number {
    const value = Number(text);
    if (!/^[0-9]+$/.test(text) || value > most) fail(`--${name} is a whole number up to ${most}`);
    return value;
}

function fail(text: string): never {
    console.error(`ton-testnode: ${text}`);
    process.exit(2);
}
