// Bytes of the Registry: its first state and its messages.
import { Address, beginCell, Cell, type StateInit } from '@ton/core';
import { committedCode } from './code.ts';

export const OP_ADD = 0x52470001;
export const OP_REVOKE = 0x52470002;
export const MEASUREMENT = 0;
export const MODEL = 1;

export interface Roles {
    adder: Address;
    revoker: Address;
    delay: number;
}

export function registryInit(roles: Roles): StateInit {
    const data = beginCell()
        .storeUint(roles.delay, 32)
        .storeUint(0, 32)
        .storeMaybeRef(null)
        .storeMaybeRef(null)
        .storeRef(beginCell().storeAddress(roles.adder).storeAddress(roles.revoker).endCell())
        .endCell();
    return { code: committedCode('registry'), data };
}

function change(op: number, kind: number, hash: bigint): Cell {
    return beginCell().storeUint(op, 32).storeUint(kind, 8).storeUint(hash, 256).endCell();
}

export function add(kind: number, hash: bigint): Cell {
    return change(OP_ADD, kind, hash);
}

export function revoke(kind: number, hash: bigint): Cell {
    return change(OP_REVOKE, kind, hash);
}
