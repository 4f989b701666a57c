// The node as its users see it: the unmodified @ton/ton client, the controls, the signals.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Address, internal, SendMode } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { TonClient, WalletContractV4, WalletContractV5R1 } from '@ton/ton';

const START = 1_795_000_000;
const MOST_START_MS = 15_000;
const script = join(dirname(fileURLToPath(import.meta.url)), '../start');
const keys = keyPairFromSeed(Buffer.alloc(32, 11));
const receiver = new Address(0, Buffer.alloc(32, 12));

describe('the test node', () => {
    let node: ChildProcess;
    let base: string;
    let client: TonClient;
    let startedIn: number;

    before(async () => {
        const from = Date.now();
        node = spawn(script, ['--now', String(START)], { stdio: ['ignore', 'pipe', 'inherit'] });
        assert.ok(node.stdout);
        const [line] = (await once(createInterface(node.stdout), 'line')) as [string];
        startedIn = Date.now() - from;
        const ready = /^ready (http:\/\/127\.0\.0\.1:[0-9]+)$/.exec(line);
        assert.ok(ready?.[1], line);
        base = ready[1];
        client = new TonClient({ endpoint: `${base}/api/v2/jsonRPC` });
    });
    after(() => node.kill('SIGKILL'));

    async function control(path: string, body: object): Promise<Response> {
        return fetch(`${base}/testnode/${path}`, { method: 'POST', body: JSON.stringify(body) });
    }

    async function fund(address: Address): Promise<void> {
        const funded = await control('faucet', {
            address: address.toRawString(),
            amount: '5000000000',
        });
        assert.equal(funded.status, 200);
    }

    function transfer(): ReturnType<typeof internal> {
        return internal({ to: receiver, value: 1_000_000_000n, bounce: false });
    }

    test('is_ready_within_fifteen_seconds_even_on_a_busy_machine', () => {
        assert.ok(startedIn < MOST_START_MS, `${startedIn} ms`);
    });

    test('has_a_network_id_of_its_own_and_logical_time', async () => {
        const status = (await (await fetch(`${base}/testnode/status`)).json()) as {
            result: object;
        };
        const seen = status.result as { network: number; now: number; emulated: boolean };
        assert.deepEqual([seen.network, seen.now, seen.emulated], [-7357, START, true]);
        assert.ok((await client.getMasterchainInfo()).latestSeqno >= 1);
        assert.equal((await control('advance', { seconds: '10' })).status, 200);
        const later = (await (await fetch(`${base}/testnode/status`)).json()) as {
            result: { now: number };
        };
        assert.equal(later.result.now, START + 10);
        await fund(receiver);
        const funded = (await (await fetch(`${base}/testnode/status`)).json()) as {
            result: { accounts: string[] };
        };
        assert.ok(funded.result.accounts.includes(receiver.toRawString()));
        assert.equal((await control('advance', { seconds: '-1' })).status, 422);
    });

    test('the_unmodified_client_sends_from_wallet_v4r2', async () => {
        const wallet = client.open(
            WalletContractV4.create({ workchain: 0, publicKey: keys.publicKey }),
        );
        await fund(wallet.address);
        const before = await client.getBalance(receiver);
        const sent = wallet.createTransfer({
            seqno: 0,
            secretKey: keys.secretKey,
            messages: [transfer()],
            timeout: START + 60,
            sendMode: SendMode.PAY_GAS_SEPARATELY,
        });
        await wallet.send(await sent);
        assert.equal(await wallet.getSeqno(), 1);
        assert.equal((await client.getBalance(receiver)) - before, 1_000_000_000n);
        const [last] = await client.getTransactions(wallet.address, { limit: 1 });
        assert.ok(last && last.totalFees.coins > 0n);
        assert.equal(last.outMessagesCount, 1);
        await assert.rejects(async () => wallet.send(await sent), /status code 500/);
        assert.equal(await wallet.getSeqno(), 1);
    });

    test('the_unmodified_client_sends_from_wallet_v5r1', async () => {
        const walletId = { networkGlobalId: -7357 };
        const contract = WalletContractV5R1.create({ publicKey: keys.publicKey, walletId });
        const wallet = client.open(contract);
        await fund(wallet.address);
        await wallet.sendTransfer({
            seqno: 0,
            secretKey: keys.secretKey,
            messages: [transfer()],
            timeout: START + 60,
            sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
        });
        assert.equal(await wallet.getSeqno(), 1);
    });

    test('refuses_what_it_does_not_offer_and_what_is_not_well_formed', async () => {
        const status = async (path: string, body?: string) =>
            (await fetch(`${base}${path}`, body === undefined ? {} : { method: 'POST', body }))
                .status;
        assert.equal(await status('/api/v2/lookupBlock'), 404);
        assert.equal(await status('/api/v2/constructor'), 404);
        assert.equal(await status('/elsewhere'), 404);
        assert.equal(await status('/api/v2/getAddressInformation?address=x'), 422);
        assert.equal(await status('/api/v2/sendBoc', '{"boc":"AAAA"}'), 422);
        assert.equal(await status('/api/v2/jsonRPC', 'nonsense'), 422);
        assert.equal(await status('/api/v2/jsonRPC', `{"x":"${'y'.repeat(1024 * 1024)}"}`), 413);
        assert.equal(await status('/testnode/faucet', '{"address":"x","amount":"1"}'), 422);
    });

    test('stops_on_sigterm', async () => {
        node.kill('SIGTERM');
        const [code] = (await once(node, 'exit')) as [number | null];
        assert.equal(code, 0);
    });
});
