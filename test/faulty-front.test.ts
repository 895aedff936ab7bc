import { once } from "node:events";
import { createServer, type RequestListener, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Dice } from "./soak/dice.js";
import { type FaultKind, type FaultyFront, type FaultyFrontOptions, startFaultyFront } from "./soak/faulty-front.js";

/** Chances that fall as told: every request is struck, by one fault, in its middle. */
class LoadedDice extends Dice {
  readonly #fault: FaultKind | null;

  constructor(fault: FaultKind | null) {
    super("loaded");
    this.#fault = fault;
  }

  override next(): number {
    return 0.5;
  }

  override chance(): boolean {
    return this.#fault !== null;
  }

  override pick<T>(): T {
    return this.#fault as T;
  }
}

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Front extends FaultyFront {
  readonly struck: Promise<void>;
  readonly expired: readonly string[];
}

async function frontOf(
  registry: RequestListener,
  fault: FaultKind | null,
  more: Pick<FaultyFrontOptions, "patience" | "stall"> = {},
): Promise<Front> {
  const server = createServer(registry).listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  let tell = (): void => undefined;
  const struck = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const expired: string[] = [];
  const front = await startFaultyFront({
    ...{ port: (server.address() as AddressInfo).port, dice: new LoadedDice(fault), rate: 1, onFault: tell },
    ...more,
    onExpired: (text) => expired.push(text),
  });
  stops.push(() => front.close());
  return Object.assign(front, { struck, expired });
}

describe("the front of the soak", () => {
  it("comes to the end of an answer that stands still when its client has gone away meanwhile", async () => {
    const front = await frontOf((_request, response) => response.end("ten bytes!"), "answer stalled", {
      stall: async (response) => {
        asked.destroy();
        await once(response, "close");
      },
    });
    const asked = request({ port: front.port, path: "/v2/a/blobs/b" });
    const gone = new Promise((resolve) => asked.once("close", resolve));
    asked.on("error", () => undefined);
    asked.end();
    await gone;
    await front.settled();
    expect(front.expired).toEqual([]);
  });

  it("comes to the end of a lost answer that broke off while the request was still on its way", async () => {
    const front = await frontOf((_request, response) => {
      response.writeHead(413, { "content-length": 10 }).write("12345");
      setImmediate(() => response.destroy());
    }, "answer lost");
    const asked = request({ port: front.port, path: "/v2/a/blobs/uploads/b", method: "PATCH" });
    const broken = once(asked, "error");
    asked.write("a");
    // Its end comes after the answer has come to nothing.
    const ending = setTimeout(() => asked.end("b"), 200);
    await front.struck.catch(() => undefined);
    await broken.catch(() => undefined);
    clearTimeout(ending);
    await front.settled();
    expect(front.expired).toEqual([]);
  });

  it("gives up what takes longer than its patience, and says which it was", async () => {
    const front = await frontOf(() => undefined, null, { patience: 50 });
    const asked = request({ port: front.port, path: "/v2/a/tags/list" });
    const broken = new Promise((resolve) => asked.once("error", resolve));
    asked.end();
    await broken;
    await front.settled();
    expect(front.expired).toHaveLength(1);
    expect(front.expired[0]).toContain("GET /v2/a/tags/list");
    expect(front.expired[0]).toContain("the registry's answer");
  });
});
