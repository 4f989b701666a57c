// Messages of jettons (TEP-74) and of the discovery of their wallets (TEP-89).
import { type Address, beginCell, type Cell, type Slice } from '@ton/core';

export const OP_TRANSFER = 0x0f8a7ea5;
export const OP_NOTIFICATION = 0x7362d09c;
export const OP_INTERNAL_TRANSFER = 0x178d4519;
export const OP_EXCESSES = 0xd53276db;
export const OP_PROVIDE_WALLET = 0x2c76b973;
export const OP_TAKE_WALLET = 0xd1735400;

export interface JettonTransfer {
    queryId: bigint;
    amount: bigint;
    destination: Address;
    /** Gets what is left of the value. */
    leftover: Address | null;
    customPayload?: Cell;
    /** Value of the notification to the new owner; without it there is none. */
    forwardValue: bigint;
    forwardPayload?: Cell;
}

export function jettonTransfer(transfer: JettonTransfer): Cell {
    return beginCell()
        .storeUint(OP_TRANSFER, 32)
        .storeUint(transfer.queryId, 64)
        .storeCoins(transfer.amount)
        .storeAddress(transfer.destination)
        .storeAddress(transfer.leftover)
        .storeMaybeRef(transfer.customPayload)
        .storeCoins(transfer.forwardValue)
        .storeMaybeRef(transfer.forwardPayload)
        .endCell();
}

/** What a transfer's body says, or undefined for another message. */
export function parseJettonTransfer(body: Slice): JettonTransfer | undefined {
    if (body.remainingBits < 32 || body.loadUint(32) !== OP_TRANSFER) return undefined;
    const queryId = body.loadUintBig(64);
    const amount = body.loadCoins();
    const destination = body.loadAddress();
    const leftover = body.loadMaybeAddress();
    const customPayload = body.loadMaybeRef();
    const forwardValue = body.loadCoins();
    const forwardPayload = body.loadMaybeRef();
    return {
        queryId,
        amount,
        destination,
        leftover,
        forwardValue,
        ...(customPayload ? { customPayload } : {}),
        ...(forwardPayload ? { forwardPayload } : {}),
    };
}

/** What a wallet tells its owner of jettons that came. */
export function jettonNotification(
    amount: bigint,
    sender: Address | null,
    forwardPayload?: Cell,
): Cell {
    return beginCell()
        .storeUint(OP_NOTIFICATION, 32)
        .storeUint(0, 64)
        .storeCoins(amount)
        .storeAddress(sender)
        .storeMaybeRef(forwardPayload)
        .endCell();
}

export function takeWallet(wallet: Address): Cell {
    return beginCell()
        .storeUint(OP_TAKE_WALLET, 32)
        .storeUint(0, 64)
        .storeAddress(wallet)
        .storeMaybeRef(null)
        .endCell();
}
