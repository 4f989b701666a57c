// The stage of the scenarios in a jetton: a minter with its wallets and an open channel. The jetton
// is the one of tolk/test: by the standards, with an issuer that can lock wallets and move what is
// in them. Each helper checks that no jetton appeared or vanished.
import assert from 'node:assert/strict';
import { type Address, beginCell, type Cell, type Message, type StateInit } from '@ton/core';
import { NETWORK_ID } from '../../tests/ton-testnode/src/chain-config.ts';
import * as base from '../wrappers/channel.ts';
import { addressOf, committedCode } from '../wrappers/code.ts';
import * as tep from '../wrappers/jetton.ts';
import * as wire from '../wrappers/jetton-channel.ts';
import { KEY, PAYEE, PAYER, STRANGER, terms as baseTerms } from './channel-stage.ts';
import { account, COIN, type Letter, type Outcome, type World } from './world.ts';

/** One unit of the jetton, which has six decimals as USDT has. */
export const UNIT = 1_000_000n;
export const DEPOSIT = 5n * UNIT;
export const MINTED = 1000n * UNIT;
export const ISSUER = account(4);
/** Attached to whatever moves jettons. */
export const VALUE = COIN / 5n;
/** What a deposit's notification carries: the channel's reserve is in it. */
export const MARGIN = COIN / 5n;
/** What the contract asks and reserves for. */
export const DEPOSIT_GAS = 8000n;
export const TRANSFER_GAS = 100_000n;
export const ACCOUNT_BITS = 18_000n;
export const ACCOUNT_CELLS = 38n;
export const DAY = 86_400;

/** Values of a wallet's status. */
export const FREE = 0;
export const SENDS_NOTHING = 1;
export const TAKES_NOTHING = 2;

const OP_MINT = 0x642b7d07;
const OP_CALL_TO = 0x235caf52;
const OP_SET_STATUS = 0xeed236d3;

export interface Deposit {
    from?: Address;
    forwardValue?: bigint;
    value?: bigint;
    customPayload?: Cell;
    forwardPayload?: Cell;
}

/** One jetton on this chain; another issuer makes another one. */
export class Jetton {
    readonly minter: Address;
    private readonly init: StateInit;
    private readonly owners = [PAYER, PAYEE, STRANGER];

    constructor(
        readonly world: World,
        readonly issuer = ISSUER,
    ) {
        const data = beginCell()
            .storeCoins(0)
            .storeAddress(issuer)
            .storeRef(committedCode('test/jetton-wallet'))
            .endCell();
        this.init = { code: committedCode('test/jetton-minter'), data };
        this.minter = addressOf(this.init);
    }

    walletOf(owner: Address): Address {
        if (!this.owners.some((known) => known.equals(owner))) this.owners.push(owner);
        const data = beginCell()
            .storeUint(FREE, 4)
            .storeCoins(0)
            .storeAddress(owner)
            .storeAddress(this.minter)
            .endCell();
        return addressOf({ code: committedCode('test/jetton-wallet'), data });
    }

    private async stateOf(address: Address): Promise<Cell | undefined> {
        const state = (await this.world.chain.getContract(address)).accountState;
        return state?.type === 'active' ? (state.state.data ?? undefined) : undefined;
    }

    /** What somebody has. */
    async of(owner: Address): Promise<bigint> {
        const slice = (await this.stateOf(this.walletOf(owner)))?.beginParse();
        slice?.skip(4);
        return slice?.loadCoins() ?? 0n;
    }

    async conserved(): Promise<void> {
        const supply = (await this.stateOf(this.minter))?.beginParse().loadCoins();
        let sum = 0n;
        for (const owner of this.owners) sum += await this.of(owner);
        assert.equal(sum, supply, 'jettons appeared or vanished');
    }

    private async asIssuer(body: Cell): Promise<void> {
        const { issuer: from, minter: to, init } = this;
        const done = await this.world.send({ from, to, value: COIN, body, init });
        assert.equal(done.exit, 0);
        await this.conserved();
    }

    async mint(to: Address, amount: bigint): Promise<void> {
        this.walletOf(to);
        const transfer = beginCell()
            .storeUint(tep.OP_INTERNAL_TRANSFER, 32)
            .storeUint(0, 64)
            .storeCoins(amount)
            .storeAddress(null)
            .storeAddress(null)
            .storeCoins(0)
            .storeMaybeRef(null)
            .endCell();
        const body = beginCell()
            .storeUint(OP_MINT, 32)
            .storeAddress(to)
            .storeCoins(VALUE)
            .storeRef(transfer)
            .endCell();
        await this.asIssuer(body);
    }

    private callTo(owner: Address, message: Cell): Promise<void> {
        const body = beginCell()
            .storeUint(OP_CALL_TO, 32)
            .storeAddress(owner)
            .storeCoins(VALUE)
            .storeRef(message)
            .endCell();
        return this.asIssuer(body);
    }

    lock(owner: Address, status: number): Promise<void> {
        const message = beginCell().storeUint(OP_SET_STATUS, 32).storeUint(0, 64);
        return this.callTo(owner, message.storeUint(status, 4).endCell());
    }

    /** The issuer takes jettons out of somebody's wallet. */
    seize(from: Address, amount: bigint): Promise<void> {
        const transfer = { queryId: 0n, amount, destination: STRANGER, leftover: null };
        return this.callTo(from, tep.jettonTransfer({ ...transfer, forwardValue: 0n }));
    }

    /** A transfer by its owner; every transaction that followed, by account. */
    async transfer(to: Address, amount: bigint, how: Deposit = {}): Promise<Steps> {
        const { from = PAYER, forwardValue = MARGIN, value = forwardValue + VALUE } = how;
        const body = tep.jettonTransfer({
            queryId: 7n,
            amount,
            destination: to,
            leftover: from,
            ...how,
            forwardValue,
        });
        this.walletOf(to);
        const steps = await Steps.of(this.world, { from, to: this.walletOf(from), value, body });
        await this.conserved();
        return steps;
    }
}

/** What one message led to. */
export class Steps {
    private constructor(private readonly all: Outcome[]) {}

    static async of(world: World, letter: Letter): Promise<Steps> {
        return new Steps(await world.sendThrough(letter));
    }

    /** The transactions of one account, in order. */
    at(address: Address): Outcome[] {
        const hash = BigInt(`0x${address.hash.toString('hex')}`);
        return this.all.filter((one) => one.transactions[0]!.address === hash);
    }

    get first(): Outcome {
        return this.all[0]!;
    }
}

export interface Deployed {
    world: World;
    jetton: Jetton;
    address: Address;
    wallet: Address;
    init: StateInit;
}

export function terms(
    jetton: Jetton,
    changes: Partial<wire.JettonTerms> = {},
): wire.JettonTerms {
    return { ...baseTerms(), minter: jetton.minter, ...changes };
}

export function place(jetton: Jetton, changes: Partial<wire.JettonTerms> = {}): Deployed {
    const init = wire.jettonChannelInit(terms(jetton, changes));
    const address = addressOf(init);
    return { world: jetton.world, jetton, address, wallet: jetton.walletOf(address), init };
}

export function discover(d: Deployed, from = PAYER): Promise<Steps> {
    const { address: to, init } = d;
    return Steps.of(d.world, { from, to, value: VALUE, body: wire.discover(), init });
}

/** Deployed, with its wallet known and nothing in it. */
export async function ready(
    jetton: Jetton,
    changes: Partial<wire.JettonTerms> = {},
): Promise<Deployed> {
    const d = place(jetton, changes);
    await discover(d);
    assert.ok((await stored(d)).wallet?.equals(d.wallet));
    return d;
}

export async function open(world: World): Promise<Deployed> {
    const jetton = new Jetton(world);
    for (const owner of [PAYER, STRANGER]) await jetton.mint(owner, MINTED);
    const d = await ready(jetton);
    await deposit(d, DEPOSIT);
    assert.equal((await stored(d)).deposited, DEPOSIT);
    return d;
}

/** What the channel made of the notification. */
export async function deposit(d: Deployed, amount: bigint, how: Deposit = {}): Promise<Outcome> {
    const steps = await d.jetton.transfer(d.address, amount, how);
    const [seen] = steps.at(d.address);
    assert.ok(seen, 'no notification came');
    return seen;
}

export async function stored(d: Deployed): Promise<wire.StoredJettonChannel> {
    return wire.parseJettonChannel(await d.world.dataOf(d.address));
}

export async function voucher(
    d: Deployed,
    changes: Partial<base.Voucher> = {},
): Promise<base.Voucher> {
    const { epoch } = await stored(d);
    return {
        network: NETWORK_ID,
        channel: d.address,
        epoch,
        cumulative: UNIT,
        receiptsRoot: 42n,
        validUntil: d.world.now + 600,
        ...changes,
    };
}

export async function claimBody(d: Deployed, changes: Partial<base.Voucher> = {}): Promise<Cell> {
    return base.claim(base.voucherCell(await voucher(d, changes)), KEY.secretKey);
}

export async function claim(
    d: Deployed,
    changes: Partial<base.Voucher> = {},
    from = PAYEE,
): Promise<Outcome> {
    return sendBody(d, await claimBody(d, changes), from);
}

export async function sendBody(
    d: Deployed,
    body: Cell,
    from: Address,
    value = VALUE,
): Promise<Outcome> {
    return (await follow(d, body, from, value)).first;
}

/** Like `sendBody`, and tells of all that followed. */
export async function follow(
    d: Deployed,
    body: Cell,
    from: Address,
    value = VALUE,
): Promise<Steps> {
    const steps = await Steps.of(d.world, { from, to: d.address, value, body });
    await d.jetton.conserved();
    return steps;
}

/** Refused with this code: the state is untouched and the value returns to the sender. */
export async function refused(
    d: Deployed,
    code: number,
    act: () => Promise<Outcome>,
): Promise<void> {
    const balance = d.world.balance(d.address);
    const held = await d.jetton.of(d.address);
    const data = await d.world.dataOf(d.address);
    const result = await act();
    assert.equal(result.exit, code);
    assert.ok(result.bounced, 'the value came back');
    assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
    assert.equal(await d.jetton.of(d.address), held, 'no jettons moved');
    assert.ok(d.world.balance(d.address) >= balance - 1_000_000n, 'at most rent was lost');
}

/** Not counted, and sent back to whom it came from. */
export async function givenBack(d: Deployed, act: () => Promise<Outcome>): Promise<void> {
    const data = await d.world.dataOf(d.address);
    const held = await d.jetton.of(d.address);
    const result = await act();
    assert.equal(result.exit, 0);
    assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
    assert.equal(await d.jetton.of(d.address), held, 'the jettons left again');
    const [back, ...more] = transfersOf(result);
    assert.ok(back && more.length === 0);
    assert.equal(back.transfer.queryId, wire.SURPLUS);
}

/** Transfers of jettons that a transaction asked wallets for, and the plain messages it sent. */
export function transfersOf(result: Outcome): { to: Address; transfer: tep.JettonTransfer }[] {
    const found: { to: Address; transfer: tep.JettonTransfer }[] = [];
    for (const { info, body } of internalOf(result)) {
        const transfer = tep.parseJettonTransfer(body.beginParse());
        if (transfer && info.type === 'internal') found.push({ to: info.dest, transfer });
    }
    return found;
}

export function internalOf(result: Outcome): Message[] {
    const sent = [...result.transactions[0]!.outMessages.values()];
    return sent.filter(({ info }) => info.type === 'internal' && !info.bounced);
}
