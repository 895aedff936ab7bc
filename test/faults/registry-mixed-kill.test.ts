/** F37: a server and a collection that are killed while clients push, mount, tag and delete. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { Machine } from "../cli/machine.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { tarOf } from "../support/tar-bytes.js";
import { fault } from "./fault.js";
import { leaveForADay, serve, sweptAfterADay } from "./killed-server.js";
import { nothingLost } from "./nothing-lost.js";
import { type Chance, seeded } from "./seeded.js";

/** `npm run test:long` kills them oftener. */
const rounds = Number(process.env.LADING_KILL_ROUNDS ?? 3);
const clients = 16;
const repositories = ["team/one", "team/two"];
/** Longer than a push takes, shorter than the rounds together. In seconds. */
const grace = 10;

interface Content {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

interface Image extends Content {
  readonly blobs: readonly Content[];
}

/** What a client was told of its own tags and manifests, which nobody else changes. */
interface Told {
  readonly repository: string;
  /** What its tags stand for; null for one that was deleted. */
  readonly tags: Map<string, Digest | null>;
  /** Manifests that were pushed and not deleted. */
  readonly images: Map<Digest, Image>;
  /** What was asked and not answered: it may have happened or not. */
  pending: { readonly tag: string; readonly to: Digest | null; readonly image: Image } | null;
}

const content = (bytes: Uint8Array): Content => ({ digest: digestOf(bytes), bytes });

/** Layers that all images share, so that they are mounted, forgotten, collected, and come back. */
const layers = Array.from({ length: 10 }, (_, index) =>
  content(tarOf([{ name: "file", content: randomBytesOf(`mixed/${index}`, 10_000 + index * 5000) }])),
);

function imageOf(name: string, chance: Chance): Image {
  const used = layers.filter(() => chance.below(4) === 0);
  const diffIds = used.map(({ digest }) => digest);
  const text = (value: unknown): Content => content(Buffer.from(JSON.stringify(value)));
  const config = text({
    ...{ architecture: "amd64", os: "linux", author: name },
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  const describe = (mediaType: string, { digest, bytes }: Content) => ({ mediaType, digest, size: bytes.length });
  const manifest = text({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: describe(mediaTypes.ociConfig, config),
    layers: used.map((layer) => describe(mediaTypes.ociLayer, layer)),
  });
  return { ...manifest, blobs: [config, ...used] };
}

/** Pushes, moves tags and deletes until the server is gone. */
async function client(url: string, name: string, chance: Chance, told: Told, answered: () => void): Promise<void> {
  const ask = async (path: string, statuses: readonly number[], init: RequestInit): Promise<Response> => {
    const response = await fetch(new URL(path, url), init);
    const body = await response.text();
    expect(statuses, `${init.method} ${path}: ${response.status} ${body}`).toContain(response.status);
    answered();
    return response;
  };
  const base = `/v2/${told.repository}`;
  const other = repositories.find((one) => one !== told.repository) ?? "";
  const give = async ({ digest, bytes }: Content): Promise<void> => {
    if ((await ask(`${base}/blobs/${digest}`, [200, 404], { method: "HEAD" })).status === 200) return;
    const query = chance.below(2) === 0 ? `?mount=${digest}&from=${other}` : "";
    const begun = await ask(`${base}/blobs/uploads/${query}`, [201, 202], { method: "POST" });
    if (begun.status === 201) return;
    const at = begun.headers.get("location") ?? "";
    await ask(at, [202], { method: "PATCH", body: bytes.subarray(0, bytes.length >> 1) });
    await ask(`${at}?digest=${digest}`, [201], { method: "PUT", body: bytes.subarray(bytes.length >> 1) });
  };
  const put = async (tag: string, image: Image, statuses: readonly number[]): Promise<boolean> => {
    told.pending = { tag, to: image.digest, image };
    const headers = { "content-type": mediaTypes.ociManifest };
    const { status } = await ask(`${base}/manifests/${tag}`, statuses, { method: "PUT", body: image.bytes, headers });
    told.pending = null;
    if (status !== 201) return false;
    told.tags.set(tag, image.digest);
    told.images.set(image.digest, image);
    return true;
  };
  for (let count = 0; ; count++) {
    const tag = `${name.replaceAll(".", "-")}-${chance.below(3)}`;
    const choice = chance.below(10);
    const image = [...told.images.values()][chance.below(told.images.size || 1)];
    if (choice < 5 || image === undefined) {
      const pushed = imageOf(`${name}/${count}`, chance);
      const started = performance.now();
      for (const blob of pushed.blobs) await give(blob);
      // content may only be gone where the push took longer than the grace
      if (!(await put(tag, pushed, [201, 400]))) expect(performance.now() - started).toBeGreaterThan(grace * 1000);
    } else if (choice < 7) {
      await put(tag, image, [201]);
    } else if (choice < 8 && told.tags.get(tag)) {
      told.pending = { tag, to: null, image };
      await ask(`${base}/manifests/${tag}`, [202], { method: "DELETE" });
      told.pending = null;
      told.tags.set(tag, null);
    } else {
      const of = [...told.tags].filter(([, digest]) => digest === image.digest);
      // a manifest that may be half deleted is looked at no more
      told.images.delete(image.digest);
      for (const [one] of of) told.tags.delete(one);
      await ask(`${base}/manifests/${image.digest}`, [202], { method: "DELETE" });
      for (const [one] of of) told.tags.set(one, null);
    }
  }
}

/** Every tag stands for what its client was last told, or for what it has asked since. */
async function checkTold(url: string, told: Told): Promise<void> {
  const { repository, pending } = told;
  if (pending !== null && !told.tags.has(pending.tag)) told.tags.set(pending.tag, null);
  for (const [tag, before] of told.tags) {
    const response = await fetch(`${url}/v2/${repository}/manifests/${tag}`, { method: "HEAD" });
    const seen = response.status === 404 ? null : (response.headers.get("docker-content-digest") as Digest);
    const allowed = pending?.tag === tag ? [before, pending.to] : [before];
    expect(allowed, `${repository}:${tag}`).toContain(seen);
    told.tags.set(tag, seen);
    if (seen !== null && seen === pending?.to) told.images.set(seen, pending.image);
  }
  told.pending = null;
}

fault(
  "F37",
  `a server and a collection killed at ${rounds} random moments of pushes, mounts, tags and deletes lose nothing`,
  ["N1", "N2", "N4", "N5"],
  async () => {
    const machine = await Machine.create();
    onTestFinished(async () => await machine.remove());
    const data = join(machine.home, "images");
    const all: Told[] = [];
    const collections = { ended: 0, killed: 0 };
    await seeded("F37 mixed", rounds, async (chance, seed) => {
      // its own collection would be in the way of the one that is killed
      const server = await serve(machine, data, ["--gc-interval", "0"]);
      const collecting: { child: { kill(signal: NodeJS.Signals): unknown } | null } = { child: null };
      const collection =
        all.length === 0
          ? null
          : machine.lading(["registry", "gc", "--data", data, "--grace", `${grace}s`, "--json"], {
              onStart: (child) => {
                collecting.child = child;
              },
            });
      // the moment is a number of answers, however slow the machine is
      let left = 4 + chance.below(clients * 40);
      let killed: Promise<void> | null = null;
      const answered = () => {
        if (--left > 0) return;
        collecting.child?.kill("SIGKILL");
        killed ??= server.end("SIGKILL");
      };
      const round = Array.from({ length: clients }, (_, index): Told => {
        const repository = repositories[index % repositories.length] ?? "";
        return { repository, tags: new Map(), images: new Map(), pending: null };
      });
      all.push(...round);
      const ends = await Promise.allSettled(
        round.map((told, index) => client(server.url, `${seed}-${index}`, chance, told, answered)),
      );
      expect(killed).not.toBeNull();
      await killed;
      // they ended since nobody answered, and not by an answer that was wrong
      for (const end of ends) expect(end).toMatchObject({ status: "rejected", reason: expect.any(TypeError) });
      const collected = await collection;
      if (collected?.code === 0) collections.ended++;
      else if (collected?.code === null) collections.killed++;
      // a minute later a collection that was killed is taken for dead
      await rm(join(data, "gc"), { recursive: true, force: true });
      const again = await serve(machine, data);
      for (const told of round) await checkTold(again.url, told);
      await again.end("SIGTERM");
      const check = await machine.lading(["registry", "check", "--data", data, "--json"]);
      expect(check.code, check.stdout + check.stderr).toBe(0);
      // sessions of which nobody was told would come to be too many
      await leaveForADay(data);
    });
    if (rounds > 2) expect(collections.ended + collections.killed).toBeGreaterThan(0);
    await sweptAfterADay(machine, data);
    const last = await serve(machine, data);
    try {
      for (const told of all) await checkTold(last.url, told);
      const places = repositories.map((repository) => `${last.url}/${repository}`);
      for (const [index, repository] of repositories.entries()) {
        const images = all.filter((told) => told.repository === repository).flatMap(({ images }) => [...images]);
        const blobs = new Set(images.flatMap(([, { blobs }]) => blobs.map(({ digest }) => digest)));
        const N4 = { repository: places[index] ?? "", manifests: images.map(([digest]) => digest), blobs: [...blobs] };
        await nothingLost({ N4 });
      }
      return await nothingLost({
        N1: [data],
        N2: places,
        N4: { repository: places[0] ?? "", blobs: [], manifests: all.flatMap(firstTags) },
        N5: { folders: [data] },
      });
    } finally {
      await last.end("SIGTERM");
    }
  },
  60_000 + rounds * 60_000,
);

/** Tags of the first repository that stand for something. */
function firstTags({ repository, tags }: Told): readonly string[] {
  if (repository !== repositories[0]) return [];
  return [...tags].filter(([, digest]) => digest !== null).map(([tag]) => tag);
}
