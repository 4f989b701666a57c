// PaymentChannel in a jetton at the edges of what an amount can be.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { beginCell, type Cell } from '@ton/core';
import { sign } from '@ton/crypto';
import * as wire from '../wrappers/channel.ts';
import * as tep from '../wrappers/jetton.ts';
import * as jettons from '../wrappers/jetton-channel.ts';
import { KEY, PAYEE, PAYER, WINDOW } from './channel-stage.ts';
import {
    claim,
    DEPOSIT,
    type Deployed,
    deposit,
    MINTED,
    open,
    refused,
    sendBody,
    stored,
    transfersOf,
    VALUE,
    voucher,
} from './jetton-stage.ts';
import { type Moment, type Outcome, World } from './world.ts';

const LARGEST = 2n ** 120n - 1n;

describe('amounts of a payment channel in a jetton', () => {
    let d: Deployed;
    let snapshot: Moment;

    before(async () => {
        d = await open(await World.create());
        snapshot = d.world.snapshot();
    });
    beforeEach(() => d.world.restore(snapshot));

    /** What the channel's wallet would say of more jettons than there can be. */
    function told(amount: bigint): Promise<Outcome> {
        const body = tep.jettonNotification(amount, PAYER);
        return d.world.send({ from: d.wallet, to: d.address, value: VALUE, body, bounce: false });
    }

    test('nothing_is_paid_for_nothing', async () => {
        await refused(d, 104, () => claim(d, { cumulative: 0n, receiptsRoot: 0n }));
        assert.equal((await claim(d, { cumulative: 0n })).exit, 0);
        assert.equal(await d.jetton.of(d.address), DEPOSIT);
    });

    test('the_smallest_amount_is_paid_once', async () => {
        assert.equal((await claim(d, { cumulative: 1n })).exit, 0);
        assert.equal(await d.jetton.of(PAYEE), 1n);
        await refused(d, 104, () => claim(d, { cumulative: 1n }));
    });

    test('all_that_can_be_is_deposited_paid_and_returned', async () => {
        await d.jetton.mint(PAYER, LARGEST - 2n * MINTED);
        const rest = LARGEST - 2n * MINTED;
        await deposit(d, rest);
        assert.equal((await stored(d)).deposited, rest + DEPOSIT);
        const half = 2n ** 119n;
        await claim(d, { cumulative: half });
        assert.equal(await d.jetton.of(PAYEE), half);
        await sendBody(d, wire.startClose(), PAYER);
        d.world.advance(WINDOW);
        await sendBody(d, wire.finishClose(), PAYER);
        assert.equal(await d.jetton.of(d.address), 0n);
        assert.equal(await d.jetton.of(PAYER), rest + MINTED - half);
    });

    test('a_total_up_to_the_largest_counts_and_beyond_it_nothing_does', async () => {
        const moment = d.world.snapshot();
        const fits = LARGEST - DEPOSIT;
        assert.equal(transfersOf(await told(fits)).length, 0);
        assert.equal((await stored(d)).deposited, LARGEST);
        await refused(d, 104, () => claim(d, { cumulative: 0n, receiptsRoot: 0n }));
        await d.world.restore(moment);
        for (const amount of [fits + 1n, LARGEST]) {
            const [back] = transfersOf(await told(amount));
            assert.equal(back?.transfer.amount, amount);
            assert.ok(back?.transfer.destination.equals(PAYER));
            assert.equal((await stored(d)).deposited, DEPOSIT);
        }
        await refused(d, 109, () => claim(d, { cumulative: LARGEST }));
    });

    test('a_payout_of_the_largest_amount_that_bounces_is_due', async () => {
        await told(LARGEST - DEPOSIT);
        // The wallet has not got them: this is an issuer that lies.
        await claim(d, { cumulative: LARGEST });
        assert.equal((await stored(d)).duePayee, LARGEST);
        await sendBody(d, jettons.resend('payee'), PAYEE);
        assert.equal((await stored(d)).duePayee, LARGEST);
    });

    test('an_amount_in_more_bytes_than_it_needs_pays_no_second_time', async () => {
        const plain = await voucher(d);
        const long: Cell = beginCell()
            .storeUint(wire.VOUCHER_TAG, 32)
            .storeInt(plain.network, 32)
            .storeAddress(plain.channel)
            .storeUint(plain.epoch, 32)
            .storeUint(15, 4)
            .storeUint(plain.cumulative, 120)
            .storeUint(plain.receiptsRoot, 256)
            .storeUint(plain.validUntil, 32)
            .endCell();
        const signature = sign(wire.voucherCell(plain).hash(), KEY.secretKey);
        await refused(d, 103, () => sendBody(d, wire.signedClaim(long, signature), PAYEE));
        assert.equal((await claim(d)).exit, 0);
        await refused(d, 104, () => sendBody(d, wire.claim(long, KEY.secretKey), PAYEE));
        assert.equal(await d.jetton.of(PAYEE), plain.cumulative);
    });

    test('an_amount_cut_short_is_refused', async () => {
        const good = wire.voucherCell(await voucher(d));
        const cut = beginCell().storeBits(good.bits.substring(0, good.bits.length - 8)).endCell();
        await refused(d, 9, () => sendBody(d, wire.claim(cut, KEY.secretKey), PAYEE));
    });
});
