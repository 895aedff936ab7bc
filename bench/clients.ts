import { findProgram } from "../test/support/programs.js";
import type { BenchImage } from "./image-shelf.js";
import type { Command } from "./measure.js";
import type { World } from "./world.js";

/** Where a client finds the other end. */
export interface Remote {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** PEM file of the authority; null for plain http. */
  readonly ca: string | null;
}

/** A tool that moves images between a folder and a registry. */
export interface Client {
  readonly name: string;
  readonly ours: boolean;
  /** Whether it is on this machine. */
  readonly here: boolean;
  /** Pushes an image out of its layout. */
  push(world: World, image: BenchImage, remote: Remote, path: string): Promise<Command>;
  /** Pulls into a folder that isn't there yet, which becomes an OCI layout. */
  pull(world: World, remote: Remote, path: string, folder: string): Promise<Command>;
}

/** The tag of every image here. */
export const tag = "1";

const trusting = (remote: Remote) => (remote.ca === null ? {} : { SSL_CERT_FILE: remote.ca });

/** One of Go's tools, whose arguments are all that differs. */
function peer(
  program: string,
  push: (layout: string, reference: string, remote: Remote) => readonly string[],
  pull: (reference: string, folder: string, remote: Remote) => readonly string[],
): Client {
  const command = async (world: World, remote: Remote, args: readonly string[]): Promise<Command> => ({
    program,
    args,
    env: await world.environment(trusting(remote)),
  });
  return {
    name: program,
    ours: false,
    here: findProgram(program) !== null,
    push: (world, image, remote, path) =>
      command(world, remote, push(image.folder, `${remote.host}/${path}:${tag}`, remote)),
    pull: (world, remote, path, folder) =>
      command(world, remote, pull(`${remote.host}/${path}:${tag}`, folder, remote)),
  };
}

export const crane = peer(
  "crane",
  (layout, reference) => ["push", layout, reference],
  (reference, folder) => ["pull", "--format", "oci", reference, folder],
);

const regctlHost = ({ host, ca }: Remote) => ["--host", `reg=${host},tls=${ca === null ? "disabled" : "enabled"}`];

export const regctl = peer(
  "regctl",
  (layout, reference, remote) => [...regctlHost(remote), "image", "copy", `ocidir://${layout}:${tag}`, reference],
  (reference, folder, remote) => [...regctlHost(remote), "image", "copy", reference, `ocidir://${folder}:${tag}`],
);

export const oras = peer(
  "oras",
  (layout, reference, { ca }) => [
    ...["cp", "--no-tty", "--from-oci-layout", ...(ca === null ? ["--to-plain-http"] : [])],
    ...[`${layout}:${tag}`, reference],
  ],
  (reference, folder, { ca }) => [
    ...["cp", "--no-tty", "--to-oci-layout", ...(ca === null ? ["--from-plain-http"] : [])],
    ...[reference, `${folder}:${tag}`],
  ],
);

const skopeoCopy = ["--insecure-policy", "copy", "-q", "--preserve-digests"];

export const skopeo = peer(
  "skopeo",
  (layout, reference, { ca }) => [
    ...[...skopeoCopy, `--dest-tls-verify=${ca !== null}`],
    ...[`oci:${layout}:${tag}`, `docker://${reference}`],
  ],
  (reference, folder, { ca }) => [
    ...[...skopeoCopy, `--src-tls-verify=${ca !== null}`],
    ...[`docker://${reference}`, `oci:${folder}:${tag}`],
  ],
);

/** Lading with a store as its engine. */
export interface LadingOptions {
  readonly name?: string;
  /** Leave out what makes a write last, as the peers do. @default false */
  readonly withoutSync?: boolean;
}

/** What keeps Lading from asking the disk: the same program, with `fsync` and `fdatasync` gone. */
const withoutSync = `data:text/javascript,${encodeURIComponent(
  'import{open}from"node:fs/promises";const f=await open(process.execPath);' +
    "const p=Object.getPrototypeOf(f);p.sync=p.datasync=async()=>{};await f.close();",
)}`;

export function ladingClient(options: LadingOptions = {}): Client {
  const base = async (world: World, store: string, remote: Remote, args: readonly string[]): Promise<Command> => ({
    program: process.execPath,
    args: [
      ...(options.withoutSync === true ? ["--import", withoutSync] : []),
      ...[world.program, ...args, "--store", store],
      ...(remote.ca === null ? [] : ["--ca-file", remote.ca]),
    ],
    env: await world.environment({ LADING_ENGINE: "store" }),
  });
  return {
    name: options.name ?? "lading",
    ours: true,
    here: true,
    push: async (world, image, remote, path) =>
      await base(world, await world.storeOf(image), remote, ["push", "app:1", `${remote.host}/${path}:${tag}`]),
    pull: (world, remote, path, folder) =>
      base(world, folder, remote, ["pull", `${remote.host}/${path}:${tag}`, "app:1"]),
  };
}

export const peers: readonly Client[] = [crane, oras, regctl, skopeo];
