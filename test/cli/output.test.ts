import { spawn } from "node:child_process";
import { type FileHandle, open } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "./failure.js";
import { Machine, type Outcome, program } from "./machine.js";

let machine: Machine;

beforeEach(async () => {
  machine = await Machine.create();
  await machine.putImage("app:1", { layers: 2, layerSize: 300_000 });
});
afterEach(async () => {
  await machine.remove();
});

/** Runs the command line with its result going to a place. */
async function into(place: FileHandle, args: readonly string[]): Promise<Outcome> {
  const options = { cwd: machine.home, env: machine.env };
  const child = spawn(process.execPath, [program, ...args], { ...options, stdio: ["ignore", place.fd, "pipe"] });
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, stdout: "", stderr };
}

describe.skipIf(process.platform !== "linux")("a result that can't be written (Linux: /dev/full)", () => {
  let full: FileHandle;

  beforeEach(async () => {
    full = await open("/dev/full", "w");
  });
  afterEach(async () => {
    await full.close();
  });

  it.each([
    [["images"]],
    [["config", "show"]],
    [["completion", "bash"]],
    [["--help"]],
    [["--version"]],
    [["save", "app:1", "-o", "-"]],
    [["serve", "--port", "0"]],
  ])("ends %j with 74, and says so on stderr", async (args) => {
    const outcome = await into(full, args);
    expect(outcome.code, outcome.stderr).toBe(74);
    expect(outcome.stderr).toMatch(/^lading: error: /m);
    expect(outcome.stderr).toMatch(/^hint: /m);
    expect(outcome.stderr).not.toMatch(/\n\s+at /);
  });

  it("is an error object where JSON was asked for", async () => {
    for (const args of [["images"], ["config", "show"], ["serve", "--port", "0"]]) {
      expect(failureOf(await into(full, [...args, "--json"]))).toMatchObject({ code: "io", exit: 74 });
    }
  });

  it("changes nothing of a command that failed anyway, or had nothing to say", async () => {
    expect(failureOf(await into(full, ["tag", "nothing:1", "app:2", "--json"]))).toMatchObject({ code: "not-found" });
    expect((await into(full, ["images", "nothing*"])).code).toBe(0);
  });
});

it.each([[["images"]], [["--help"]], [["--version"]], [["save", "app:1", "-o", "-"]]])(
  "a reader that is gone is no failure of %j",
  async (args) => {
    const outcome = await machine.lading(args, { onStart: (child) => child.stdout?.destroy() });
    expect(outcome).toMatchObject({ code: 0, stdout: "" });
    expect(outcome.stderr).not.toContain("error");
  },
);
