// Changes the contracts' sources one place at a time (a check, a comparison, a sign, a mode, what
// is saved, who is paid) and sees who notices. Every mutant does every recorded transaction again
// in the Rust machine (examples/mutants.rs, fast); of a sample, the scenarios themselves run until
// one fails (slow). Not part of ci/test. Writes mutants.json: how many were caught, and each that
// was not.
//
//     npm run mutants [-- --scenarios N]           N of each contract by the scenarios as well
//     npm run mutants -- --only CONTRACT           that one; the others' results stay
import { spawn, spawnSync } from 'node:child_process';
import {
    cpSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTolkCompiler } from '@ton/tolk-js';

const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const RESULT = join(room, 'mutants.json');
/** The scenarios of each contract, those first that find most. */
const SCENARIOS: Record<string, string[]> = {
    channel: ['channel', 'coop-close', 'sequences', 'amounts'],
    'jetton-channel': [
        'jetton-hostile',
        'jetton-channel',
        'jetton-coop-close',
        'jetton-sequences',
        'jetton-amounts',
    ],
    registry: ['registry-log', 'registry', 'registry-sequences'],
    stake: ['stake', 'stake-late'],
};
/** Sources that contracts share are changed in each of them. */
const SHARED: Record<string, string[]> = {
    channel: ['agreement'],
    'jetton-channel': ['agreement'],
};
const MINUTES_PER_MUTANT = 5;

interface Mutant {
    contract: string;
    number: number;
    code: Buffer;
    hash: string;
    source: string;
    line: number;
    was: string;
    is: string;
}

interface Change {
    find: RegExp;
    put: string;
}

const CHANGES: Change[] = [
    { find: /assert \([^;]*?\)\s+throw [^;]+;/gs, put: '' },
    { find: / >= /g, put: ' > ' },
    { find: / <= /g, put: ' < ' },
    { find: / < /g, put: ' <= ' },
    { find: / > /g, put: ' >= ' },
    { find: / == /g, put: ' != ' },
    { find: / != /g, put: ' == ' },
    { find: / && /g, put: ' || ' },
    { find: / \|\| /g, put: ' && ' },
    { find: / \+ /g, put: ' - ' },
    { find: / - /g, put: ' + ' },
    { find: / \+= /g, put: ' -= ' },
    { find: /SEND_MODE_CARRY_ALL_REMAINING_MESSAGE_VALUE/g, put: 'SEND_MODE_REGULAR' },
    { find: /SEND_MODE_CARRY_ALL_BALANCE/g, put: 'SEND_MODE_CARRY_ALL_REMAINING_MESSAGE_VALUE' },
    { find: /SEND_MODE_REGULAR(?= \| SEND_MODE_BOUNCE)/g, put: 'SEND_MODE_PAY_FEES_SEPARATELY' },
    { find: / \| SEND_MODE_BOUNCE_ON_ACTION_FAIL/g, put: '' },
    { find: /BounceMode\.NoBounce/g, put: 'BounceMode.Only256BitsOfBody' },
    { find: /BounceMode\.Only256BitsOfBody/g, put: 'BounceMode.NoBounce' },
    { find: /RESERVE_MODE_INCREASE_BY_ORIGINAL_BALANCE/g, put: 'RESERVE_MODE_EXACT_AMOUNT' },
    { find: /^ +(storage|self|lists|entries)\.(save|replace|set|slash|commit)\(.*\);$/gm, put: '' },
    { find: /^ +storage\.(open|beginWindow|endWindow)\(.*\);$/gm, put: '' },
    { find: /^ +\w+(\.parties\.load\(\))?\.check\w*\(.*\);$/gm, put: '' },
    { find: /^ +(storage|self|role|entry|prices|jetton)\.\w+ [-+]?= [^;]+;$/gm, put: '' },
    { find: /dest: parties\.payee/g, put: 'dest: parties.payer' },
    { find: /dest: parties\.payer/g, put: 'dest: parties.payee' },
    { find: /^ +parties\.payee,$/gm, put: 'parties.payer,' },
    { find: /^ +parties\.payer,$/gm, put: 'parties.payee,' },
    { find: /\.load\(\)\.payer/g, put: '.load().payee' },
    { find: /parties\.payee : parties\.payer/g, put: 'parties.payer : parties.payee' },
    { find: /jetton\.duePayee : jetton\.duePayer/g, put: 'jetton.duePayer : jetton.duePayee' },
    { find: /Purpose\.Payout : Purpose\.Refund/g, put: 'Purpose.Refund : Purpose.Payout' },
    { find: /Purpose\.Payout/g, put: 'Purpose.Refund' },
    { find: /Purpose\.Refund/g, put: 'Purpose.Surplus' },
    { find: /Purpose\.Surplus/g, put: 'Purpose.Payout' },
    { find: /responseDestination: leftover/g, put: 'responseDestination: contract.getAddress()' },
    { find: /\{ assertEndAfterReading: false \}/g, put: '{}' },
    { find: /\.load\(\)\.sink/g, put: '.load().owner' },
    { find: /\.load\(\)\.owner/g, put: '.load().sink' },
    { find: /adder\.load\(\)/g, put: 'revoker.load()' },
    { find: /revoker\.load\(\)/g, put: 'adder.load()' },
    { find: /dest: sender/g, put: 'dest: contract.getAddress()' },
];

type Place = Pick<Mutant, 'source' | 'line' | 'was' | 'is'>;

/** Each place that can be changed, with the whole source after the change. */
function placesOf(name: string): [Place, string][] {
    const source = readFileSync(join(room, 'tolk', name), 'utf8');
    const found: [Place, string][] = [];
    const code = source.indexOf('\nenum '); // imports, constants of size and gas stay as they are
    for (const { find, put } of CHANGES) {
        for (const hit of source.matchAll(find)) {
            const lineStart = source.lastIndexOf('\n', hit.index) + 1;
            const comment = source.slice(lineStart, hit.index).includes('//');
            if (hit.index < code || comment) continue;
            const text = source.slice(0, hit.index) + put + source.slice(hit.index + hit[0].length);
            const line = source.slice(0, hit.index + hit[0].search(/\S/)).split('\n').length;
            const was = hit[0].replace(/\s+/g, ' ').trim();
            found.push([{ source: name, line, was, is: put.trim() }, text]);
        }
    }
    return found.sort(([a], [b]) => a.line - b.line);
}

async function compile(
    contract: string,
    source: string,
    text: string,
): Promise<[Buffer, string] | undefined> {
    const result = await runTolkCompiler({
        entrypointFileName: `${contract}.tolk`,
        fsReadCallback: (path) =>
            path === source ? text : readFileSync(join(room, 'tolk', path), 'utf8'),
    });
    if (result.status === 'error') return undefined;
    const hash = result.codeHashHex.toLowerCase().padStart(64, '0');
    return [Buffer.from(result.codeBoc64, 'base64'), hash];
}

/** A copy of what the scenarios need, under one price set, that stops at the first failure. */
function copy(): string {
    const place = mkdtempSync(join(tmpdir(), 'mutants-'));
    for (const part of ['contracts/scenarios', 'contracts/wrappers', 'contracts/compiled'])
        cpSync(join(room, '..', part), join(place, part), { recursive: true });
    cpSync(join(room, 'package.json'), join(place, 'contracts/package.json'));
    mkdirSync(join(place, 'tests/ton-testnode'), { recursive: true });
    for (const part of ['tests/ton-testnode/src', 'tests/ton-testnode/package.json'])
        cpSync(join(room, '..', part), join(place, part), { recursive: true });
    for (const at of ['contracts', 'tests/ton-testnode'])
        symlinkSync(join(room, 'node_modules'), join(place, at, 'node_modules'));
    const scenarios = join(place, 'contracts/scenarios');
    for (const name of readdirSync(scenarios)) {
        const text = readFileSync(join(scenarios, name), 'utf8');
        const one = text.replace("['before-2026', 'since-2026'] as", "['before-2026'] as");
        writeFileSync(join(scenarios, name), one);
    }
    const bail = `export default async function* (events) {
        for await (const event of events) if (event.type === 'test:fail') process.exit(1);
    }\n`;
    writeFileSync(join(place, 'contracts/bail.mjs'), bail);
    return place;
}

function passes(place: string, scenario: string): Promise<boolean> {
    const flags = ['--import', 'tsx', '--test-reporter', './bail.mjs'];
    const program = [...flags, '--test-reporter-destination', 'stdout'];
    const running = spawn(process.execPath, [...program, `scenarios/${scenario}.test.ts`], {
        cwd: join(place, 'contracts'),
        stdio: 'ignore',
    });
    const clock = setTimeout(() => running.kill(), MINUTES_PER_MUTANT * 60_000);
    return new Promise((resolve) => {
        running.on('close', (status) => {
            clearTimeout(clock);
            resolve(status === 0);
        });
    });
}

async function caughtBy(place: string, contract: string): Promise<string | undefined> {
    for (const scenario of SCENARIOS[contract]!)
        if (!(await passes(place, scenario))) return scenario;
    return undefined;
}

/** All mutants of a contract that compile, to code of their own. */
async function mutantsOf(contract: string): Promise<Mutant[]> {
    const sources = [contract, ...(SHARED[contract] ?? [])].map((name) => `${name}.tolk`);
    const seen = new Set([readFileSync(join(room, 'compiled', `${contract}.hash`), 'utf8').trim()]);
    const mutants: Mutant[] = [];
    for (const [place, text] of sources.flatMap(placesOf)) {
        const compiled = await compile(contract, place.source, text);
        if (!compiled || seen.has(compiled[1])) continue;
        seen.add(compiled[1]);
        const [code, hash] = compiled;
        mutants.push({ contract, number: mutants.length, code, hash, ...place });
    }
    return mutants;
}

/** Those that end every recorded transaction as the contract does. */
function survivors(mutants: Mutant[]): Mutant[] {
    const folder = mkdtempSync(join(tmpdir(), 'mutants-'));
    try {
        const name = ({ contract, number }: Mutant) => `${contract}-${number}`;
        for (const mutant of mutants)
            writeFileSync(join(folder, `${name(mutant)}.boc`), mutant.code);
        const cargo = ['run', '-q', '--release', '-p', 'contracts', '--example', 'mutants', folder];
        const done = spawnSync('cargo', cargo, { encoding: 'utf8', maxBuffer: 1 << 24 });
        if (done.status !== 0) throw new Error(done.stderr);
        const lines = new Set(done.stdout.trim().split('\n'));
        return mutants.filter((mutant) => lines.has(`${name(mutant)} survived`));
    } finally {
        rmSync(folder, { recursive: true });
    }
}

/** How many of a sample, evenly spread, the scenarios' own assertions catch. */
async function byScenarios(place: string, mutants: Mutant[], count: number) {
    const step = Math.max(1, mutants.length / count);
    const sample = mutants.filter((_, at) => Math.floor(at / step) !== Math.floor((at - 1) / step));
    const survived: Place[] = [];
    for (const { contract, code, hash, source, line, was, is } of sample) {
        const target = join(place, 'contracts/compiled', contract);
        writeFileSync(`${target}.boc`, code);
        writeFileSync(`${target}.hash`, `${hash}\n`);
        const by = await caughtBy(place, contract);
        if (!by) survived.push({ source, line, was, is });
        console.log(`${contract} ${source}:${line} ${by ?? 'SURVIVED'}: ${was} -> ${is}`);
    }
    return { tried: sample.length, caught: sample.length - survived.length, survived };
}

const sampleSize = Number(process.argv[process.argv.indexOf('--scenarios') + 1] || 0);
const only = process.argv.includes('--only')
    ? process.argv[process.argv.indexOf('--only') + 1]
    : undefined;
const result: Record<string, unknown> = only ? JSON.parse(readFileSync(RESULT, 'utf8')) : {};
for (const contract of Object.keys(SCENARIOS).filter((name) => !only || name === only)) {
    const mutants = await mutantsOf(contract);
    const left = survivors(mutants);
    const replayed = {
        tried: mutants.length,
        caught: mutants.length - left.length,
        survived: left.map(({ source, line, was, is }) => ({ source, line, was, is })),
    };
    console.log(`${contract}: ${replayed.caught} of ${replayed.tried} caught by the recording`);
    result[contract] = { replayed };
    if (process.argv.includes('--scenarios')) {
        const place = copy();
        try {
            const scenarios = await byScenarios(place, mutants, sampleSize);
            result[contract] = { replayed, scenarios };
        } finally {
            rmSync(place, { recursive: true });
        }
    }
    writeFileSync(RESULT, `${JSON.stringify(result, null, 2)}\n`);
}
