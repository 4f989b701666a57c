// PaymentChannel's refund where the account cannot pay for sending it: the action phase fails, and
// with it the whole transaction. Nothing is lost and nothing is stuck: the state is the one before,
// all coins are there, and a plain transfer mends it. (Two messages leave at most, of 255 that may:
// there is no list of actions that is too long.)
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import type { Prices } from '../../tests/ton-testnode/src/chain-config.ts';
import * as wire from '../wrappers/channel.ts';
import {
    type Deployed,
    FEE_VALUE,
    KEY,
    open,
    PAYEE,
    PAYER,
    STRANGER,
    sendBody,
    stored,
    voucher,
    WINDOW,
} from './channel-stage.ts';
import { COIN, type Moment, type Outcome, World } from './world.ts';

function paidTo(result: Outcome, to: typeof PAYER): bigint {
    for (const message of result.transactions[0]!.outMessages.values())
        if (message.info.type === 'internal' && message.info.dest.equals(to))
            return message.info.value.coins + message.info.forwardFee;
    return 0n;
}

for (const prices of ['before-2026', 'since-2026'] as Prices[]) {
    describe(`refunds that cannot be sent, prices ${prices}`, () => {
        let d: Deployed;
        let snapshot: Moment;

        before(async () => {
            d = await open(await World.create(prices));
            snapshot = d.world.snapshot();
        });
        beforeEach(() => d.world.restore(snapshot));

        /** The action phase failed; the state and every coin but the fees are still there. */
        async function failed(value: bigint, act: () => Promise<Outcome>): Promise<void> {
            const data = await d.world.dataOf(d.address);
            const balance = d.world.balance(d.address);
            const result = await act();
            assert.equal(result.exit, 0, 'every check passed');
            assert.equal(result.actionOk, false, 'and the refund could not be sent');
            assert.equal(paidTo(result, PAYER), 0n);
            assert.ok((await d.world.dataOf(d.address)).equals(data), 'the state is untouched');
            // World.send holds that value is conserved to the nano unit.
            assert.ok(d.world.balance(d.address) >= balance, 'the account lost nothing');
            assert.ok(d.world.balance(d.address) <= balance + value);
        }

        test('at_the_end_of_the_window_it_waits_for_coins', async () => {
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW);
            const gas = (await sendBody(d, wire.finishClose(), STRANGER)).fees;
            await d.world.restore(snapshot);
            await sendBody(d, wire.startClose(), PAYER);
            d.world.advance(WINDOW);
            // What the message leaves above its gas does not carry a message of its own.
            await d.world.decree(d.address, 0n);
            const body = wire.finishClose();
            const letter = { from: STRANGER, to: d.address, value: gas, body };
            await failed(gas, () => d.world.send(letter));
            // Whoever brings coins ends it, also much later: all of them are the payer's.
            d.world.advance(30 * 86_400);
            await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            const result = await sendBody(d, wire.finishClose(), STRANGER);
            assert.equal(result.exit, 0);
            assert.ok(result.actionOk);
            assert.ok(paidTo(result, PAYER) > (COIN * 9n) / 10n);
            assert.equal(d.world.balance(d.address), 0n);
            assert.equal((await stored(d)).closeAt, wire.CLOSED);
        });

        test('at_a_close_by_both_the_payout_before_it_does_not_leave_either', async () => {
            const close = wire.voucherCell(await voucher(d), wire.CLOSE_TAG);
            const body = wire.coopClose(close, KEY.secretKey);
            // Enough for the increment, nothing for the message that returns the rest.
            await d.world.decree(d.address, COIN + 1_000n);
            await failed(FEE_VALUE, async () => {
                const result = await sendBody(d, body, PAYEE);
                assert.equal(paidTo(result, PAYEE) > FEE_VALUE, false, 'no increment left');
                return result;
            });
            await d.world.send({ from: STRANGER, to: d.address, value: COIN });
            const result = await sendBody(d, body, PAYEE);
            assert.equal(result.exit, 0);
            assert.ok(paidTo(result, PAYEE) >= COIN);
            assert.ok(paidTo(result, PAYER) > (COIN * 9n) / 10n);
            assert.equal((await stored(d)).closeAt, wire.CLOSED);
        });
    });
}
