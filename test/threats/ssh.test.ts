import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { failureOf } from "../cli/failure.js";
import { Machine } from "../cli/machine.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
let machine: Machine;
let bin: string;
beforeEach(async () => {
  machine = await Machine.create();
  bin = await mkdtemp(join(tmpdir(), "lading-threats-"));
  // Notes each argument on a line of its own; it is no engine.
  await writeFile(join(bin, "ssh"), `#!/bin/sh\nprintf '<%s>\\n' "$@" >> "${bin}/argv"\nexit 255\n`, { mode: 0o755 });
  for (const name of ["docker", "podman"])
    await writeFile(join(bin, name), `#!/bin/sh\ntouch "${bin}/ran"\n`, { mode: 0o755 });
});
afterEach(async () => {
  await machine.remove();
  await rm(bin, { recursive: true, force: true });
});

const argv = () => readFile(join(bin, "argv"), "utf8").catch(() => "");
const images = (engine: string, host: string) => {
  const variable = engine === "podman" ? "CONTAINER_HOST" : "DOCKER_HOST";
  return machine.lading(["images", "--engine", engine, "--json"], {
    env: { PATH: `${bin}:/usr/bin:/bin`, [variable]: host },
  });
};

threat("B6", "what would become an option or a command of ssh is refused before it is run", async () => {
  for (const host of [
    "ssh://-oProxyCommand=touch%20x",
    "ssh://-oProxyCommand=touch",
    "ssh://-lroot@host",
    "ssh://-x@host",
    "ssh://host/run/x;touch",
    "ssh://host/run/$(touch)",
    "ssh://host/run/`touch`",
    "ssh://host/run/a'b",
    'ssh://host/run/a"b',
    "ssh://host/run/a b",
    "ssh://host/run/a%20b",
    "ssh://host/run/a|b",
    "ssh://host/run/a&b",
    "ssh://host/run/a\\b",
    "ssh://user:password@host",
    "ssh://host?x=y",
    "ssh://host#x",
    "ssh://",
    "ssh://us;er@host",
    "ssh://us$er@host",
  ]) {
    for (const engine of ["docker", "podman"]) {
      expect(failureOf(await images(engine, host)), host).toMatchObject({ code: "config-invalid" });
    }
  }
  expect(await argv()).toBe("");
});

threat("B6", "a good address gives exact arguments, the host behind --", async () => {
  const address = "ssh://bob@lab.example:2222/run/user/1000/docker.sock";
  expect(failureOf(await images("docker", address))).toMatchObject({ code: "engine-unavailable" });
  const options = ["-T", "-o", "ConnectTimeout=30", "-l", "bob", "-p", "2222", "--", "lab.example"];
  const remote = ["docker", "--host", "unix:///run/user/1000/docker.sock", "system", "dial-stdio"];
  const calls = (await argv()).split("<-T>\n").slice(1);
  expect(calls.length).toBeGreaterThan(0);
  for (const call of calls) expect(`<-T>\n${call}`).toBe([...options, ...remote].map((one) => `<${one}>\n`).join(""));
});

threat("B7", "an engine on another host without TLS is refused before it is dialled, unless it is named", async () => {
  const canary = await stage.canary("127.0.0.1");
  for (const host of [
    "tcp://10.0.0.1:2375",
    "tcp://engine.example:2375",
    "http://10.0.0.1:2375",
    "tcp://0.0.0.0:2375",
    "tcp://[::]:2375",
  ]) {
    expect(failureOf(await images("docker", host)), host).toMatchObject({ code: "unsafe-url" });
  }
  expect(canary.connections).toBe(0);
  // Named, it is dialled; what is listed is one host and port.
  const env = { PATH: "/usr/bin:/bin", DOCKER_HOST: "tcp://localhost.example:2375" };
  const outcome = await machine.lading(
    ["images", "--engine", "docker", "--insecure", "localhost.example:9999", "--json"],
    { env },
  );
  expect(failureOf(outcome)).toMatchObject({ code: "unsafe-url" });
  // A certificate that nobody vouches for does not pass either.
  const tls = { ...env, DOCKER_HOST: `tcp://${canary.host}`, DOCKER_TLS_VERIFY: "1" };
  const refused = await machine.lading(["images", "--engine", "docker", "--json"], { env: tls });
  expect(failureOf(refused).code).toMatch(/^(?:tls|config-invalid)$/);
  expect(canary.heard).not.toMatch(/GET|\/v1/);
});
