import { spawn } from "node:child_process";
import { createCipheriv } from "node:crypto";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Machine, type Outcome, program } from "./machine.js";

// A big image moves in bounded memory: import, push, serve and pull, each a process of its own. CI takes 1 GB;
// LADING_BIG_BYTES=10000000000 is the long run.

const bytes = Number(process.env.LADING_BIG_BYTES ?? 1_000_000_000);
/** Bytes of resident memory that no process of a transfer may exceed, whatever the size of the image. */
const allowed = 256 * 1024 * 1024;
const probe = fileURLToPath(new URL("../support/peak-memory.mjs", import.meta.url));

let sender: Machine;
let receiver: Machine;
beforeAll(async () => {
  sender = await Machine.create();
  receiver = await Machine.create();
});
afterAll(async () => {
  await sender.remove();
  await receiver.remove();
});

/** A file of which every second mebibyte does not compress. */
async function writeBigFile(path: string): Promise<void> {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16, 2));
  const mebibyte = Buffer.alloc(1024 * 1024, "lading ");
  const file = await open(path, "w");
  try {
    for (let left = bytes, index = 0; left > 0; left -= mebibyte.length, index += 1) {
      const chunk = index % 2 === 0 ? cipher.update(mebibyte) : mebibyte;
      await file.write(chunk, 0, Math.min(left, chunk.length));
    }
  } finally {
    await file.close();
  }
}

/** Runs a verb, and holds its peak memory to the bound. */
async function within(machine: Machine, args: readonly string[], env: Record<string, string>): Promise<Outcome> {
  const peak = join(machine.home, `peak-${args[0]}`);
  const outcome = await machine.lading(args, {
    env: { ...env, LADING_PEAK: peak, NODE_OPTIONS: `--import=${probe}` },
  });
  expect(outcome).toMatchObject({ code: 0 });
  expect(Number(await readFile(peak, "utf8")), `peak memory of ${args[0]}`).toBeLessThan(allowed);
  return outcome;
}

describe(`an image of ${bytes} bytes`, () => {
  it("is imported, pushed, served and pulled in bounded memory", { timeout: 3_600_000 }, async () => {
    const folder = join(sender.home, "files");
    await mkdir(folder);
    await writeBigFile(join(folder, "big.bin"));
    const peak = join(sender.home, "peak-serve");
    const server = spawn(process.execPath, [program, "serve", "--port", "0", "--data", join(sender.home, "registry")], {
      env: { ...sender.env, LADING_PEAK: peak, NODE_OPTIONS: `--import=${probe}` },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = new Promise((resolve) => server.on("close", resolve));
    try {
      const url = await new Promise<string>((resolve) => {
        server.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()));
      });
      const env = { LADING_REGISTRY_URL: url };
      await within(sender, ["import", folder, "big:1"], env);
      const pushed = JSON.parse((await within(sender, ["push", "big:1", "--json"], env)).stdout) as { digest: string };
      const pulled = JSON.parse((await within(receiver, ["pull", "image:big:1", "--json"], env)).stdout) as {
        digest: string;
        bytesReceived: number;
      };
      expect(pulled.digest).toBe(pushed.digest);
      expect(pulled.bytesReceived).toBeGreaterThan(bytes / 2);
    } finally {
      server.kill("SIGTERM");
      expect(await ended).toBe(0);
    }
    expect(Number(await readFile(peak, "utf8")), "peak memory of serve").toBeLessThan(allowed);
  });
});
