// Bytes of the Registry: its first state, its messages, and the chain of its log.
import { Address, beginCell, Cell, type StateInit } from '@ton/core';
import { committedCode } from './code.ts';

export const OP_ADD = 0x52470001;
export const OP_REVOKE = 0x52470002;
export const OP_SET_PRICES = 0x52470003;
export const OP_OFFER = 0x52470004;
export const OP_ACCEPT = 0x52470005;
export const OP_VETO = 0x52470006;
export const OP_TELL = 0x52470007;
export const OP_TOLD = 0x52470008;
export const RECORD_TAG = 0x524c4f47;

export const MEASUREMENT = 0;
export const MODEL = 1;
export const RELEASE = 2;
export const PROVIDER = 3;

export const ADDER = 0;
export const REVOKER = 1;
export const PRICES = 2;

export interface Roles {
    adder: Address;
    revoker: Address;
    delay: number;
}

/** Nano units per token: least and most for prompt, cached and completion tokens. */
export type Bounds = readonly [bigint, bigint, bigint, bigint, bigint, bigint];

const ANY = 2n ** 64n - 1n;
export const NO_BOUNDS: Bounds = [0n, ANY, 0n, ANY, 0n, ANY];

function storeBounds(bounds: Bounds) {
    const builder = beginCell();
    for (const bound of bounds) builder.storeUint(bound, 64);
    return builder;
}

function role(holder: Address): Cell {
    return beginCell().storeAddress(holder).storeUint(0, 32).storeUint(0, 2).endCell();
}

export function registryInit(roles: Roles): StateInit {
    const lists = beginCell().storeUint(0, 4).endCell();
    const prices = beginCell()
        .storeUint(0, 32)
        .storeBuilder(storeBounds(NO_BOUNDS))
        .storeBuilder(storeBounds(NO_BOUNDS))
        .endCell();
    const data = beginCell()
        .storeUint(roles.delay, 32)
        .storeUint(0, 32) // version
        .storeUint(0, 256) // head
        .storeRef(lists)
        .storeRef(prices)
        .storeRef(role(roles.adder))
        .storeRef(role(roles.revoker))
        .endCell();
    return { code: committedCode('registry'), data };
}

export function add(kind: number, key: bigint, details: Cell | null = null): Cell {
    return beginCell()
        .storeUint(OP_ADD, 32)
        .storeUint(kind, 8)
        .storeUint(key, 256)
        .storeMaybeRef(details)
        .endCell();
}

export function revoke(kind: number, key: bigint): Cell {
    return beginCell()
        .storeUint(OP_REVOKE, 32)
        .storeUint(kind, 8)
        .storeUint(key, 256)
        .endCell();
}

export function setPrices(bounds: Bounds): Cell {
    return beginCell().storeUint(OP_SET_PRICES, 32).storeBuilder(storeBounds(bounds)).endCell();
}

export function offer(of: number, successor: Address): Cell {
    return beginCell()
        .storeUint(OP_OFFER, 32)
        .storeUint(of, 8)
        .storeAddress(successor)
        .endCell();
}

export function accept(of: number): Cell {
    return beginCell().storeUint(OP_ACCEPT, 32).storeUint(of, 8).endCell();
}

export function veto(of: number): Cell {
    return beginCell().storeUint(OP_VETO, 32).storeUint(of, 8).endCell();
}

export function tell(kind: number, key: bigint, to: Address, payload: Cell | null = null): Cell {
    return beginCell()
        .storeUint(OP_TELL, 32)
        .storeUint(kind, 8)
        .storeUint(key, 256)
        .storeAddress(to)
        .storeMaybeRef(payload)
        .endCell();
}

/** What the registry lists of a provider besides its key: docs/spec/registry.md. */
export function providerDetails(stake: Address, payee: Address, endpoint: string): Cell {
    return beginCell()
        .storeAddress(stake)
        .storeAddress(payee)
        .storeBuffer(Buffer.from(endpoint, 'ascii'))
        .endCell();
}

export interface Record {
    version: number;
    at: number;
    previous: bigint;
    change: Cell;
}

/** The record that a message of the log has as its body. */
export function readRecord(body: Cell): { record: Record; hash: bigint } {
    const slice = body.beginParse();
    if (slice.loadUint(32) !== RECORD_TAG) throw new Error('not a record of the log');
    const record = {
        version: slice.loadUint(32),
        at: slice.loadUint(32),
        previous: slice.loadUintBig(256),
        change: slice.loadRef(),
    };
    slice.endParse();
    return { record, hash: BigInt(`0x${body.hash().toString('hex')}`) };
}

/**
 * The changes that lead from the beginning (or from a state known before) to a head that was read
 * with proof: whoever hands over the bodies cannot leave out, add or change one.
 */
export function followLog(
    bodies: Cell[],
    to: { version: number; head: bigint },
    from = { version: 0, head: 0n },
): Record[] {
    let { version, head } = from;
    const records = bodies.map((body) => {
        const { record, hash } = readRecord(body);
        if (record.version !== version + 1 || record.previous !== head)
            throw new Error(`record ${record.version} does not follow ${version}`);
        version = record.version;
        head = hash;
        return record;
    });
    if (version !== to.version || head !== to.head) throw new Error('the log ends elsewhere');
    return records;
}
