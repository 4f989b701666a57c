// Measures gas and fees of each message and the rent of each account, under both price sets, and
// writes gas.json and the table in README.md. With --check it compares with what is committed.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Address } from '@ton/core';
import { NETWORK_ID, type Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as channelStage from '../scenarios/channel-stage.ts';
import * as jettonStage from '../scenarios/jetton-stage.ts';
import * as registryStage from '../scenarios/registry-stage.ts';
import * as stakeStage from '../scenarios/stake-stage.ts';
import { account, COIN, type Outcome, World } from '../scenarios/world.ts';
import * as channel from '../wrappers/channel.ts';
import { addressOf } from '../wrappers/code.ts';
import * as jettonChannel from '../wrappers/jetton-channel.ts';
import * as registry from '../wrappers/registry.ts';
import * as stake from '../wrappers/stake.ts';

const room = join(dirname(fileURLToPath(import.meta.url)), '..');
const DATA = join(room, 'gas.json');
const README = join(room, 'README.md');
const BEGIN = '<!-- gas table: scripts/gas-table.ts -->\n';
const END = '<!-- end of the gas table -->\n';
const PRICES: Prices[] = ['before-2026', 'since-2026'];
const YEAR = 365 * 86_400;

interface Row {
    gas: number;
    fees: Record<string, string>;
}

interface Size {
    bits: number;
    cells: number;
    rentOfYear: Record<string, string>;
}

class Table {
    readonly messages: Record<string, Row> = {};
    readonly accounts: Record<string, Size> = {};

    note(name: string, prices: Prices, result: Outcome, exit = 0): void {
        if (result.exit !== exit || (exit === 0 && !result.actionOk))
            throw new Error(`${name}: exit ${result.exit}`);
        let fees = result.fees - channelStage.storageFee(result);
        for (const message of result.transactions[0]!.outMessages.values())
            if (message.info.type === 'internal') fees += message.info.forwardFee;
        const gas = Number(result.gas);
        const row = (this.messages[name] ??= { gas, fees: {} });
        if (row.gas !== gas) throw new Error(`${name}: gas depends on prices`);
        row.fees[prices] = fees.toString();
    }

    /** By what a plain transfer finds to pay after a year. */
    async size(name: string, prices: Prices, world: World, address: Address): Promise<void> {
        const { account: shard } = await world.chain.getContract(address);
        const used = shard.account?.storageStats.used;
        if (!used) throw new Error(`${name}: no account`);
        const moment = world.snapshot();
        world.advance(YEAR);
        const paid = await world.send({ from: account(99), to: address, value: COIN });
        await world.restore(moment);
        const size = (this.accounts[name] ??= {
            bits: Number(used.bits),
            cells: Number(used.cells),
            rentOfYear: {},
        });
        size.rentOfYear[prices] = channelStage.storageFee(paid).toString();
    }
}

async function measureChannel(table: Table, prices: Prices): Promise<void> {
    const world = await World.create(prices);
    const init = channel.channelInit(channelStage.terms());
    const d = { world, address: addressOf(init), init };
    const { DEPOSIT, PAYEE, PAYER, KEY, WINDOW } = channelStage;
    table.note('open a channel (deploy and TopUp)', prices, await channelStage.topUp(d, DEPOSIT));
    table.note('TopUp', prices, await channelStage.topUp(d, DEPOSIT));
    table.note('Claim', prices, await channelStage.claim(d));
    table.note('Claim refused as stale (104)', prices, await channelStage.claim(d), 104);
    await table.size('an open channel', prices, world, d.address);
    const open = world.snapshot();
    const agreed = channel.voucherCell(await channelStage.voucher(d), channel.CLOSE_TAG);
    const both = channel.coopClose(agreed, KEY.secretKey);
    table.note('CoopClose', prices, await channelStage.sendBody(d, both, PAYEE));
    await world.restore(open);
    const start = await channelStage.sendBody(d, channel.startClose(), PAYER);
    table.note('StartClose', prices, start);
    world.advance(WINDOW);
    const finish = await channelStage.sendBody(d, channel.finishClose(), PAYEE);
    table.note('FinishClose', prices, finish);
}

async function measureJettonChannel(table: Table, prices: Prices): Promise<void> {
    const { PAYEE, PAYER, KEY, WINDOW } = channelStage;
    const { DEPOSIT, UNIT, sendBody } = jettonStage;
    const note = (name: string, result: Outcome) => table.note(`jetton: ${name}`, prices, result);
    const world = await World.create(prices);
    const jetton = new jettonStage.Jetton(world);
    await jetton.mint(PAYER, jettonStage.MINTED);
    const d = jettonStage.place(jetton);
    const asked = await jettonStage.discover(d);
    const [, answered] = asked.at(d.address);
    note('Discover (deploy)', asked.first);
    note('answer of the minter', answered!);
    note('open a channel (deposit)', await jettonStage.deposit(d, DEPOSIT));
    note('deposit', await jettonStage.deposit(d, DEPOSIT));
    note('Claim', await jettonStage.claim(d));
    await table.size('an open channel in a jetton', prices, world, d.address);
    const open = world.snapshot();
    await jetton.lock(d.address, jettonStage.SENDS_NOTHING);
    const body = await jettonStage.claimBody(d, { cumulative: 2n * UNIT });
    const [, bounced] = (await jettonStage.follow(d, body, PAYEE)).at(d.address);
    note('a payout that bounces', bounced!);
    await jetton.lock(d.address, jettonStage.FREE);
    note('Resend', await sendBody(d, jettonChannel.resend('payee'), PAYEE));
    await world.restore(open);
    const agreed = channel.voucherCell(await jettonStage.voucher(d), channel.CLOSE_TAG);
    note('CoopClose', await sendBody(d, channel.coopClose(agreed, KEY.secretKey), PAYEE));
    await world.restore(open);
    note('StartClose', await sendBody(d, channel.startClose(), PAYER));
    note('deposit, sent back', await jettonStage.deposit(d, DEPOSIT));
    world.advance(WINDOW);
    note('FinishClose', await sendBody(d, channel.finishClose(), PAYEE));
    world.advance(jettonStage.DAY);
    note('Sweep', await sendBody(d, jettonChannel.sweep(d.wallet, 1n), PAYER));
}

async function measureRegistry(table: Table, prices: Prices): Promise<void> {
    const { ADDER, REVOKER, STRANGER, DELAY } = registryStage;
    const world = await World.create(prices);
    const roles = { adder: ADDER, revoker: REVOKER, delay: DELAY };
    const init = registry.registryInit(roles);
    const to = addressOf(init);
    const value = COIN / 10n;
    const deployed = await world.send({ from: STRANGER, to, value, init });
    table.note('deploy a registry', prices, deployed);
    await table.size('a registry, empty', prices, world, to);
    const r = new registryStage.Registry(world, to);
    const details = registry.providerDetails(account(7), account(8), 'machine.example:443');
    const note = async (name: string, from: Address, body: Parameters<typeof r.send>[1]) =>
        table.note(name, prices, await r.send(from, body));
    await note('Add, first entry', ADDER, registry.add(registry.MEASUREMENT, 0xabcdn));
    await note('Add, a provider', ADDER, registry.add(registry.PROVIDER, 1n, details));
    await note('Revoke', REVOKER, registry.revoke(registry.MEASUREMENT, 0xabcdn));
    await note('SetPrices', ADDER, registry.setPrices([1n, 2n, 3n, 4n, 5n, 6n]));
    await note('Veto', REVOKER, registry.veto(registry.PRICES));
    await note('Offer', ADDER, registry.offer(registry.ADDER, STRANGER));
    await note('Tell', STRANGER, registry.tell(registry.MEASUREMENT, 0xabcdn, account(9)));
    world.advance(DELAY);
    await note('Accept', STRANGER, registry.accept(registry.ADDER));
    await table.size('a registry with two entries', prices, world, to);
}

async function measureStake(table: Table, prices: Prices): Promise<void> {
    const { AMOUNT, IMAGE, OWNER, REPORTER, UNBONDING, receipt } = stakeStage;
    const world = await World.create(prices);
    const s = await stakeStage.staked(world);
    table.note('Stake', prices, await s.stake(AMOUNT));
    await table.size('a stake', prices, world, s.address);
    const moment = world.snapshot();
    table.note('Unbond', prices, await s.send(OWNER, stake.unbond()));
    world.advance(UNBONDING);
    table.note('Withdraw', prices, await s.send(OWNER, stake.withdraw()));
    await world.restore(moment);
    const other = receipt({ response: Buffer.alloc(32, 55) });
    table.note('Conflict', prices, await s.conflict(receipt(), other));
    await world.restore(moment);

    await s.registry.send(registryStage.ADDER, registry.add(registry.MEASUREMENT, IMAGE));
    await s.registry.send(registryStage.REVOKER, registry.revoke(registry.MEASUREMENT, IMAGE));
    const at = world.now + 2 * stakeStage.GRACE;
    const block = stake.inventedBlock({ network: NETWORK_ID, seqno: 1, at });
    const evidence = stake.lateEvidence(
        s.binding(),
        receipt({ beacon: stake.beaconOf(NETWORK_ID, block) }),
        stake.blockProof(block),
    );
    const body = registry.tell(registry.MEASUREMENT, IMAGE, s.address, evidence);
    const to = s.registry.address;
    const [asked, told] = await world.sendThrough({ from: REPORTER, to, value: COIN, body });
    table.note('Tell, with evidence', prices, asked!);
    table.note('Told, a late receipt', prices, told!);
}

function grouped(number: number | string): string {
    return number.toString().replace(/\B(?=(\d{3})+$)/g, ',');
}

function markdown(table: Table): string {
    const lines = ['| message | gas | before 2026 | since 2026 |', '|---|---|---|---|'];
    for (const [name, { gas, fees }] of Object.entries(table.messages)) {
        const [before, since] = PRICES.map((prices) => grouped(fees[prices]!));
        lines.push(`| ${name} | ${grouped(gas)} | ${before} | ${since} |`);
    }
    lines.push('', '| account | bits | cells | rent of a year, before 2026 | since 2026 |');
    lines.push('|---|---|---|---|---|');
    for (const [name, { bits, cells, rentOfYear }] of Object.entries(table.accounts)) {
        const [before, since] = PRICES.map((prices) => grouped(rentOfYear[prices]!));
        lines.push(`| ${name} | ${grouped(bits)} | ${cells} | ${before} | ${since} |`);
    }
    return `${lines.join('\n')}\n`;
}

const table = new Table();
for (const prices of PRICES) {
    await measureChannel(table, prices);
    await measureJettonChannel(table, prices);
    await measureRegistry(table, prices);
    await measureStake(table, prices);
}
const readme = readFileSync(README, 'utf8');
const [before, rest] = readme.split(BEGIN);
const after = rest?.split(END)[1];
if (before === undefined || after === undefined) throw new Error('README.md has no place for it');
const outputs: [string, string][] = [
    [DATA, `${JSON.stringify({ messages: table.messages, accounts: table.accounts }, null, 2)}\n`],
    [README, `${before}${BEGIN}${markdown(table)}${END}${after}`],
];
for (const [path, text] of outputs) {
    if (!process.argv.includes('--check')) {
        writeFileSync(path, text);
    } else if (readFileSync(path, 'utf8') !== text) {
        console.error(`${path} is not what was measured: run \`npm run gas\``);
        process.exitCode = 1;
    }
}
