// The emulated chain: accounts, logical time, and the transactions that happened.
// Not here: anything of HTTP, and anything that a real network decides (consensus, finality).
import { Address, type Cell, loadMessage, type Transaction, type TupleItem } from '@ton/core';
import { Blockchain, internal } from '@ton/sandbox';
import { networkConfig, type Prices } from './chain-config.ts';

const FAUCET = new Address(0, Buffer.alloc(32));
const ALL_COINS = 2n ** 62n;

/** The request cannot be carried out; the message is for the caller. */
export class Refused extends Error {
    constructor(
        message: string,
        readonly code: number,
    ) {
        super(message);
    }
}

export interface Recorded {
    lt: bigint;
    hash: Buffer;
    utime: number;
    raw: Cell;
    transaction: Transaction;
}

export interface Account {
    balance: bigint;
    state: 'active' | 'uninitialized' | 'frozen';
    code: Cell | undefined;
    data: Cell | undefined;
    lastLt: bigint;
    lastHash: Buffer;
}

export interface GetterResult {
    gasUsed: number;
    exitCode: number;
    stack: TupleItem[];
}

export class Chain {
    private readonly byAccount = new Map<string, Recorded[]>();
    private queue: Promise<unknown> = Promise.resolve();
    private height = 1;

    private constructor(
        private readonly emulator: Blockchain,
        private time: number,
    ) {}

    static async start(now: number, prices: Prices): Promise<Chain> {
        const emulator = await Blockchain.create();
        emulator.setConfig(networkConfig(emulator.config, prices));
        emulator.now = now;
        return new Chain(emulator, now);
    }

    get now(): number {
        return this.time;
    }

    /** Grows with every change; there are no blocks. */
    get seqno(): number {
        return this.height;
    }

    /** Every account that had a transaction, as `workchain:hex`. */
    get accounts(): string[] {
        return [...this.byAccount.keys()];
    }

    get config(): Cell {
        return this.emulator.config;
    }

    /** Time moves only by this. */
    advance(seconds: number): Promise<void> {
        return this.inTurn(async () => {
            const later = this.time + seconds;
            if (seconds < 0 || later > 0xffffffff) throw new Refused('time cannot move there', 422);
            this.time = later;
            this.emulator.now = later;
            this.height += 1;
        });
    }

    /** Coins from nowhere, as an ordinary transfer. */
    fund(to: Address, value: bigint): Promise<void> {
        return this.inTurn(async () => {
            if (value <= 0n || value > ALL_COINS) throw new Refused('no such amount', 422);
            const message = internal({ from: FAUCET, to, value, bounce: false });
            await this.deliver(message);
        });
    }

    /** Takes an external message and runs everything that follows from it. */
    submit(root: Cell): Promise<void> {
        return this.inTurn(async () => {
            const message = readExternal(root);
            await this.deliver(message);
        });
    }

    account(address: Address): Promise<Account> {
        return this.inTurn(async () => {
            const contract = await this.emulator.getContract(address);
            const state = contract.accountState;
            const active = state?.type === 'active' ? state.state : undefined;
            return {
                balance: contract.balance,
                state: active ? 'active' : state?.type === 'frozen' ? 'frozen' : 'uninitialized',
                code: active?.code ?? undefined,
                data: active?.data ?? undefined,
                lastLt: contract.lastTransactionLt,
                lastHash: hashBytes(contract.lastTransactionHash),
            };
        });
    }

    getter(address: Address, method: string | number, stack: TupleItem[]): Promise<GetterResult> {
        return this.inTurn(async () => {
            const contract = await this.emulator.getContract(address);
            if (contract.accountState?.type !== 'active') {
                return { gasUsed: 0, exitCode: -13, stack: [] }; // as lite-servers answer
            }
            try {
                const result = await contract.get(method, stack);
                return {
                    gasUsed: Number(result.gasUsed),
                    exitCode: result.exitCode,
                    stack: result.stack,
                };
            } catch (error) {
                if (!hasExitCode(error)) throw error;
                return { gasUsed: Number(error.gasUsed ?? 0), exitCode: error.exitCode, stack: [] };
            }
        });
    }

    /** Newest first, at most `limit`, from the transaction `lt` on when given. */
    transactions(address: Address, limit: number, lt?: bigint): Recorded[] {
        const all = this.byAccount.get(address.toRawString()) ?? [];
        const from = lt === undefined ? all : all.filter((recorded) => recorded.lt <= lt);
        return from.slice(-limit).reverse();
    }

    private async deliver(message: ReturnType<typeof internal>): Promise<void> {
        let result;
        try {
            result = await this.emulator.sendMessage(message);
        } catch (error) {
            if (!hasExitCode(error)) throw error;
            const text = `External message was not accepted\nexitcode=${error.exitCode}`;
            throw new Refused(
                `LITE_SERVER_UNKNOWN: cannot apply external message to current state : ${text}`,
                500,
            );
        }
        for (const transaction of result.transactions) this.record(transaction);
        this.height += 1;
    }

    private record(transaction: Transaction): void {
        const info = transaction.inMessage?.info;
        const workchain =
            info?.type === 'internal' || info?.type === 'external-in' ? info.dest.workChain : 0;
        const key = new Address(workchain, hashBytes(transaction.address)).toRawString();
        const recorded = {
            lt: transaction.lt,
            hash: transaction.hash(),
            utime: transaction.now,
            raw: transaction.raw,
            transaction,
        };
        const all = this.byAccount.get(key);
        if (all) all.push(recorded);
        else this.byAccount.set(key, [recorded]);
    }

    /** One thing at a time: a read never sees half of a chain of messages. */
    private inTurn<T>(act: () => Promise<T>): Promise<T> {
        const result = this.queue.then(act);
        this.queue = result.catch(() => undefined);
        return result;
    }
}

function readExternal(root: Cell): ReturnType<typeof internal> {
    let message;
    try {
        message = loadMessage(root.beginParse());
    } catch {
        throw new Refused('not a message', 422);
    }
    if (message.info.type !== 'external-in') throw new Refused('not an external message', 422);
    return message;
}

function hasExitCode(error: unknown): error is { exitCode: number; gasUsed?: bigint } {
    return (
        typeof error === 'object' &&
        error !== null &&
        typeof (error as { exitCode?: unknown }).exitCode === 'number'
    );
}

function hashBytes(hash: bigint): Buffer {
    return Buffer.from(hash.toString(16).padStart(64, '0'), 'hex');
}
