import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineStarter, newestDocker, olderDocker } from "../support/engines.js";
import { missingPrograms, output } from "../support/programs.js";

/** Another client of registries, as far as the suites use it. References are `host:port/name:tag`; all over plain HTTP. */
export interface Peer {
  /** Pushes an image out of an OCI layout folder. Resolves with the digest that it says it pushed, null where it says none. */
  push(image: LayoutImage, reference: string): Promise<string | null>;
  /** What it takes for the digest of a reference. */
  digest(reference: string): Promise<string>;
  /** Pulls everything that the reference names, and fails where something does not agree. */
  pull(reference: string): Promise<void>;
  /** Logs in to `host:port`, for all that follows. */
  login(host: string, username: string, password: string): Promise<void>;
  /** Removes what a reference names from its registry; null for a client that can't. */
  readonly remove: ((reference: string) => Promise<void>) | null;
  close(): Promise<void>;
}

export interface PeerKind {
  readonly name: string;
  /** Null where it is here, else why not. */
  available(): Promise<string | null>;
  /** Whether it pushes an index whole. */
  readonly indexes: boolean;
  /** Whether it carries manifests as they are, rather than writing its own. */
  readonly carries: boolean;
  start(): Promise<Peer>;
}

/** An image or index in an OCI layout folder of its own. */
export interface LayoutImage {
  readonly folder: string;
  /** Its name in the layout's index. */
  readonly name: string;
  readonly digest: string;
  readonly index: boolean;
}

/** A folder for the length of a call. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "lading-peer-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const hostOf = (reference: string): string => reference.slice(0, reference.indexOf("/"));

/** Reads a layout by name. */
const skopeo: Peer = {
  push: ({ folder, name }, reference) =>
    withFolder(async (work) => {
      const args = ["--insecure-policy", "copy", "--all", "--preserve-digests", "--digestfile", join(work, "digest")];
      await output("skopeo", [...args, "--dest-tls-verify=false", `oci:${folder}:${name}`, `docker://${reference}`]);
      return await output("cat", [join(work, "digest")]);
    }),
  digest: (reference) =>
    output("skopeo", ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", `docker://${reference}`]),
  pull: (reference) =>
    withFolder(async (work) => {
      const args = ["--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"];
      await output("skopeo", [...args, `docker://${reference}`, `oci:${work}:pulled`]);
    }),
  login: async (host, username, password) => {
    const args = ["login", "--tls-verify=false", "-u", username, "--password-stdin", host];
    await output("skopeo", args, { input: password });
  },
  remove: async (reference) => {
    await output("skopeo", ["delete", "--tls-verify=false", `docker://${reference}`]);
  },
  close: async () => {},
};

/** Reads a layout that has one entry. */
const crane: Peer = {
  push: async ({ folder }, reference) =>
    (await output("crane", ["push", "--insecure", folder, reference])).split("@").at(-1) ?? null,
  digest: (reference) => output("crane", ["digest", "--insecure", reference]),
  pull: async (reference) => {
    // Reads every blob and compares digests, sizes and diff IDs.
    await output("crane", ["validate", "--insecure", "--remote", reference]);
    await withFolder((work) =>
      output("crane", ["pull", "--insecure", "--format", "oci", reference, join(work, "pulled")]),
    );
  },
  login: async (host, username, password) => {
    await output("crane", ["auth", "login", host, "-u", username, "--password-stdin"], { input: password });
  },
  remove: async (reference) => {
    await output("crane", ["delete", "--insecure", reference]);
  },
  close: async () => {},
};

/** Reads a layout by digest. */
const regctl: Peer = {
  push: async ({ folder, digest }, reference) => {
    await output("regctl", [...plain(reference), "image", "copy", `ocidir://${folder}@${digest}`, reference]);
    return null;
  },
  digest: (reference) => output("regctl", [...plain(reference), "image", "digest", reference]),
  pull: async (reference) => {
    await withFolder((work) =>
      output("regctl", [...plain(reference), "image", "copy", reference, `ocidir://${join(work, "pulled")}:pulled`]),
    );
  },
  login: async (host, username, password) => {
    await output("regctl", ["registry", "set", "--tls", "disabled", "--skip-check", host]);
    const args = ["registry", "login", host, "-u", username, "--pass-stdin"];
    await output("regctl", args, { input: password });
  },
  remove: async (reference) => {
    await output("regctl", [...plain(reference), "tag", "delete", reference]);
  },
  close: async () => {},
};

function plain(reference: string): string[] {
  return ["--host", `reg=${hostOf(reference)},tls=disabled`];
}

/** Reads a layout by digest. */
const oras: Peer = {
  push: async ({ folder, digest }, reference) => {
    const text = await output("oras", ["cp", "--from-oci-layout", "--to-plain-http", `${folder}@${digest}`, reference]);
    return /Digest: (sha256:[0-9a-f]{64})/.exec(text)?.[1] ?? null;
  },
  digest: async (reference) => {
    const text = await output("oras", ["manifest", "fetch", "--plain-http", "--descriptor", reference]);
    return (JSON.parse(text) as { readonly digest: string }).digest;
  },
  pull: async (reference) => {
    await withFolder((work) =>
      output("oras", ["cp", "--from-plain-http", "--to-oci-layout", reference, `${join(work, "pulled")}:pulled`]),
    );
  },
  login: async (host, username, password) => {
    await output("oras", ["login", "--plain-http", "-u", username, "--password-stdin", host], { input: password });
  },
  remove: async (reference) => {
    await output("oras", ["manifest", "delete", "--plain-http", "--force", reference]);
  },
  close: async () => {},
};

/** Podman itself, without its service, with storage of its own. */
async function startPodman(): Promise<Peer> {
  const folder = await mkdtemp(join(tmpdir(), "lading-podman-"));
  const podman = (...args: string[]): Promise<string> =>
    output("podman", ["--root", join(folder, "root"), "--runroot", join(folder, "run"), ...args]);
  return {
    push: async ({ folder: layout }, reference) => {
      const archive = join(folder, "image.tar");
      await output("tar", ["-cf", archive, "-C", layout, "oci-layout", "index.json", "blobs"]);
      const loaded = (await podman("load", "-q", "-i", archive)).split(" ").at(-1) ?? "";
      const digestFile = join(folder, "digest");
      await podman("push", "-q", "--tls-verify=false", "--digestfile", digestFile, loaded, `docker://${reference}`);
      await podman("rmi", "-af");
      return await output("cat", [digestFile]);
    },
    digest: async (reference) => {
      const id = await podman("pull", "-q", "--tls-verify=false", `docker://${reference}`);
      const digest = await podman("image", "inspect", "--format", "{{.Digest}}", id);
      await podman("rmi", "-af");
      return digest;
    },
    pull: async (reference) => {
      await podman("pull", "-q", "--tls-verify=false", `docker://${reference}`);
      await podman("rmi", "-af");
    },
    login: async (host, username, password) => {
      const args = ["login", "--tls-verify=false", "-u", username, "--password-stdin", host];
      await output("podman", ["--root", join(folder, "root"), "--runroot", join(folder, "run"), ...args], {
        input: password,
      });
    },
    remove: null,
    close: async () => {
      // The overlay driver leaves its folder mounted on itself.
      await output("umount", ["-l", join(folder, "root", "overlay")]).catch(() => "");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The docker command with an engine of its own. */
async function startDocker(starter: EngineStarter, readsLayouts: boolean): Promise<Peer> {
  const engine = await starter.start();
  const docker = (...args: string[]): Promise<string> =>
    output("docker", ["-H", `unix://${engine.socketPath}`, ...args], { env: { DOCKER_CONFIG: engine.folder } });
  const digestIn = (text: string): string => /[Dd]igest: (sha256:[0-9a-f]{64})/.exec(text)?.[1] ?? "";
  const removeAll = async (): Promise<void> => {
    const ids = (await docker("image", "ls", "-aq")).split("\n").filter(Boolean);
    if (ids.length > 0) await docker("image", "rm", "-f", ...new Set(ids));
  };
  return {
    push: async ({ folder: layout, name }, reference) => {
      const archive = join(engine.folder, "image.tar");
      if (readsLayouts) await output("tar", ["-cf", archive, "-C", layout, "oci-layout", "index.json", "blobs"]);
      else
        await output("skopeo", [
          "copy",
          "--insecure-policy",
          `oci:${layout}:${name}`,
          `docker-archive:${archive}:${name}`,
        ]);
      await docker("load", "-i", archive);
      await rm(archive);
      await docker("tag", name, reference);
      const digest = digestIn(await docker("push", reference));
      await removeAll();
      return digest;
    },
    digest: async (reference) => {
      const digest = digestIn(await docker("pull", reference));
      await removeAll();
      return digest;
    },
    pull: async (reference) => {
      await docker("pull", reference);
      await removeAll();
    },
    login: async (host, username, password) => {
      const args = ["-H", `unix://${engine.socketPath}`, "login", "-u", username, "--password-stdin", host];
      await output("docker", args, { env: { DOCKER_CONFIG: engine.folder }, input: password });
    },
    remove: null,
    close: () => engine.stop(),
  };
}

const command = (name: string, peer: Peer): PeerKind => ({
  name,
  available: () => Promise.resolve(missingPrograms([name])),
  indexes: true,
  carries: true,
  start: () => Promise.resolve(peer),
});

export const peers: readonly PeerKind[] = [
  command("skopeo", skopeo),
  command("crane", crane),
  command("regctl", regctl),
  command("oras", oras),
  {
    name: "podman",
    available: () => Promise.resolve(missingPrograms(["podman"])),
    indexes: false,
    carries: false,
    start: startPodman,
  },
  {
    name: "docker, older engine",
    available: async () => (await olderDocker.available()) ?? missingPrograms(["docker", "skopeo"]),
    indexes: false,
    carries: false,
    start: () => startDocker(olderDocker, false),
  },
  {
    name: "docker, newest engine",
    available: async () => (await newestDocker.available()) ?? missingPrograms(["docker"]),
    indexes: true,
    carries: true,
    start: () => startDocker(newestDocker, true),
  },
];
