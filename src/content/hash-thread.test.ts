import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { describeBytes, withCode } from "../../test/support/store-contract.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { digestOf } from "../oci/digest.js";
import { openThreadHash, type ThreadHash } from "./hash-thread.js";
import { LayoutStore } from "./layout.js";
import { readAll } from "./verify.js";

function shared(bytes: Uint8Array): Uint8Array {
  const memory = Buffer.from(new SharedArrayBuffer(bytes.length));
  memory.set(bytes);
  return memory;
}

function open(algorithm: "sha256" | "sha512" = "sha256"): ThreadHash {
  const hash = openThreadHash(algorithm);
  if (hash === null) throw new Error("one core: nothing to test");
  return hash;
}

describe("a hash in another thread", () => {
  test("is the digest of all chunks in their order, also for many at once", async () => {
    const made = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const algorithm = index % 2 === 0 ? "sha256" : "sha512";
        const bytes = randomBytesOf(`hash-${index}`, 1 + index * 10_007);
        const hash = open(algorithm);
        const updates = [];
        for (let at = 0; at < bytes.length; at += 30_000)
          updates.push(hash.update(shared(bytes.subarray(at, at + 30_000))));
        await Promise.all(updates);
        return [await hash.digest(), digestOf(bytes, algorithm)];
      }),
    );
    for (const [found, expected] of made) expect(found).toBe(expected);
  });

  test("reads a chunk before its update ends", async () => {
    const hash = open();
    const memory = shared(randomBytesOf("first", 1_000_000));
    const whole = Buffer.alloc(2_000_000);
    whole.set(memory, 0);
    await hash.update(memory);
    memory.set(randomBytesOf("second", 1_000_000));
    whole.set(memory, 1_000_000);
    await hash.update(memory);
    expect(await hash.digest()).toBe(digestOf(whole));
  });

  test("of nothing is the digest of nothing", async () => {
    expect(await open().digest()).toBe(digestOf(""));
  });

  test("that was dropped gives none", async () => {
    const hash = open();
    await hash.update(shared(randomBytesOf("dropped", 1000)));
    hash.drop();
    hash.drop();
    expect(await hash.digest()).toBeNull();
    const next = open();
    expect(await next.digest()).toBe(digestOf(""));
  });

  test("that was lost is made again by a store, from what it has written", async () => {
    const bytes = randomBytesOf("lost-on-its-way", 20 * 1024 * 1024);
    const descriptor = describeBytes(bytes);
    const put = async (given: Uint8Array) => {
      const store = new LayoutStore(join(await temporaryFolder(), "store"));
      const source = async function* (offset: number) {
        yield given.subarray(offset, 5_000_000);
        await open().update({} as Uint8Array);
        yield given.subarray(5_000_000);
      };
      return { store, result: await store.put(descriptor, source) };
    };
    const { store, result } = await put(bytes);
    expect(result.outcome).toBe("stored");
    expect(digestOf(await readAll(store.get(descriptor), bytes.length))).toBe(descriptor.digest);
    const wrong = Buffer.from(bytes);
    wrong[6_000_000] = (wrong[6_000_000] ?? 0) ^ 1;
    await expect(put(wrong)).rejects.toEqual(withCode("digest-mismatch"));
  });

  test("gives none where its thread is lost, and the next one has another thread", async () => {
    const hash = open();
    // What is no chunk of bytes ends the thread.
    await hash.update({} as Uint8Array);
    await hash.update(shared(randomBytesOf("lost", 1000)));
    expect(await hash.digest()).toBeNull();
    expect(await open().digest()).toBe(digestOf(""));
  });
});
