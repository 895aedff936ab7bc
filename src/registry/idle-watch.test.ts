import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { manualClock } from "../../test/support/manual-clock.js";
import { watchIdle } from "./idle-watch.js";

let client: Socket;
let peer: Socket;
let close: () => void;

beforeEach(async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  [peer] = (await once(server, "connection")) as [Socket];
  if (client.connecting) await once(client, "connect");
  close = () => {
    client.destroy();
    peer.destroy();
    server.close();
  };
});
afterEach(() => close());

function watch(options: Partial<Parameters<typeof watchIdle>[0]> = {}) {
  const clock = manualClock();
  const state = { idle: 0, allowed: 60_000, excused: false };
  const end = watchIdle({
    clock,
    socket: () => client,
    allowed: () => state.allowed,
    excused: () => state.excused,
    onIdle: () => {
      state.idle += 1;
    },
    ...options,
  });
  return { clock, state, end };
}

describe("a watch for silence", () => {
  test("calls once, when nothing has moved for so long", () => {
    const { clock, state } = watch();
    clock.advance(59_999);
    expect(state.idle).toBe(0);
    clock.advance(5_001);
    expect(state.idle).toBe(1);
    clock.advance(600_000);
    expect(state.idle).toBe(1);
  });

  test("begins anew with each byte, in either direction", async () => {
    const { clock, state } = watch();
    client.resume();
    for (let round = 0; round < 5; round += 1) {
      const got = once(client, "data");
      peer.write("x");
      await got;
      clock.advance(50_000);
      client.write("y");
      await once(peer, "data");
      clock.advance(50_000);
    }
    expect(state.idle).toBe(0);
    clock.advance(20_000);
    expect(state.idle).toBe(1);
  });

  test("sees that a large write moves before it is done", async () => {
    const { clock, state } = watch();
    const size = 64 * 2 ** 20;
    client.write(Buffer.alloc(size));
    let received = 0;
    for await (const chunk of peer as AsyncIterable<Buffer>) {
      const before = received;
      received += chunk.length;
      // More than the system holds between two ends, in less than the bound; and the whole in more.
      if (Math.floor(received / 2 ** 24) > Math.floor(before / 2 ** 24)) clock.advance(40_000);
      if (received === size) break;
    }
    expect(state.idle).toBe(0);
  });

  test("does not count what is our own, nor what has not begun", () => {
    const { clock, state } = watch();
    state.excused = true;
    clock.advance(600_000);
    expect(state.idle).toBe(0);
    const waiting = watch({ socket: () => null });
    waiting.clock.advance(600_000);
    expect(waiting.state.idle).toBe(0);
  });

  test("takes a bound that changes, and ends", () => {
    const { clock, state, end } = watch();
    state.allowed = 900_000;
    clock.advance(890_000);
    expect(state.idle).toBe(0);
    end();
    clock.advance(1_000_000);
    expect(state.idle).toBe(0);
  });
});
