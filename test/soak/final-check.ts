import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { brokenImages } from "../faults/broken-images.js";
import { filesBelow, storedBlobs } from "../faults/stored-blobs.js";
import { whereFound } from "../faults/where-found.js";
import { runProgram } from "../support/programs.js";
import type { DockerView } from "./docker-view.js";
import type { Ledger } from "./ledger.js";
import type { RegistryView } from "./registry-view.js";
import { hashFile, type StoreView } from "./store-view.js";

export interface FinalCheckOptions {
  readonly ledger: Ledger;
  readonly folder: string;
  readonly store: string;
  /** Stores that are only cache. */
  readonly coldStores: readonly string[];
  readonly ownData: string;
  readonly otherData: string;
  readonly storeView: StoreView;
  readonly dockerView: DockerView;
  readonly registries: readonly {
    readonly view: RegistryView;
    readonly host: string;
    /** `user:password` */
    readonly credential: string | null;
  }[];
  readonly secrets: readonly string[];
  /** Where no secret may be. */
  readonly folders: readonly string[];
}

/** N1: every blob file is what its name says. */
export async function checkBlobs(options: FinalCheckOptions): Promise<void> {
  const { ledger, store, coldStores, ownData, otherData } = options;
  const places = [store, ...coldStores, ownData, otherData];
  const found = (await Promise.all(places.map(storedBlobs))).flat();
  for (const { path, digest } of found) {
    const hash = await hashFile(path).catch(() => null);
    // Evicted meanwhile.
    if (hash === null) continue;
    await ledger.check("N1", `sha256:${hash}` === digest ? null : `${path} has the hash ${hash}`);
  }
  await ledger.say(`N1: ${found.length} blob files hashed`);
}

/** N2, N4 and N9: every tag that is left, byte by byte, and by a tool that is not ours. */
export async function checkTags(options: FinalCheckOptions): Promise<void> {
  const { ledger, folder, registries, storeView } = options;
  const hashed = new Map<string, string>();
  /** Lets a program copy an image into a folder, and compares the manifest that arrives. */
  const arrives = async (source: string, digest: string, copy: (target: string) => Copying): Promise<void> => {
    const target = await mkdtemp(join(folder, "pulled-"));
    const { program, args, manifest } = copy(target);
    const { status, stderr } = await runProgram(program, args);
    const got = await hashFile(join(target, manifest)).catch(() => "nothing");
    const right = status === 0 && `sha256:${got}` === digest;
    await ledger.check("N9", right ? null : `${source}: ${program} got ${got}, not ${digest}: ${stderr}`);
    await rm(target, { recursive: true });
  };
  for (const { view, host, credential } of registries) {
    let count = 0;
    for (const image of await view.catalog()) {
      for (const [tag, state] of await view.read(image)) {
        count += 1;
        await ledger.check("N2", state.broken === null ? null : `${view.name}/${image}:${tag}: ${state.broken}`);
        for (const blob of await view.blobs(image, tag)) {
          const key = `${view.name}/${blob}`;
          if (!hashed.has(key)) hashed.set(key, await view.hash(image, blob));
          await ledger.check("N4", hashed.get(key) === blob ? null : `${key} reads as ${hashed.get(key)}`);
        }
        const credentials = credential === null ? ["--src-no-creds"] : ["--src-creds", credential];
        const source = `docker://${host}/${image}:${tag}`;
        await arrives(source, state.digest, skopeo(source, ["--src-tls-verify=false", ...credentials]));
      }
    }
    await ledger.say(`N2, N4, N9: ${count} tags of ${view.name}`);
  }
  for (const broken of await brokenImages(options.store)) await ledger.check("N2", `store: ${broken}`);
  const names = await storeView.names();
  for (const [name, { digest, mediaType }] of names) {
    const there = await stat(storeView.path(digest)).catch(() => null);
    await ledger.check("N2", there === null ? `store/${name}: no manifest` : null);
    // This skopeo passes over manifests of Docker's type in a layout; oras takes no name with a colon.
    const source = `oci:${options.store}:${name}`;
    const copy = mediaType.includes(".oci.") ? skopeo(source, []) : oras(`${options.store}@${digest}`, digest);
    await arrives(source, digest, copy);
  }
  await ledger.say(`N2, N9: ${names.size} names of the store`);
}

interface Copying {
  readonly program: string;
  readonly args: readonly string[];
  /** Where the manifest is in the target. */
  readonly manifest: string;
}

const skopeo = (source: string, more: readonly string[]) => (target: string) => ({
  program: "skopeo",
  args: ["copy", "--all", "--insecure-policy", "--preserve-digests", ...more, source, `dir:${target}`],
  manifest: "manifest.json",
});

const oras = (source: string, digest: string) => (target: string) => ({
  program: "oras",
  args: ["cp", "--from-oci-layout", source, "--to-oci-layout", `${target}:pulled`],
  manifest: join("blobs", ...digest.split(":")),
});

/** N9 for Docker: it writes out what it has under every name, and the layers are those of the image. */
export async function checkDocker(options: FinalCheckOptions, socketPath: string): Promise<void> {
  const { ledger, dockerView } = options;
  const names = await dockerView.names();
  for (const name of names) {
    const saved = await runProgram("sh", ["-c", `docker -H unix://${socketPath} save ${name} | sha256sum`]);
    await ledger.check("N9", saved.status === 0 ? null : `docker save ${name}: ${saved.stderr}`);
  }
  await ledger.say(`N9: ${names.length} names of Docker`);
}

/** N6: the secrets are in no file but the one that Docker's clients keep them in. */
export async function checkSecrets(options: FinalCheckOptions): Promise<void> {
  const { ledger, folders, secrets } = options;
  for (const folder of folders) {
    const found = await whereFound(secrets, [], [folder]);
    await ledger.check("N6", found.length === 0 ? null : `a secret is in ${found.join(", ")}`);
  }
}

/** N5: what is left that is not content, of processes that have all ended. */
export async function checkLeftovers(options: FinalCheckOptions, killed: number): Promise<void> {
  const { ledger, ownData } = options;
  const below = async (folder: string) => (await filesBelow(folder)).map((file) => join(folder, file));
  const stores = [options.store, ...options.coldStores].map((folder) => join(folder, ".lading", "partial"));
  const partial = (await Promise.all(stores.map(below))).flat();
  const temporary = await below(join(ownData, "tmp"));
  const uploads = (await below(join(ownData, "repos"))).filter((path) => path.includes("/_uploads/"));
  const states = partial.filter((path) => path.endsWith(".json"));
  for (const path of states) {
    const owner = (JSON.parse(await readFile(path, "utf8")) as { owner?: { pid?: number } | null }).owner;
    const alive = owner?.pid !== undefined && (await stat(`/proc/${owner.pid}`).catch(() => null)) !== null;
    await ledger.check("N5", alive ? `${path} belongs to process ${owner?.pid}` : null);
  }
  const lifetime = 24 * 3600 * 1000;
  for (const path of [...partial, ...temporary, ...uploads]) {
    const age = Date.now() - ((await stat(path).catch(() => null))?.mtimeMs ?? Date.now());
    await ledger.check("N5", age < lifetime ? null : `${path} is ${Math.round(age / 3600_000)} h old`);
  }
  await ledger.say(
    `N5: left by ${killed} kills: ${partial.length} files of partial downloads, ${temporary.length} temporary files and ${uploads.length} files of open uploads in the registry`,
  );
}
