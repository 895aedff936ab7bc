import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.js";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { hasTmux, Terminal } from "../support/terminal.js";
import { Machine, program } from "./machine.js";

/** Bytes per second and connection: slow enough to look at what happens. */
const slow = 60_000;

describe.skipIf(!hasTmux)("on a terminal (needs tmux)", () => {
  let machine: Machine;
  let registry: RunningRegistry;
  let proxy: FaultProxy;
  let terminal: Terminal | null = null;

  beforeEach(async () => {
    machine = await Machine.create();
    registry = await startOwnRegistry("memory");
    const { hostname, port } = new URL(registry.url);
    proxy = await startFaultProxy({ host: hostname, port: Number(port), faults: () => ({ up: { throttle: slow } }) });
  });
  afterEach(async () => {
    await terminal?.close();
    terminal = null;
    await proxy.close();
    await registry.close();
    await machine.remove();
  });

  const host = () => new URL(proxy.url).host;

  async function lading(args: string, columns = 100, rows = 24): Promise<Terminal> {
    const { home, env } = machine;
    terminal = await Terminal.start(`'${process.execPath}' '${program}' ${args}`, {
      columns,
      rows,
      env,
      directory: home,
    });
    return terminal;
  }

  const count = (screen: string, pattern: RegExp) => screen.match(pattern)?.length ?? 0;
  const isLive = (screen: string) => /^total +\d+ of \d+ layers/m.test(screen);

  it("shows 60 layers on any screen, and leaves one line behind", async () => {
    const digest = await machine.putImage("app:1", { layers: 60, layerSize: 8_000 });
    // Slow enough to be looked at in four sizes, however busy the machine is.
    const window = await lading(`push app:1 ${host()}/team/app:1 --limit-rate 60k`);
    const first = await window.until((screen) => /\+\d+ more: \d+ finished/.test(screen), "the rest of the layers");
    expect(first.split("\n").length).toBeLessThanOrEqual(24);
    for (const [columns, rows] of [
      [50, 12],
      [38, 24],
      [140, 40],
      [80, 10],
    ] as const) {
      await window.resize(columns, rows);
      const total = /^total .*/m;
      const older = total.exec(await window.screen())?.[0];
      // Drawn since, and yet alone: a ghost of an older picture would be a second one of these, and would stay.
      const one = (text: string) => count(text, /^total +\d/gm) === 1 && count(text, /^\+\d+ more/gm) === 1;
      const fits = (text: string) => text.split("\n").every((line) => line.length <= columns);
      await window.until(
        (text) => isLive(text) && total.exec(text)?.[0] !== older && one(text) && fits(text),
        `one picture of ${columns} columns`,
      );
    }
    await window.resize(120, 24);
    const last = await window.until((screen) => screen.includes("exit="), "the end");
    expect(last).toContain("exit=0");
    expect(last).toContain(`${host()}/team/app@${digest}`);
    expect(last).toContain("61 blobs sent");
    expect(isLive(last)).toBe(false);
    expect(last).not.toContain("uploading");
    expect(await window.cursorIsVisible()).toBe(true);
  });

  it("stops cleanly on Ctrl-C, with nothing half visible", async () => {
    await machine.putImage("app:1", { layers: 3, layerSize: 4_000_000 });
    const window = await lading(`push app:1 ${host()}/team/app:1`);
    await window.until((screen) => /uploading +\[/.test(screen), "an upload");
    await window.keys("C-c");
    const screen = await window.until((text) => text.includes("exit="), "the end");
    expect(screen).toContain("exit=130");
    expect(screen).toContain("lading: error:");
    expect(isLive(screen)).toBe(false);
    expect(await window.cursorIsVisible()).toBe(true);
    const tags = await fetch(`${registry.url}/v2/team/app/tags/list`);
    expect(tags.status === 404 || (await tags.text()).includes('"tags":[]')).toBe(true);
  });

  it("asks before it removes, and takes no for an answer", async () => {
    await machine.putImage("app:1");
    await machine.lading(["push", "app:1"]);
    const refused = await lading("rm image:app:1");
    await refused.until((screen) => screen.includes("[y/N]"), "the question");
    await refused.keys("n", "Enter");
    expect(await refused.until((screen) => screen.includes("exit="), "the end")).toContain("exit=130");
    await refused.close();
    expect((await machine.lading(["tags", "image:app"])).stdout).toBe("1\n");

    const agreed = await lading("rm image:app:1");
    await agreed.until((screen) => screen.includes("[y/N]"), "the question");
    await agreed.keys("y", "Enter");
    const screen = await agreed.until((text) => text.includes("exit="), "the end");
    expect(screen).toContain("exit=0");
    expect(screen).toMatch(/^app:1@sha256:/m);
  });

  it("takes Ctrl-C for an answer too", async () => {
    await machine.putImage("app:1");
    await machine.lading(["push", "app:1"]);
    const window = await lading("rm image:app:1");
    await window.until((screen) => screen.includes("[y/N]"), "the question");
    await window.keys("C-c");
    expect(await window.until((screen) => screen.includes("exit="), "the end")).toContain("exit=130");
  });

  it("asks for the password without showing it", async () => {
    const window = await lading(`login ${host()} -u alice`);
    await window.until((screen) => screen.includes("Password:"), "the question");
    await window.keys("canary", "Enter");
    const screen = await window.until((text) => text.includes("exit="), "the end");
    expect(screen).toContain("exit=0");
    expect(screen).not.toContain("canary");
  });

  it("asks twice for a new password of an account, and shows neither", async () => {
    await machine.lading(["registry", "init"]);
    let window = await lading("registry user set admin --password");
    await window.until((screen) => screen.includes("New password:"), "the question");
    await window.keys("canary-password", "Enter");
    await window.until((screen) => screen.includes("Again:"), "the second question");
    await window.keys("canary-other", "Enter");
    const refused = await window.until((text) => text.includes("exit="), "the end");
    expect(refused).toContain("exit=64");
    await window.close();
    window = await lading("registry user set admin --password");
    for (const question of ["New password:", "Again:"]) {
      await window.until((screen) => screen.includes(question), question);
      await window.keys("canary-password", "Enter");
    }
    const screen = await window.until((text) => text.includes("exit="), "the end");
    expect(screen).toContain("exit=0");
    expect(screen).toMatch(/^passwordExpires =$/m);
    expect(refused + screen).not.toContain("canary");
  });

  it("shows the first password of a registry, which a file holds too", async () => {
    const window = await lading("serve --accounts --port 0");
    const screen = await window.until((text) => /serving .*Ctrl-C/.test(text), "the server");
    const password = /password of admin: (\S+)/.exec(screen)?.[1] ?? "";
    expect(password).toMatch(/^[\w-]{20}$/);
    const file = join(machine.home, ".local", "share", "lading", "registry", "auth", "registry", "first-password");
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({ user: "admin", password });
    await window.keys("C-c");
    await window.until((text) => text.includes("exit="), "the end");
  });

  it("prints the same on a terminal as in a pipe", async () => {
    await machine.putImage("app:1");
    await machine.lading(["push", "app:1"]);
    const window = await lading("tags image:app");
    expect(await window.until((screen) => screen.includes("exit="), "the end")).toBe("1\nexit=0");
  });
});
