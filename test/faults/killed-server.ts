import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Machine, program } from "../cli/machine.js";
import { filesBelow } from "./stored-blobs.js";

/** A `lading serve` that a test may kill. */
export interface Serving {
  readonly url: string;
  end(signal: NodeJS.Signals): Promise<void>;
}

export async function serve(machine: Machine, data: string, flags: readonly string[] = []): Promise<Serving> {
  const child: ChildProcess = spawn(process.execPath, [program, "serve", "--data", data, "--port", "0", ...flags], {
    env: machine.env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const closed = once(child, "close");
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const line: unknown = await new Promise((resolve, reject) => {
    child.stdout?.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()));
    closed.then(() => reject(new Error("the server has not started")), reject);
  });
  return {
    url: String(line),
    end: async (signal) => {
      child.kill(signal);
      await closed;
    },
  };
}

/** Lets all that is not finished be a day old: the first write of the next server sweeps it. */
export async function leaveForADay(data: string): Promise<void> {
  const old = Date.now() / 1000 - 24 * 3600;
  for (const file of await filesBelow(data)) {
    if (/(?:^|\/)(?:_uploads|tmp)\//.test(file)) await utimes(join(data, file), old, old);
  }
}

/** Has a server sweep what was left for a day. */
export async function sweptAfterADay(machine: Machine, data: string): Promise<void> {
  await leaveForADay(data);
  const server = await serve(machine, data);
  const begun = await fetch(`${server.url}/v2/team/swept/blobs/uploads/`, { method: "POST" });
  await fetch(new URL(begun.headers.get("location") ?? "", server.url), { method: "DELETE" });
  // it waits for the sweep
  await server.end("SIGTERM");
}
