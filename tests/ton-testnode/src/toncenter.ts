// The subset of the toncenter v2 API that clients of this project use, as a table of methods from
// parameters to results. Not here: sockets, and every method that nobody here calls.
import { createHash } from 'node:crypto';
import { Address, Cell, Dictionary, type Message, type TupleItem } from '@ton/core';
import { type Chain, type Recorded, Refused } from './chain.ts';

export type Parameters = Record<string, unknown>;
type Method = (chain: Chain, parameters: Parameters) => Promise<unknown> | unknown;

const MOST_TRANSACTIONS = 100;
const SHARD = '-9223372036854775808';

export const METHODS: Record<string, Method> = {
    getMasterchainInfo: (chain) => ({
        '@type': 'blocks.masterchainInfo',
        last: blockId(chain.seqno),
        state_root_hash: label(`state ${chain.seqno}`),
        init: {
            ...blockId(0),
            root_hash: label('zero state'),
            file_hash: label('zero state file'),
        },
    }),
    getAddressInformation: addressInformation,
    getConfigParam: configParameter,
    runGetMethod,
    sendBoc: async (chain, parameters) => {
        await chain.submit(boc(parameters['boc']));
        return { '@type': 'ok' };
    },
    getTransactions: transactions,
};

async function addressInformation(chain: Chain, parameters: Parameters): Promise<unknown> {
    const account = await chain.account(address(parameters['address']));
    return {
        '@type': 'raw.fullAccountState',
        balance: account.balance.toString(),
        code: account.code ? base64(account.code) : '',
        data: account.data ? base64(account.data) : '',
        last_transaction_id: {
            '@type': 'internal.transactionId',
            lt: account.lastLt.toString(),
            hash: account.lastHash.toString('base64'),
        },
        block_id: blockId(chain.seqno),
        frozen_hash: '',
        sync_utime: chain.now,
        state: account.state,
    };
}

function configParameter(chain: Chain, parameters: Parameters): unknown {
    const index = integer(parameters['config_id'] ?? parameters['param'], 'config_id');
    const all = Dictionary.loadDirect(
        Dictionary.Keys.Int(32),
        Dictionary.Values.Cell(),
        chain.config,
    );
    const parameter = all.get(index);
    if (!parameter) throw new Refused('no such parameter', 404);
    return { '@type': 'configInfo', config: { '@type': 'tvm.cell', bytes: base64(parameter) } };
}

async function runGetMethod(chain: Chain, parameters: Parameters): Promise<unknown> {
    const method = parameters['method'];
    if (typeof method !== 'string' && typeof method !== 'number')
        throw new Refused('method is missing', 422);
    const given = parameters['stack'] ?? [];
    if (!Array.isArray(given)) throw new Refused('stack is not a list', 422);
    const to = address(parameters['address']);
    const result = await chain.getter(to, method, given.map(stackArgument));
    return {
        '@type': 'smc.runResult',
        gas_used: result.gasUsed,
        exit_code: result.exitCode,
        stack: result.stack.map(stackResult),
    };
}

function transactions(chain: Chain, parameters: Parameters): unknown {
    const limit = Math.min(integer(parameters['limit'] ?? 10, 'limit'), MOST_TRANSACTIONS);
    const lt = parameters['lt'] === undefined ? undefined : BigInt(integer(parameters['lt'], 'lt'));
    const all = chain.transactions(address(parameters['address']), limit, lt);
    return all.map(transactionView);
}

function transactionView(recorded: Recorded): unknown {
    const { transaction } = recorded;
    const description = transaction.description;
    const storage =
        description.type === 'generic'
            ? (description.storagePhase?.storageFeesCollected ?? 0n)
            : 0n;
    const fee = transaction.totalFees.coins;
    return {
        '@type': 'raw.transaction',
        utime: recorded.utime,
        data: base64(recorded.raw),
        transaction_id: {
            '@type': 'internal.transactionId',
            lt: recorded.lt.toString(),
            hash: recorded.hash.toString('base64'),
        },
        fee: fee.toString(),
        storage_fee: storage.toString(),
        other_fee: (fee - storage).toString(),
        ...(transaction.inMessage ? { in_msg: messageView(transaction.inMessage) } : {}),
        out_msgs: [...transaction.outMessages.values()].map(messageView),
    };
}

function messageView(message: Message): unknown {
    const info = message.info;
    const inside = info.type === 'internal' ? info : undefined;
    return {
        '@type': 'raw.message',
        source: info.type === 'external-in' ? '' : info.src.toString(),
        destination: info.type === 'external-out' ? '' : info.dest.toString(),
        value: (inside?.value.coins ?? 0n).toString(),
        fwd_fee: (inside?.forwardFee ?? 0n).toString(),
        ihr_fee: (inside?.ihrFee ?? 0n).toString(),
        created_lt: (info.type === 'external-in' ? 0n : info.createdLt).toString(),
        body_hash: message.body.hash().toString('base64'),
        msg_data: { '@type': 'msg.dataRaw', body: base64(message.body), init_state: '' },
    };
}

function stackArgument(entry: unknown): TupleItem {
    if (!Array.isArray(entry) || entry.length !== 2)
        throw new Refused('stack entry is not a pair', 422);
    const [kind, value] = entry as [unknown, unknown];
    if (kind === 'num') return { type: 'int', value: number(value) };
    if (kind === 'tvm.Cell' || kind === 'cell') return { type: 'cell', cell: boc(value) };
    if (kind === 'tvm.Slice' || kind === 'slice') return { type: 'slice', cell: boc(value) };
    throw new Refused('stack entry of an unknown kind', 422);
}

function stackResult(item: TupleItem): unknown {
    switch (item.type) {
        case 'int':
            return [
                'num',
                item.value < 0n
                    ? `-0x${(-item.value).toString(16)}`
                    : `0x${item.value.toString(16)}`,
            ];
        case 'null':
            return ['list', { '@type': 'tvm.list', elements: [] }];
        case 'cell':
        case 'slice':
            return [item.type, { bytes: base64(item.cell) }];
        case 'builder':
        case 'nan':
        case 'tuple':
            throw new Refused(`a getter's ${item.type} is not offered here`, 501);
    }
}

function blockId(seqno: number): object {
    return {
        '@type': 'ton.blockIdExt',
        workchain: -1,
        shard: SHARD,
        seqno,
        root_hash: label(`block ${seqno}`),
        file_hash: label(`file ${seqno}`),
    };
}

/** There are no blocks: a hash of a name stands where a real node shows a block's hash. */
function label(text: string): string {
    return createHash('sha256').update(`ton-testnode ${text}`).digest('base64');
}

function base64(cell: Cell): string {
    return cell.toBoc().toString('base64');
}

export function address(value: unknown): Address {
    if (typeof value !== 'string') throw new Refused('address is missing', 422);
    try {
        return Address.parse(value);
    } catch {
        throw new Refused('not an address', 422);
    }
}

function boc(value: unknown): Cell {
    try {
        const [root, ...others] = Cell.fromBoc(Buffer.from(String(value), 'base64'));
        if (root && others.length === 0) return root;
    } catch {
        // refused below
    }
    throw new Refused('not a bag of one root cell', 422);
}

function integer(value: unknown, name: string): number {
    const parsed = typeof value === 'number' ? value : Number.parseInt(String(value), 10);
    if (!Number.isSafeInteger(parsed) || parsed < 0)
        throw new Refused(`${name} is not a number`, 422);
    return parsed;
}

function number(value: unknown): bigint {
    try {
        const text = String(value);
        return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
    } catch {
        throw new Refused('not a number', 422);
    }
}
