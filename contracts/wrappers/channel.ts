// Bytes of the PaymentChannel: its first state, its messages, its voucher, its stored state.
import { Address, beginCell, Cell, type StateInit } from '@ton/core';
import { sign } from '@ton/crypto';
import { committedCode } from './code.ts';

export const OP_TOP_UP = 0x43480001;
export const OP_CLAIM = 0x43480002;
export const OP_START_CLOSE = 0x43480003;
export const OP_FINISH_CLOSE = 0x43480004;
export const OP_COOP_CLOSE = 0x43480005;
export const VOUCHER_TAG = 0x56434831;
/** Tag of what the payer signs to close at once: a voucher's members otherwise. */
export const CLOSE_TAG = 0x56434331;

/** Values of `closeAt` that are no time: the channel is closed (or not yet opened), or open. */
export const CLOSED = 0;
export const OPEN = 0xffffffff;

export interface Terms {
    payer: Address;
    payee: Address;
    payerKey: Buffer;
    window: number;
}

export interface Voucher {
    network: number;
    channel: Address;
    epoch: number;
    cumulative: bigint;
    receiptsRoot: bigint;
    validUntil: number;
}

export interface StoredChannel {
    claimed: bigint;
    lastRoot: bigint;
    deposited: bigint;
    closeAt: number;
    epoch: number;
    terms: Terms;
}

export function channelInit(terms: Terms): StateInit {
    const parties = beginCell()
        .storeAddress(terms.payee)
        .storeBuffer(terms.payerKey, 32)
        .storeAddress(terms.payer)
        .endCell();
    const data = beginCell()
        .storeCoins(0) // claimed
        .storeUint(0, 256) // last root
        .storeUint(CLOSED, 32)
        .storeCoins(0) // deposited
        .storeUint(0, 32) // epoch
        .storeUint(terms.window, 32)
        .storeRef(parties)
        .endCell();
    return { code: committedCode('channel'), data };
}

export function parseChannel(data: Cell): StoredChannel {
    const slice = data.beginParse();
    const head = {
        claimed: slice.loadCoins(),
        lastRoot: slice.loadUintBig(256),
        closeAt: slice.loadUint(32),
        deposited: slice.loadCoins(),
        epoch: slice.loadUint(32),
    };
    const window = slice.loadUint(32);
    const parties = slice.loadRef().beginParse();
    slice.endParse();
    const payee = parties.loadAddress();
    const payerKey = parties.loadBuffer(32);
    const payer = parties.loadAddress();
    parties.endParse();
    return { ...head, terms: { payer, payee, payerKey, window } };
}

export function voucherCell(voucher: Voucher, tag = VOUCHER_TAG): Cell {
    return beginCell()
        .storeUint(tag, 32)
        .storeInt(voucher.network, 32)
        .storeAddress(voucher.channel)
        .storeUint(voucher.epoch, 32)
        .storeCoins(voucher.cumulative)
        .storeUint(voucher.receiptsRoot, 256)
        .storeUint(voucher.validUntil, 32)
        .endCell();
}

export function topUp(amount: bigint): Cell {
    return beginCell().storeUint(OP_TOP_UP, 32).storeCoins(amount).endCell();
}

export function claim(voucher: Cell, secretKey: Buffer): Cell {
    return signedClaim(voucher, sign(voucher.hash(), secretKey));
}

export function signedClaim(voucher: Cell, signature: Buffer): Cell {
    return beginCell()
        .storeUint(OP_CLAIM, 32)
        .storeBuffer(signature, 64)
        .storeRef(voucher)
        .endCell();
}

export function startClose(): Cell {
    return beginCell().storeUint(OP_START_CLOSE, 32).endCell();
}

export function finishClose(): Cell {
    return beginCell().storeUint(OP_FINISH_CLOSE, 32).endCell();
}

/** The payer's word that the channel may close at once, for the payee to send. */
export function coopClose(close: Cell, secretKey: Buffer): Cell {
    return signedCoopClose(close, sign(close.hash(), secretKey));
}

export function signedCoopClose(close: Cell, signature: Buffer): Cell {
    return beginCell()
        .storeUint(OP_COOP_CLOSE, 32)
        .storeBuffer(signature, 64)
        .storeRef(close)
        .endCell();
}
