// Bytes of the PaymentChannel in a jetton: its first state, its stored state, and the messages that
// the channel in the network's own coin does not have. All else is in channel.ts.
import { type Address, beginCell, type Cell, type StateInit } from '@ton/core';
import { CLOSED, type StoredChannel, type Terms } from './channel.ts';
import { committedCode } from './code.ts';

export const OP_DISCOVER = 0x43480006;
export const OP_RESEND = 0x43480007;
export const OP_SWEEP = 0x43480008;

/** Query ids of transfers that the channel makes. */
export const SURPLUS = 0n;
export const PAYOUT = 1n;
export const REFUND = 2n;

export interface JettonTerms extends Terms {
    minter: Address;
}

export interface StoredJettonChannel extends StoredChannel {
    terms: JettonTerms;
    wallet: Address | null;
    duePayee: bigint;
    duePayer: bigint;
    sweepAfter: number;
    openAfter: number;
}

export function jettonChannelInit(terms: JettonTerms): StateInit {
    const parties = beginCell()
        .storeAddress(terms.payee)
        .storeBuffer(terms.payerKey, 32)
        .storeAddress(terms.payer)
        .endCell();
    const jetton = beginCell()
        .storeAddress(null) // wallet, not known yet
        .storeCoins(0) // due to the payee
        .storeCoins(0) // due to the payer
        .storeUint(0, 32) // sweep after
        .storeUint(0, 32) // open after
        .storeAddress(terms.minter)
        .endCell();
    const data = beginCell()
        .storeCoins(0) // claimed
        .storeUint(0, 256) // last root
        .storeUint(CLOSED, 32)
        .storeCoins(0) // deposited
        .storeUint(0, 32) // epoch
        .storeUint(terms.window, 32)
        .storeRef(parties)
        .storeRef(jetton)
        .endCell();
    return { code: committedCode('jetton-channel'), data };
}

export function parseJettonChannel(data: Cell): StoredJettonChannel {
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
    const jetton = slice.loadRef().beginParse();
    slice.endParse();
    const payee = parties.loadAddress();
    const payerKey = parties.loadBuffer(32);
    const payer = parties.loadAddress();
    parties.endParse();
    const wallet = jetton.loadMaybeAddress();
    const duePayee = jetton.loadCoins();
    const duePayer = jetton.loadCoins();
    const sweepAfter = jetton.loadUint(32);
    const openAfter = jetton.loadUint(32);
    const minter = jetton.loadAddress();
    jetton.endParse();
    const terms = { payer, payee, payerKey, window, minter };
    return { ...head, terms, wallet, duePayee, duePayer, sweepAfter, openAfter };
}

/** Has the minter asked which wallet is this channel's. */
export function discover(): Cell {
    return beginCell().storeUint(OP_DISCOVER, 32).endCell();
}

/** Has what bounced sent again. */
export function resend(to: 'payee' | 'payer'): Cell {
    return beginCell()
        .storeUint(OP_RESEND, 32)
        .storeBit(to === 'payee')
        .endCell();
}

/** The payer's, after a close: jettons in a wallet of the channel that were never counted. */
export function sweep(wallet: Address, amount: bigint): Cell {
    return beginCell()
        .storeUint(OP_SWEEP, 32)
        .storeAddress(wallet)
        .storeCoins(amount)
        .endCell();
}
