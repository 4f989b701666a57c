// The committed code of the contracts.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Address, Cell, contractAddress, type StateInit } from '@ton/core';

export type ContractName = 'channel' | 'jetton-channel' | 'registry' | 'stake';
/** Contracts that stand for others' in the scenarios. */
export type TestContractName = 'test/jetton-minter' | 'test/jetton-wallet';

export function committedCode(name: ContractName | TestContractName): Cell {
    const room = join(dirname(fileURLToPath(import.meta.url)), '..');
    const [root, ...others] = Cell.fromBoc(readFileSync(join(room, 'compiled', `${name}.boc`)));
    if (!root || others.length > 0) throw new Error(`compiled/${name}.boc must hold one root`);
    const expected = readFileSync(join(room, 'compiled', `${name}.hash`), 'utf8').trim();
    if (root.hash().toString('hex') !== expected) throw new Error(`compiled/${name}.hash differs`);
    return root;
}

export function addressOf(init: StateInit, workchain = 0): Address {
    return contractAddress(workchain, init);
}
