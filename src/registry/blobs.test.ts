import { afterEach, describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import {
  type Exchange,
  on,
  type ScriptedRegistry,
  startScriptedRegistry,
} from "../../test/support/scripted-registry.js";
import { describeBytes, withCode } from "../../test/support/store-contract.js";
import { readAll } from "../content/verify.js";
import type { RegistryClientOptions } from "./client.js";
import { systemClock } from "./clock.js";

const bytes = Buffer.from(randomBytesOf("blob", 5_000_000));
const descriptor = describeBytes(bytes);
const target = `/v2/a/b/blobs/${descriptor.digest}`;

let registry: ScriptedRegistry;
let close: () => void = () => {};
afterEach(async () => {
  close();
  await registry.close();
});

async function open(options: Partial<RegistryClientOptions> = {}) {
  registry = await startScriptedRegistry();
  registry.blobs.set(descriptor.digest, bytes);
  const { client, clock } = testClient(registry.url, options);
  close = () => client.close();
  return { repository: client.repository("a/b", { side: "source" }), clock };
}

const ranges = () => registry.requests.map(({ headers }) => headers.range);

/** Sends the head of a whole answer and its beginning, then breaks the connection. */
function cutAt(exchange: Exchange, from: number, to: number): void {
  const whole = from === 0;
  exchange.response.writeHead(whole ? 200 : 206, {
    "content-length": String(bytes.length - from),
    ...(whole ? {} : { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  });
  exchange.response.write(bytes.subarray(from, to), () => exchange.response.destroy());
}

const startOf = (exchange: Exchange) => Number(/=(\d+)-/.exec(exchange.headers.range ?? "=0-")?.[1]);

describe("a download", () => {
  test("whose connection breaks goes on where it stopped", async () => {
    const { repository, clock } = await open();
    registry.handlers.push(on("GET", target, (exchange) => cutAt(exchange, 0, 2_000_000), 1));
    expect(Buffer.compare(await readAll(repository.get(descriptor), bytes.length), bytes)).toBe(0);
    expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/)]);
    expect(clock.waits).toEqual([1500]);
  });

  test("has all its tries again after each megabyte", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on("GET", target, (exchange) => {
        const from = startOf(exchange);
        cutAt(exchange, from, from + 1_100_000);
      }),
    );
    // Five parts of 1.1 MB: more breaks than there are tries without progress would be allowed for much more content.
    expect(await readAll(repository.get(descriptor), bytes.length)).toHaveLength(bytes.length);
    expect(registry.requests.length).toBeGreaterThanOrEqual(5);
  });

  test("without progress is unreachable after five tries", async () => {
    const { repository, clock } = await open();
    registry.handlers.push(on("GET", target, (exchange) => cutAt(exchange, startOf(exchange), startOf(exchange))));
    await expect(readAll(repository.get(descriptor), bytes.length)).rejects.toMatchObject({
      code: "unreachable",
      side: "source",
      digest: descriptor.digest,
    });
    expect(registry.requests).toHaveLength(5);
    expect(clock.waits).toHaveLength(4);
  });

  test("skips what it has where the registry knows no Range", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on("GET", target, (exchange) => cutAt(exchange, 0, 2_000_000), 1),
      on("GET", target, (exchange) => exchange.send(200, {}, bytes)),
    );
    expect(Buffer.compare(await readAll(repository.get(descriptor), bytes.length), bytes)).toBe(0);
    expect(
      Buffer.compare(await readAll(repository.get(descriptor, { offset: 77 }), bytes.length), bytes.subarray(77)),
    ).toBe(0);
  });

  test.each([
    ["another start", `bytes 0-${bytes.length - 1}/${bytes.length}`],
    ["another end", `bytes 100-${bytes.length - 2}/${bytes.length}`],
    ["another total", `bytes 100-${bytes.length - 1}/${bytes.length + 1}`],
    ["two ranges", `bytes 100-${bytes.length - 1}/${bytes.length}, bytes 0-1/2`],
    ["no range", undefined],
  ])("refuses a part with %s, and asks for the whole", async (_what, contentRange) => {
    const { repository } = await open();
    registry.handlers.push(
      on(
        "GET",
        target,
        (exchange) => {
          exchange.send(206, contentRange === undefined ? {} : { "content-range": contentRange }, bytes.subarray(100));
        },
        1,
      ),
    );
    const read = await readAll(repository.get(descriptor, { offset: 100 }), bytes.length);
    expect(Buffer.compare(read, bytes.subarray(100))).toBe(0);
    expect(ranges()).toEqual(["bytes=100-", undefined]);
  });

  test("asks for the whole after a 416", async () => {
    const { repository } = await open();
    registry.handlers.push(on("GET", target, (exchange) => exchange.send(416), 1));
    expect(await readAll(repository.get(descriptor, { offset: 100 }), bytes.length)).toHaveLength(bytes.length - 100);
  });

  test("of other bytes is a digest-mismatch at its end", async () => {
    const { repository } = await open();
    const other = Buffer.from(bytes);
    other.writeUInt8(other.readUInt8(4_000_000) ^ 1, 4_000_000);
    registry.handlers.push(on("GET", target, (exchange) => exchange.send(200, {}, other)));
    await expect(readAll(repository.get(descriptor), bytes.length)).rejects.toEqual(withCode("digest-mismatch"));
  });

  test.each([
    ["shorter", bytes.subarray(1)],
    ["longer", Buffer.concat([bytes, Buffer.alloc(1)])],
  ])("of %s content is a size-mismatch, whether or not it says so", async (_what, wrong) => {
    const { repository } = await open();
    let announce = true;
    registry.handlers.push(
      on("GET", target, (exchange) => {
        if (announce) return exchange.send(200, {}, wrong);
        exchange.response.writeHead(200);
        exchange.response.end(wrong);
      }),
    );
    await expect(readAll(repository.get(descriptor), 10_000_000)).rejects.toEqual(withCode("size-mismatch"));
    announce = false;
    await expect(readAll(repository.get(descriptor), 10_000_000)).rejects.toEqual(withCode("size-mismatch"));
  });

  test("in an encoding that was not asked for is refused", async () => {
    const { repository } = await open();
    registry.handlers.push(on("GET", target, (exchange) => exchange.send(200, { "content-encoding": "gzip" }, bytes)));
    await expect(readAll(repository.get(descriptor), bytes.length)).rejects.toEqual(withCode("unsupported"));
    expect(registry.requests[0]?.headers["accept-encoding"]).toBe("identity");
  });

  test("whose reader is slow is not taken for a silent one", async () => {
    const { repository } = await open({ idleTimeout: 300, clock: systemClock });
    let size = 0;
    for await (const chunk of repository.get(descriptor)) {
      if (size === 0) await new Promise((resolve) => setTimeout(resolve, 1000));
      size += chunk.length;
    }
    expect(size).toBe(bytes.length);
    expect(registry.requests).toHaveLength(1);
  });

  test("of a stale signed URL asks the registry for a fresh one", async () => {
    const { repository } = await open();
    const storage = await startScriptedRegistry(
      on("GET", "/old", (exchange) => exchange.send(403, {}, "expired")),
      on("GET", "/new", (exchange) => exchange.send(200, {}, bytes)),
    );
    let redirects = 0;
    registry.handlers.push(
      on("GET", target, (exchange) =>
        exchange.send(307, { location: `${storage.url}/${redirects++ === 0 ? "old" : "new"}` }),
      ),
    );
    try {
      expect(await readAll(repository.get(descriptor), bytes.length)).toHaveLength(bytes.length);
      expect(storage.log).toEqual(["GET /old", "GET /new"]);
    } finally {
      await storage.close();
    }
  });

  test("redirected in circles is limited", async () => {
    const { repository } = await open();
    registry.handlers.push(on("GET", target, (exchange) => exchange.send(302, { location: target })));
    await expect(readAll(repository.get(descriptor), bytes.length)).rejects.toEqual(withCode("limit-exceeded"));
    expect(registry.requests).toHaveLength(6);
  });
});
