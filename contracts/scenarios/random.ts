// Numbers for random sequences, the same for the same seed: xorshift over 64 bits.

export class Random {
    private state: bigint;

    constructor(seed: number) {
        this.state = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n;
    }

    private next(): bigint {
        let x = BigInt.asUintN(64, this.state);
        x ^= x >> 12n;
        x ^= BigInt.asUintN(64, x << 25n);
        x ^= x >> 27n;
        this.state = x;
        return BigInt.asUintN(64, x * 0x2545f4914f6cdd1dn) >> 11n;
    }

    /** From 0 to `count - 1`. */
    below(count: number): number {
        return Number(this.next() % BigInt(count));
    }

    /** From 0 to `most`, both included. */
    amount(most: bigint): bigint {
        return most <= 0n ? 0n : this.next() % (most + 1n);
    }

    /** True once in so many times. */
    once(inSoMany: number): boolean {
        return this.below(inSoMany) === 0;
    }

    pick<T>(from: readonly T[]): T {
        const one = from[this.below(from.length)];
        if (one === undefined) throw new Error('nothing to pick from');
        return one;
    }
}
