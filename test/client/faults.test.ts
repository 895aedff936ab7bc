import { afterEach, describe, expect, test } from "vitest";
import { readAll } from "../../src/content/verify.js";
import { createRegistry, listen } from "../../src/server/index.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { type ConnectionFaults, startFaultProxy } from "../support/fault-proxy.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { testClient } from "../support/registry-client.js";
import { describeBytes, sourceOf } from "../support/store-contract.js";

const bytes = Buffer.alloc(16_000_000, randomBytesOf("faults", 1_000_003));
const descriptor = describeBytes(bytes);
const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function embedded() {
  const registry = createRegistry({ storage: "memory" });
  const { urls, close } = await listen(registry, { port: 0 });
  closers.push(
    () => registry.close(),
    () => close(0),
  );
  return Number(new URL(urls[0] ?? "").port);
}

const program = await findDockerRegistry();
async function debian() {
  const registry = await startDockerRegistry(program ?? "");
  closers.push(registry.close);
  return registry.port;
}

/** A repository behind a line whose connections fail as the test says, and one beside it. */
async function behind(port: number, faults: (connection: number) => ConnectionFaults | null) {
  const proxy = await startFaultProxy({ host: "127.0.0.1", port, faults });
  closers.push(() => proxy.close());
  const [through, direct] = [testClient(proxy.url), testClient(`http://127.0.0.1:${port}`)];
  closers.push(
    () => through.client.close(),
    () => direct.client.close(),
  );
  return { proxy, repository: through.client.repository("a/b"), direct: direct.client.repository("a/b") };
}

describe.each([
  ["the embedded registry", embedded, true],
  [`Debian's docker-registry${program === null ? " (skipped: it is not installed)" : ""}`, debian, program !== null],
])("a bad line to %s", (_name, start, available) => {
  const when = test.runIf(available);

  when.each(["resetAfter", "cutAfter"] as const)("upload: %s a third of it", async (fault) => {
    let left = 2;
    const { proxy, repository, direct } = await behind(await start(), () =>
      // Small requests stay below the limit; the two connections that carry the content do not.
      left > 0 ? { up: { [fault]: 5_000_000 } } : null,
    );
    const result = await repository.put(descriptor, sourceOf(bytes, 500_000), {
      onRetry: () => {
        left -= 1;
      },
    });
    expect(result.outcome).toBe("stored");
    expect(proxy.struck).toBeGreaterThan(0);
    expect(Buffer.compare(await readAll(direct.get(descriptor), bytes.length), bytes)).toBe(0);
  });

  when("connections that are refused at first", async () => {
    const { repository } = await behind(await start(), (connection) => (connection < 3 ? { refuse: true } : null));
    expect((await repository.put(descriptor, sourceOf(bytes, 1_000_000))).outcome).toBe("stored");
  });

  when("upload: a byte that turned over is not stored, and all is sent once more", async () => {
    const { repository, direct, proxy } = await behind(await start(), () => ({ up: { corruptAt: 9_000_000 } }));
    expect((await repository.put(descriptor, sourceOf(bytes, 1_000_000))).outcome).toBe("stored");
    expect(proxy.struck).toBe(1);
    expect(Buffer.from(await readAll(direct.get(descriptor), bytes.length)).equals(bytes)).toBe(true);
  });

  when("upload: a byte that turns over each time is never stored", async () => {
    const { repository, direct } = await behind(await start(), () => null);
    const turned = Buffer.from(bytes);
    turned[9_000_000] = (turned[9_000_000] ?? 0) ^ 0xff;
    await expect(repository.put(descriptor, sourceOf(turned, 1_000_000))).rejects.toMatchObject({
      code: "digest-mismatch",
    });
    expect(await direct.has(descriptor)).toBe(false);
  });
});
