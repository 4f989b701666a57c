// Compiles the Tolk contracts with the locked compiler. Without arguments it rewrites compiled/;
// with --check it compares and fails when the committed code is not what the sources give.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getTolkCompilerVersion, runTolkCompiler } from '@ton/tolk-js';

/** Those in `test/` are for the scenarios only. */
const CONTRACTS = [
    'channel',
    'jetton-channel',
    'registry',
    'stake',
    'test/jetton-minter',
    'test/jetton-wallet',
];
const room = join(dirname(fileURLToPath(import.meta.url)), '..');

async function compile(name: string): Promise<{ boc: Buffer; hash: string }> {
    const result = await runTolkCompiler({
        entrypointFileName: `${name}.tolk`,
        fsReadCallback: (path) => readFileSync(join(room, 'tolk', path), 'utf8'),
    });
    if (result.status === 'error') throw new Error(`${name}.tolk: ${result.message}`);
    if (result.stderr) process.stderr.write(result.stderr);
    return {
        boc: Buffer.from(result.codeBoc64, 'base64'),
        hash: result.codeHashHex.toLowerCase().padStart(64, '0'),
    };
}

function committed(path: string): string {
    return existsSync(path) ? readFileSync(path).toString('base64') : 'missing';
}

const checkOnly = process.argv.includes('--check');
let different = 0;
console.log(`tolk ${await getTolkCompilerVersion()}`);
for (const name of CONTRACTS) {
    const { boc, hash } = await compile(name);
    const outputs: [string, Buffer][] = [
        [join(room, 'compiled', `${name}.boc`), boc],
        [join(room, 'compiled', `${name}.hash`), Buffer.from(`${hash}\n`)],
    ];
    console.log(`${name}: ${boc.length} bytes, code hash ${hash}`);
    for (const [path, bytes] of outputs) {
        if (!checkOnly) {
            writeFileSync(path, bytes);
        } else if (committed(path) !== bytes.toString('base64')) {
            console.error(
                `${path} differs from what the sources compile to: run \`npm run compile\``,
            );
            different += 1;
        }
    }
}
if (different > 0) process.exitCode = 1;
