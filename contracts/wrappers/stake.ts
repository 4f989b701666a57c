// Bytes of the ProviderStake: its first state, its messages, and the evidence that it judges.
import { createHash } from 'node:crypto';
import { Address, beginCell, Cell, type StateInit } from '@ton/core';
import { sign } from '@ton/crypto';
import { committedCode } from './code.ts';
import { RECEIPT_BYTES, receiptCells } from './receipt.ts';

export const OP_STAKE = 0x53540001;
export const OP_UNBOND = 0x53540002;
export const OP_WITHDRAW = 0x53540003;
export const OP_CONFLICT = 0x53540004;
export const BINDING_TAG = 0x424e4431;
const BLOCK_TAG = 0x11ef55aa;
const HEADER_TAG = 0x9bc7a987;

export interface StakeTerms {
    owner: Address;
    registry: Address;
    sink: Address;
    providerKey: Buffer;
    unbonding: number;
    grace: number;
}

export interface StoredStake {
    staked: bigint;
    releaseAt: number;
    slashedAt: number;
    terms: StakeTerms;
}

export function stakeInit(terms: StakeTerms): StateInit {
    const parties = beginCell()
        .storeAddress(terms.owner)
        .storeAddress(terms.registry)
        .storeAddress(terms.sink)
        .endCell();
    const data = beginCell()
        .storeCoins(0)
        .storeUint(0, 64) // not unbonding, not slashed
        .storeBuffer(terms.providerKey, 32)
        .storeUint(terms.unbonding, 32)
        .storeUint(terms.grace, 32)
        .storeRef(parties)
        .endCell();
    return { code: committedCode('stake'), data };
}

export function parseStake(data: Cell): StoredStake {
    const slice = data.beginParse();
    const [staked, releaseAt, slashedAt] = [
        slice.loadCoins(),
        slice.loadUint(32),
        slice.loadUint(32),
    ];
    const providerKey = slice.loadBuffer(32);
    const [unbonding, grace] = [slice.loadUint(32), slice.loadUint(32)];
    const parties = slice.loadRef().beginParse();
    slice.endParse();
    const [owner, registry, sink] = [
        parties.loadAddress(),
        parties.loadAddress(),
        parties.loadAddress(),
    ];
    parties.endParse();
    const terms = { owner, registry, sink, providerKey, unbonding, grace };
    return { staked, releaseAt, slashedAt, terms };
}

export interface Binding {
    network: number;
    stake: Address;
    receiptKey: Buffer;
    measurement: bigint;
}

export function bindingCell(binding: Binding, tag = BINDING_TAG): Cell {
    return beginCell()
        .storeUint(tag, 32)
        .storeInt(binding.network, 32)
        .storeAddress(binding.stake)
        .storeBuffer(binding.receiptKey, 32)
        .storeUint(binding.measurement, 256)
        .endCell();
}

export function signedBinding(binding: Cell, secretKey: Buffer): Cell {
    return beginCell()
        .storeBuffer(sign(binding.hash(), secretKey), 64)
        .storeRef(binding)
        .endCell();
}

/** From the 451 bytes that serve gave. */
export function signedReceipt(signed: Buffer): Cell {
    return beginCell()
        .storeBuffer(signed.subarray(RECEIPT_BYTES), 64)
        .storeRef(receiptCells(signed.subarray(0, RECEIPT_BYTES)))
        .endCell();
}

export interface MasterchainBlock {
    root: Cell;
    fileHash: Buffer;
    seqno: number;
}

/** docs/spec/stake.md, §3. */
export function beaconOf(network: number, block: MasterchainBlock): Buffer {
    const numbers = Buffer.alloc(8);
    numbers.writeInt32LE(network, 0);
    numbers.writeUInt32LE(block.seqno, 4);
    return createHash('sha256')
        .update('cocoon/beacon/v1\0')
        .update(numbers)
        .update(block.root.hash())
        .update(block.fileHash)
        .digest();
}

/** As much of a block as shows its time under its hash. */
export function blockProof(block: MasterchainBlock): Cell {
    const [header, ...others] = block.root.refs;
    if (!header || others.length !== 3) throw new Error('not the root of a block');
    const siblings = beginCell();
    for (const other of others) siblings.storeBuffer(other.hash(0), 32);
    for (const other of others) siblings.storeUint(other.depth(0), 16);
    return beginCell()
        .storeBuffer(block.fileHash, 32)
        .storeRef(header)
        .storeRef(siblings.endCell())
        .endCell();
}

/** A block of no chain: the header is laid out as a real one, the rest stands in for the rest. */
export function inventedBlock(of: {
    network: number;
    seqno: number;
    at: number;
    workchain?: number;
}): MasterchainBlock {
    const header = beginCell()
        .storeUint(HEADER_TAG, 32)
        .storeUint(0, 32) // version
        .storeUint(0, 8 + 8) // single bits, flags
        .storeUint(of.seqno, 32)
        .storeUint(0, 32) // vertical seqno
        .storeUint(0, 8) // shard: the whole workchain
        .storeInt(of.workchain ?? -1, 32)
        .storeUint(0, 64)
        .storeUint(of.at, 32)
        .storeUint(0, 64 + 64 + 32 * 4) // logical times and what follows
        .storeRef(beginCell().storeUint(1, 8).endCell())
        .endCell();
    const other = (index: number) => {
        let cell = Cell.EMPTY;
        for (let depth = 0; depth < index; depth += 1)
            cell = beginCell().storeUint(index, 8).storeRef(cell).endCell();
        return cell;
    };
    const root = beginCell()
        .storeUint(BLOCK_TAG, 32)
        .storeInt(of.network, 32)
        .storeRef(header)
        .storeRef(other(1))
        .storeRef(other(2))
        .storeRef(other(3))
        .endCell();
    return { root, fileHash: createHash('sha256').update(root.toBoc()).digest(), seqno: of.seqno };
}

export function stake(amount: bigint): Cell {
    return beginCell().storeUint(OP_STAKE, 32).storeCoins(amount).endCell();
}

export function unbond(): Cell {
    return beginCell().storeUint(OP_UNBOND, 32).endCell();
}

export function withdraw(): Cell {
    return beginCell().storeUint(OP_WITHDRAW, 32).endCell();
}

export function conflict(binding: Cell, first: Cell, second: Cell): Cell {
    return beginCell()
        .storeUint(OP_CONFLICT, 32)
        .storeRef(binding)
        .storeRef(first)
        .storeRef(second)
        .endCell();
}

/** What the registry is asked to pass on: see `tell` of the registry. */
export function lateEvidence(binding: Cell, receipt: Cell, block: Cell): Cell {
    return beginCell().storeRef(binding).storeRef(receipt).storeRef(block).endCell();
}
