import { afterEach, beforeEach, expect, it } from "vitest";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.js";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { Machine } from "./machine.js";

let machine: Machine;
let registry: RunningRegistry;
let proxy: FaultProxy;

beforeEach(async () => {
  machine = await Machine.create();
  registry = await startOwnRegistry("memory");
  const { hostname, port } = new URL(registry.url);
  // So slow that no push ends by itself.
  const faults = () => ({ up: { throttle: 20_000 } });
  proxy = await startFaultProxy({ host: hostname, port: Number(port), faults });
  await machine.putImage("app:1", { layers: 2, layerSize: 4_000_000 });
});
afterEach(async () => {
  await proxy.close();
  await registry.close();
  await machine.remove();
});

const push = () => ["push", "app:1", `${new URL(proxy.url).host}/team/app:1`];

async function hasTag(): Promise<boolean> {
  const response = await fetch(`${registry.url}/v2/team/app/manifests/1`);
  return response.status === 200;
}

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("ends a push with the code of %s, and no tag", async (signal, code) => {
  const outcome = await machine.lading([...push(), "--json"], {
    onStart: (child) => {
      let sent = false;
      child.stderr?.on("data", (chunk: Buffer) => {
        // Once: the second signal ends the process where it stands.
        if (!sent && chunk.includes(": uploading")) sent = child.kill(signal);
      });
    },
  });
  expect(outcome).toMatchObject({ code, stdout: "" });
  const last = JSON.parse(outcome.stderr.trimEnd().split("\n").at(-1) ?? "") as object;
  expect(last).toMatchObject({ type: "error", error: { code: "cancelled", operation: "push", exit: code } });
  expect(await hasTag()).toBe(false);
});

it("ends a push with 124 when its time is over, and no tag", async () => {
  const outcome = await machine.lading([...push(), "--timeout", "2s"]);
  expect(outcome).toMatchObject({ code: 124, stdout: "" });
  expect(await hasTag()).toBe(false);
});

it("shows no stack, and ends with 65 or 69, when the registry talks nonsense", async () => {
  const { createServer } = await import("node:net");
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end("\u001b[2Jnonsense\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const outcome = await machine.lading(["digest", `127.0.0.1:${port}/team/app:1`, "--timeout", "60s"]);
    expect([65, 69]).toContain(outcome.code);
    expect(outcome.stderr).not.toMatch(/\n\s+at |\u001b/);
  } finally {
    server.close();
  }
});
