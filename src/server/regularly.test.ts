import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type ManualClock, manualClock } from "../../test/support/manual-clock.js";
import { LadingError } from "../errors.js";
import { type Digest, digestOf } from "../oci/digest.js";
import { collectRegularly } from "./collect-regularly.js";
import type { CollectReport } from "./collect-report.js";
import { ReadRate } from "./read-rate.js";
import { createRegistryOn, type Registry } from "./registry.js";
import type { ScrubReport } from "./scrub.js";
import { scrubRegularly } from "./scrub-regularly.js";
import { MemoryStorage, memoryContent } from "./storage/memory.js";
import type { Upkeep } from "./upkeep.js";

const hour = 60 * 60 * 1000;
const day = 24 * hour;

/** A registry in memory whose time is the clock's, and what a timer of it did. */
class Watched {
  readonly clock: ManualClock = manualClock();
  readonly content = memoryContent();
  readonly registry: Registry = this.open();
  readonly reports: (CollectReport | ScrubReport)[] = [];
  readonly errors: unknown[] = [];
  /** How often the timer has looked and gone to rest. */
  looks = 0;

  open(): Registry {
    return createRegistryOn(new MemoryStorage(this.clock.now, this.content), { now: this.clock.now });
  }

  readonly options = {
    onReport: (report: CollectReport | ScrubReport) => void this.reports.push(report),
    onError: (error: unknown) => void this.errors.push(error),
    alarms: {
      now: () => this.clock.now(),
      alarm: (milliseconds: number, ring: () => void) => {
        this.looks++;
        return this.clock.alarm(milliseconds, ring);
      },
    },
  };

  /** Lets time go by in steps of which none is longer than the timer's, and the timer do what it has to. */
  async pass(milliseconds: number): Promise<void> {
    for (let left = milliseconds; left > 0; left -= hour) {
      const before = this.looks;
      this.clock.advance(Math.min(left, hour));
      await this.looked(before + 1);
    }
  }

  async looked(times: number): Promise<void> {
    await vi.waitFor(() => expect(this.looks).toBeGreaterThanOrEqual(times), { interval: 1 });
  }

  async put(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf(bytes);
    const headers = { "content-length": String(bytes.length) };
    const url = `/v2/team/app/blobs/uploads/?digest=${digest}`;
    expect((await this.registry.handle({ method: "POST", url, headers, body: bytes })).status).toBe(201);
    return digest;
  }
}

describe("collections every so often", () => {
  const started = (upkeep?: Pick<Upkeep, "collect" | "lastCollected">) => {
    const watched = new Watched();
    const stop = collectRegularly(upkeep ?? watched.registry.upkeep, day, watched.options);
    onTestFinished(stop);
    return { watched, stop };
  };

  it("begin at once where there was none, and come again a day after each", async () => {
    const { watched } = started();
    await watched.looked(1);
    expect(watched.reports).toHaveLength(1);
    await watched.pass(day - hour);
    expect(watched.reports).toHaveLength(1);
    await watched.pass(hour);
    expect(watched.reports).toHaveLength(2);
    await watched.pass(2 * day);
    expect(watched.reports).toHaveLength(4);
  });

  it("are counted from the last one, whoever made it", async () => {
    const { watched } = started();
    await watched.looked(1);
    await watched.pass(20 * hour);
    await watched.registry.upkeep.collect();
    await watched.pass(20 * hour);
    expect(watched.reports).toHaveLength(1);
    await watched.pass(4 * hour);
    expect(watched.reports).toHaveLength(2);
  });

  it("say what failed, and try again after their interval; one that runs already is no failure", async () => {
    const failures = [new LadingError("io", "the disk"), new LadingError("conflict", "another one")];
    const { watched } = started({
      lastCollected: async () => null,
      collect: async () => {
        throw failures.shift() ?? new LadingError("no-space", "the disk is full");
      },
    });
    await watched.looked(1);
    expect(watched.errors).toMatchObject([{ code: "io" }]);
    await watched.pass(day - hour);
    expect(watched.errors).toHaveLength(1);
    await watched.pass(hour);
    expect([watched.errors.length, failures.length]).toEqual([1, 0]);
    await watched.pass(day);
    expect(watched.errors).toMatchObject([{ code: "io" }, { code: "no-space" }]);
  });

  it("end with the one that runs, and never come again", async () => {
    const signals: AbortSignal[] = [];
    const { watched, stop } = started({
      lastCollected: async () => null,
      collect: ({ signal } = {}) =>
        new Promise((_, reject) => {
          if (!signal) return reject(new Error("nothing ends it"));
          signals.push(signal);
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
    });
    await vi.waitFor(() => expect(signals).toHaveLength(1));
    await stop();
    expect(signals[0]?.aborted).toBe(true);
    expect([watched.looks, watched.errors, watched.reports]).toEqual([0, [], []]);
    watched.clock.advance(2 * day);
    expect(watched.looks).toBe(0);
  });
});

describe("scrubs every so often", () => {
  /** The blob's bytes turn over on the disk. */
  const damage = ({ content }: Watched, digest: Digest) => content.blobs.set(digest, Buffer.from("other bytes"));
  const status = async ({ registry }: Watched, digest: Digest) =>
    (await registry.handle({ method: "GET", url: `/v2/team/app/blobs/${digest}`, headers: {}, body: null })).status;

  it("take a blob that is not what it is called out of reach, an interval after the registry was first looked at", async () => {
    const watched = new Watched();
    const [good, bad] = [await watched.put(Buffer.from("good")), await watched.put(Buffer.from("bad"))];
    onTestFinished(scrubRegularly(watched.registry.upkeep, { interval: 3 * day, rate: null, ...watched.options }));
    await watched.looked(1);
    damage(watched, bad);
    await watched.pass(3 * day - hour);
    expect([watched.reports, await status(watched, bad)]).toEqual([[], 200]);
    await watched.pass(hour);
    expect(watched.reports).toEqual([{ blobs: 2, bytes: 15, quarantined: [bad], unreadable: [] }]);
    expect([await status(watched, good), await status(watched, bad)]).toEqual([200, 404]);
    // what is pushed again is there again, and the next scrub finds nothing
    await watched.put(Buffer.from("bad"));
    await watched.pass(3 * day);
    expect(watched.reports[1]).toMatchObject({ blobs: 2, quarantined: [] });
    expect(await status(watched, bad)).toBe(200);
  });

  it("go on where one was broken off, also in the next process", async () => {
    const watched = new Watched();
    const digests = await Promise.all(["a", "b", "c", "d"].map((text) => watched.put(Buffer.from(text))));
    const [, second, third] = digests.sort();
    damage(watched, third as Digest);
    const controller = new AbortController();
    const { size } = watched.content.blobs;
    // it ends with the second blob
    const get = watched.content.blobs.get.bind(watched.content.blobs);
    watched.content.blobs.get = (digest) => {
      if (digest === second) controller.abort();
      return get(digest);
    };
    await expect(watched.registry.upkeep.scrub({ signal: controller.signal })).rejects.toThrow();
    watched.content.blobs.get = get;
    const report = await watched.open().upkeep.scrub();
    expect(report.blobs).toBeLessThan(size);
    expect(report.blobs).toBeGreaterThan(0);
    expect(report.quarantined).toEqual([third]);
    // and from the beginning once it was through
    expect(await watched.open().upkeep.scrub()).toMatchObject({ blobs: size - 1, quarantined: [] });
  });

  it("are counted from a check that quarantines too", async () => {
    const watched = new Watched();
    const before = await watched.registry.upkeep.lastScrubbed();
    watched.clock.advance(day);
    await watched.registry.upkeep.check();
    expect(await watched.registry.upkeep.lastScrubbed()).toBe(before);
    await watched.registry.upkeep.check({ quarantine: true });
    expect(await watched.registry.upkeep.lastScrubbed()).toBe(before + day);
  });
});

describe("a rate of reading", () => {
  it("waits for as long as the bytes take", async () => {
    const clock = manualClock();
    const rate = new ReadRate(1000, clock);
    for (let read = 0; read < 10; read++) await rate.read(500);
    expect(clock.waits.reduce((sum, wait) => sum + wait, 0)).toBe(5000);
    // whoever was busy elsewhere for a while may catch up
    clock.advance(2000);
    await rate.read(2000);
    expect(clock.waits).toHaveLength(10);
  });

  it("is none where none is given", async () => {
    const clock = manualClock();
    await new ReadRate(null, clock).read(1e12);
    expect(clock.waits).toEqual([]);
  });
});
