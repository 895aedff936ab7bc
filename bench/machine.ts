import { readFile } from "node:fs/promises";
import { arch, cpus, loadavg, release, totalmem } from "node:os";
import { findProgram, runProgram } from "../test/support/programs.js";

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
  readonly system: string;
  /** Of the last minute, before the run: what is much above zero was in its way. */
  readonly load: number;
}

const versionArguments: Readonly<Record<string, readonly string[]>> = {
  crane: ["version"],
  regctl: ["version", "--format", "{{.VCSTag}}"],
  oras: ["version"],
  skopeo: ["--version"],
  docker: ["--version"],
  podman: ["--version"],
  dockerd: ["--version"],
  registry: ["--version"],
  "docker-registry": ["--version"],
};

export async function describeMachine(): Promise<Machine> {
  const os = await readFile("/etc/os-release", "utf8").catch(() => "");
  const [, name = process.platform] = /^PRETTY_NAME="?([^"\n]*)/m.exec(os) ?? [];
  const [first] = cpus();
  const [load = 0] = loadavg();
  return {
    cpu: first?.model ?? "unknown",
    cores: cpus().length,
    memory: totalmem(),
    system: `${name}, ${process.platform} ${release()} ${arch()}`,
    load,
  };
}

/** The versions of everything that could take part, by name; null where it isn't here. */
export async function describeVersions(lading: string): Promise<Readonly<Record<string, string | null>>> {
  const versions: Record<string, string | null> = { lading, node: process.versions.node };
  for (const [program, args] of Object.entries(versionArguments)) {
    const path = findProgram(program);
    versions[program] = path === null ? null : versionIn((await runProgram(path, args)).stdout);
  }
  return versions;
}

/** The first thing in a text that looks like a version. */
function versionIn(text: string): string {
  return /v?\d+\.\d+[\w.+~-]*/.exec(text)?.[0] ?? text.trim().split("\n")[0] ?? "unknown";
}
