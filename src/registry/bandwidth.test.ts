import { afterEach, describe, expect, test } from "vitest";
import { manualClock } from "../../test/support/manual-clock.js";
import { startOwnRegistry } from "../../test/support/own-registry.js";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import { readAll } from "../content/verify.js";
import { Bandwidth, limitRate } from "./bandwidth.js";
import { bodyOf } from "./body.js";
import type { Call } from "./call.js";

const rate = 1_000_000;
const url = new URL("https://reg.example/v2/");
const call: Call = { method: "PUT", url, role: "registry", headers: {}, access: null, signal: undefined };
const total = (waits: readonly number[]) => waits.reduce((sum, wait) => sum + wait, 0);

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe("a bandwidth", () => {
  test("lets through what the rate allows, and in no second a burst", async () => {
    const clock = manualClock();
    const bandwidth = new Bandwidth(rate, clock);
    const passed: { readonly at: number; readonly bytes: number }[] = [];
    const send = limitRate(async ({ body }) => {
      for await (const { length } of (body as () => AsyncIterable<Uint8Array>)()) {
        passed.push({ at: clock.now(), bytes: length });
      }
      return { status: 201, headers: {}, body: bodyOf(new Uint8Array()), url };
    }, bandwidth);
    const begin = clock.now();
    await send({ ...call, body: () => bodyOf(Buffer.alloc(10 * rate)) });
    expect(clock.now() - begin).toBeGreaterThan(9_500);
    expect(clock.now() - begin).toBeLessThan(10_100);
    for (const { at } of passed) {
      const window = passed.filter((one) => one.at >= at && one.at < at + 1000);
      expect(window.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(1.5 * rate);
    }
  });

  test("is one for both directions and for all that share it", async () => {
    const clock = manualClock();
    const bandwidth = new Bandwidth(rate, clock);
    const send = limitRate(async ({ body }) => {
      if (typeof body === "function") await readAll(body(), 2 * rate);
      return { status: 200, headers: {}, body: bodyOf(Buffer.alloc(rate)), url };
    }, bandwidth);
    const begin = clock.now();
    const transfer = async () => {
      const answer = await send({ ...call, body: () => bodyOf(Buffer.alloc(rate)) });
      await readAll(answer.body, 2 * rate);
    };
    await Promise.all([transfer(), transfer(), transfer()]);
    // Six seconds' worth; the clock of the test adds up the waits that overlap, so it shows no less.
    expect(clock.now() - begin).toBeGreaterThan(5_700);
  });

  test("lets small requests pass at once", async () => {
    const clock = manualClock();
    const bandwidth = new Bandwidth(rate, clock);
    const send = limitRate(
      async () => ({ status: 200, headers: {}, body: bodyOf(Buffer.alloc(1000)), url }),
      bandwidth,
    );
    for (let count = 0; count < 20; count += 1) {
      await readAll((await send({ ...call, body: Buffer.alloc(500) })).body, 2000);
    }
    expect(clock.waits).toEqual([]);
  });

  test("is not held up by a clock that is set back", async () => {
    const clock = manualClock();
    const bandwidth = new Bandwidth(rate, clock);
    await bandwidth.take(rate / 4, undefined);
    clock.advance(-3_600_000);
    await bandwidth.take(rate / 4, undefined);
    expect(total(clock.waits)).toBeLessThanOrEqual(250);
  });

  test("a signal ends the wait", async () => {
    const bandwidth = new Bandwidth(1, manualClock());
    await expect(bandwidth.take(1_000_000, AbortSignal.abort())).rejects.toEqual(withCode("cancelled"));
  });

  test("holds a client's uploads and downloads, and changes no byte", async () => {
    const registry = await startOwnRegistry("memory");
    closers.push(() => registry.close());
    const clock = manualClock();
    const { client } = testClient(registry.url, { bandwidth: new Bandwidth(rate, clock) });
    closers.push(() => client.close());
    const bytes = Buffer.from(randomBytesOf("bandwidth", 3 * rate));
    const descriptor = describeBytes(bytes);
    const repository = client.repository("a/b", { side: "destination" });
    expect(await repository.put(descriptor, sourceOf(bytes, 700_000))).toMatchObject({ outcome: "stored" });
    expect(Buffer.compare(await readAll(repository.get(descriptor), bytes.length), bytes)).toBe(0);
    expect(total(clock.waits)).toBeGreaterThan(5_000);
  });
});
