import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type EngineStarter, newestDocker, olderDocker, podman, unmountBelow } from "../support/engines.js";
import { findProgram, missingPrograms, output, runProgram } from "../support/programs.js";

/** An engine of our own behind its own program: what people do with it beside Lading. */
export interface EngineUser {
  /** Lets Lading find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Builds the Dockerfile of a folder. */
  build(folder: string, name: string): Promise<void>;
  /** `sha256:…`; null where it has no such image. */
  id(name: string): Promise<string | null>;
  /** What it tells of an image, without what belongs to this copy of it alone. */
  inspect(name: string): Promise<Readonly<Record<string, unknown>>>;
  /** The output of the image's own command in a container without a network. */
  run(name: string): Promise<string>;
  save(name: string, archive: string): Promise<void>;
  load(archive: string): Promise<void>;
  /** Removes an image and those that were made on the way to it. */
  remove(name: string): Promise<void>;
  stop(): Promise<void>;
}

export interface EngineUserKind {
  readonly name: string;
  /** What LADING_ENGINE calls it. */
  readonly engine: "docker" | "podman";
  /** An image's ID is the digest of what its name points at, rather than that of its config. */
  readonly keepsManifest: boolean;
  /** Its containers run here: the newest Docker would need the shim of its own containerd. */
  readonly runs: boolean;
  /** Null where it can be started here, else why not. */
  available(): Promise<string | null>;
  start(): Promise<EngineUser>;
}

/** What belongs to a copy of an image, not to the image: its names, when and where it came to be here. */
const ofTheCopy = ["GraphDriver", "Metadata", "NamesHistory", "Parent", "RepoDigests", "RepoTags"];
/** A load gets an image's names in the annotations of its descriptor, and the containerd store keeps those. */
const ofTheDockerCopy = new Set([...ofTheCopy, "annotations"]);
/** The manifest is made anew from what Podman exports, and its size counts. */
const ofThePodmanCopy = new Set([...ofTheCopy, "Annotations", "Digest", "ManifestType", "Size", "VirtualSize"]);

type Command = (...args: string[]) => Promise<string>;

/** What both programs do under the same names. */
function commonUses(
  command: Command,
  omitted: ReadonlySet<string>,
): Pick<EngineUser, "inspect" | "save" | "load" | "remove"> {
  return {
    inspect: async (name) => {
      const text = await command("image", "inspect", name);
      const images = JSON.parse(text, (field, value: unknown) => (omitted.has(field) ? undefined : value)) as unknown;
      return (images as readonly Record<string, unknown>[])[0] ?? {};
    },
    save: async (name, archive) => void (await command("save", "-o", archive, name)),
    load: async (archive) => void (await command("load", "-i", archive)),
    remove: async (name) => {
      await command("rmi", name);
      await command("image", "prune", "-f");
    },
  };
}

/** The ID that a program prints, which Podman prints without its algorithm; null where it says that there is no such image. */
async function idOf(program: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const { status, stdout } = await runProgram(program, args, { env });
  const [hex] = /[0-9a-f]{64}/.exec(stdout) ?? [];
  return status === 0 && hex !== undefined ? `sha256:${hex}` : null;
}

async function startDocker(starter: EngineStarter): Promise<EngineUser> {
  const engine = await starter.start();
  const host = ["-H", `unix://${engine.socketPath}`];
  // Its builder of old: the other one is a plug-in, which is not on every machine.
  const env = { DOCKER_CONFIG: engine.folder, DOCKER_BUILDKIT: "0" };
  const docker: Command = (...args) => output("docker", [...host, ...args], { env });
  return {
    ...commonUses(docker, ofTheDockerCopy),
    env: { LADING_ENGINE: "docker", DOCKER_HOST: `unix://${engine.socketPath}` },
    build: async (folder, name) => void (await docker("build", "-q", "-t", name, folder)),
    id: (name) => idOf("docker", [...host, "image", "inspect", "-f", "{{.Id}}", name], env),
    run: (name) => docker("run", "--rm", "--network", "none", name),
    stop: () => engine.stop(),
  };
}

/** Arguments of `podman run` for a host where it can't have all that it asks for. */
const podmanRun = [
  ...["run", "--rm", "--network", "none"],
  // Its defaults are above what a root without CAP_SYS_RESOURCE may give itself.
  ...["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"],
  // crun, its first choice, takes no host that has both generations of cgroups.
  ...(findProgram("runc") === null ? [] : ["--runtime", "runc"]),
];

function podmanUses(storage: readonly string[], env: Readonly<Record<string, string>>): Omit<EngineUser, "stop"> {
  const command: Command = (...args) => output("podman", [...storage, ...args], { env });
  return {
    ...commonUses(command, ofThePodmanCopy),
    env,
    build: async (folder, name) => void (await command("build", "-q", "-t", name, folder)),
    id: (name) => idOf("podman", [...storage, "image", "inspect", "-f", "{{.Id}}", name], env),
    run: (name) => command(...podmanRun, name),
  };
}

async function startPodman(): Promise<EngineUser> {
  const engine = await podman.start();
  const storage = ["--root", join(engine.folder, "root"), "--runroot", join(engine.folder, "run")];
  const uses = podmanUses(storage, {});
  return {
    ...uses,
    env: { LADING_ENGINE: "podman", CONTAINER_HOST: `unix://${engine.socketPath}` },
    stop: () => engine.stop(),
  };
}

/** Podman with storage of its own in a folder, and no service. */
export async function podmanWithoutService(folder: string): Promise<EngineUser> {
  const storageFile = join(folder, "storage.conf");
  const places = [`graphroot = "${join(folder, "root")}"`, `runroot = "${join(folder, "run")}"`];
  await writeFile(storageFile, `[storage]\ndriver = "overlay"\n${places.join("\n")}\n`);
  return {
    ...podmanUses([], { CONTAINERS_STORAGE_CONF: storageFile }),
    // Podman leaves its storage mounted for the next one.
    stop: () => unmountBelow(folder),
  };
}

export const olderDockerUser: EngineUserKind = {
  name: olderDocker.name,
  engine: "docker",
  keepsManifest: false,
  runs: true,
  available: async () => (await olderDocker.available()) ?? missingPrograms(["docker", "runc"]),
  start: () => startDocker(olderDocker),
};

export const newestDockerUser: EngineUserKind = {
  name: newestDocker.name,
  engine: "docker",
  keepsManifest: true,
  runs: false,
  available: async () => (await newestDocker.available()) ?? missingPrograms(["docker"]),
  start: () => startDocker(newestDocker),
};

export const podmanUser: EngineUserKind = {
  name: podman.name,
  engine: "podman",
  keepsManifest: false,
  runs: true,
  available: async () => (await podman.available()) ?? missingPrograms(["runc"]),
  start: startPodman,
};
