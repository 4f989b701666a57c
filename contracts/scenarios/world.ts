// The stage of every scenario: an emulated chain that checks, transaction by transaction, that no
// nano unit appears or vanishes, and remembers the gas of each exit.
import assert from 'node:assert/strict';
import {
    Address,
    beginCell,
    type Cell,
    type Message,
    type ShardAccount,
    type StateInit,
    storeShardAccount,
    type Transaction,
} from '@ton/core';
import {
    Blockchain,
    type BlockchainSnapshot,
    createEmptyShardAccount,
    internal,
} from '@ton/sandbox';
import { networkConfig, type Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import { committedCode } from '../wrappers/code.ts';
import { record } from './recording.ts';

export const COIN = 1_000_000_000n;
export const START = 1_795_000_000; // some second of November 2026

export interface Letter {
    from: Address;
    to: Address;
    value: bigint;
    body?: Cell;
    init?: StateInit;
    bounce?: boolean;
    bounced?: boolean;
}

export interface Outcome {
    exit: number;
    gas: bigint;
    fees: bigint;
    actionOk: boolean;
    /** Value of the first message that the contract sent to an account, 0 when it sent none. */
    paid: bigint;
    /** Whether the value came back to the sender as a bounce. */
    bounced: boolean;
    transactions: Transaction[];
}

export interface Moment {
    chain: BlockchainSnapshot;
    balances: Map<string, bigint>;
    accounts: Map<string, Cell>;
}

/** A plain account of this scenario, told apart by a number. */
export function account(index: number, workchain = 0): Address {
    return new Address(workchain, Buffer.alloc(32, index));
}

export class World {
    private balances = new Map<string, bigint>();
    /** The shard's record of each account after its last transaction. */
    private accounts = new Map<string, Cell>();

    private constructor(
        readonly chain: Blockchain,
        private readonly prices: Prices,
        private readonly config: Cell,
    ) {}

    static async create(prices: Prices = 'before-2026'): Promise<World> {
        const chain = await Blockchain.create();
        const config = networkConfig(chain.config, prices);
        chain.setConfig(config);
        chain.now = START;
        return new World(chain, prices, config);
    }

    get now(): number {
        return this.chain.now ?? START;
    }

    advance(seconds: number): void {
        this.chain.now = this.now + seconds;
    }

    balance(of: Address): bigint {
        return this.balances.get(of.toRawString()) ?? 0n;
    }

    /** Sets the balance by decree, as years of rent or an erased account would. */
    async decree(of: Address, balance: bigint): Promise<void> {
        const contract = await this.chain.getContract(of);
        contract.balance = balance;
        this.accounts.set(of.toRawString(), shardRecord(contract.account));
        this.balances.set(of.toRawString(), balance);
    }

    /** The account as the network leaves it after deleting it for unpaid rent. */
    async erase(address: Address): Promise<void> {
        await this.chain.setShardAccount(address, createEmptyShardAccount(address));
        this.balances.delete(address.toRawString());
        this.accounts.delete(address.toRawString());
    }

    snapshot(): Moment {
        return {
            chain: this.chain.snapshot(),
            balances: new Map(this.balances),
            accounts: new Map(this.accounts),
        };
    }

    async restore(moment: Moment): Promise<void> {
        await this.chain.loadFrom(moment.chain);
        this.balances = new Map(moment.balances);
        this.accounts = new Map(moment.accounts);
    }

    async dataOf(address: Address): Promise<Cell> {
        const state = (await this.chain.getContract(address)).accountState;
        assert.equal(state?.type, 'active');
        const data = state?.type === 'active' ? state.state.data : undefined;
        assert.ok(data);
        return data;
    }

    async send(letter: Letter): Promise<Outcome> {
        const message: Message = internal({
            from: letter.from,
            to: letter.to,
            value: letter.value,
            bounce: letter.bounce ?? true,
            bounced: letter.bounced ?? false,
            ...(letter.body ? { body: letter.body } : {}),
            ...(letter.init ? { stateInit: letter.init } : {}),
        });
        const transactions: Transaction[] = [];
        for await (const transaction of await this.chain.sendMessageIter(message)) {
            transactions.push(transaction);
            await this.conserve(transaction);
        }
        const first = transactions[0];
        assert.ok(first, 'the message made no transaction');
        return outcome(first, transactions, letter.from);
    }

    /** Like `send`, and tells of every transaction that followed, in order. */
    async sendThrough(letter: Letter): Promise<Outcome[]> {
        const { transactions } = await this.send(letter);
        return transactions.map((one) => {
            const source = one.inMessage?.info;
            const sender = source?.type === 'internal' ? source.src : letter.from;
            return outcome(one, [one], sender);
        });
    }

    /** Balance before + value in = balance after + values and forwarding fees out + fees. */
    private async conserve(transaction: Transaction): Promise<void> {
        const info = transaction.inMessage?.info;
        const workchain = info?.type === 'internal' ? info.dest.workChain : 0;
        const address = new Address(workchain, bigintHash(transaction.address));
        const shown = await this.chain.getContract(address);
        const before = this.balance(address);
        const after = shown.balance;
        let out = transaction.totalFees.coins;
        for (const message of transaction.outMessages.values()) {
            if (message.info.type !== 'internal') continue;
            out += message.info.value.coins + message.info.forwardFee;
        }
        const inMessage = transaction.inMessage;
        const value = inMessage?.info.type === 'internal' ? inMessage.info.value.coins : 0n;
        assert.equal(before + value, after + out, 'value is not conserved');
        this.balances.set(address.toRawString(), after);
        this.remember(address, shown.account, transaction);
    }

    /** Of accounts without code, or with code that is for the scenarios only, nothing is kept. */
    private remember(address: Address, after: ShardAccount, transaction: Transaction): void {
        const key = address.toRawString();
        const before = this.accounts.get(key) ?? shardRecord(createEmptyShardAccount(address));
        const now = shardRecord(after);
        this.accounts.set(key, now);
        const { description, raw } = transaction;
        if (description.type !== 'generic' || description.computePhase.type !== 'vm') return;
        if (isForScenarios(after)) return;
        record(this.config, { prices: this.prices, before, transaction: raw, after: now });
    }
}

const FOR_SCENARIOS = (['test/jetton-minter', 'test/jetton-wallet'] as const).map(committedCode);

function isForScenarios(shard: ShardAccount): boolean {
    const state = shard.account?.storage.state;
    const code = state?.type === 'active' ? state.state.code : undefined;
    return FOR_SCENARIOS.some((one) => code?.equals(one));
}

function shardRecord(account: ShardAccount): Cell {
    return beginCell().store(storeShardAccount(account)).endCell();
}

function bigintHash(account: bigint): Buffer {
    return Buffer.from(account.toString(16).padStart(64, '0'), 'hex');
}

function outcome(first: Transaction, transactions: Transaction[], sender: Address): Outcome {
    const description = first.description;
    if (description.type !== 'generic') throw new Error('unreachable');
    const compute = description.computePhase;
    const vm = compute.type === 'vm' ? compute : undefined;
    const sent = [...first.outMessages.values()].map((message) => message.info);
    const info = sent.find((sentInfo) => sentInfo.type === 'internal');
    return {
        exit: vm?.exitCode ?? -1,
        gas: vm?.gasUsed ?? 0n,
        fees: first.totalFees.coins,
        actionOk: description.actionPhase?.success ?? false,
        paid: info && !info.bounced ? info.value.coins : 0n,
        bounced: info !== undefined && info.bounced && info.dest.equals(sender),
        transactions,
    };
}
