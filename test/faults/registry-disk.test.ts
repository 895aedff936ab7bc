/** F38: calls to the disk that fail, one after the other, below a registry that serves. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { createRegistryOn, type Registry } from "../../src/server/registry.js";
import { FilesystemStorage } from "../../src/server/storage/filesystem.js";
import { failingFileSystem } from "../support/failing-file-system.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { fault } from "./fault.js";
import { nothingLost } from "./nothing-lost.js";
import { randomRounds } from "./seeded.js";

const repository = "team/app";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-f38-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function send(registry: Registry, method: string, url: string, body: string | null = null, type?: string) {
  const bytes = body === null ? null : Buffer.from(body);
  const headers: Record<string, string> = { "content-length": String(bytes?.length ?? 0) };
  if (type !== undefined) headers["content-type"] = type;
  const response = await registry.handle({ method, url, headers, body: bytes });
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  return { status: response.status, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

/** Every failure is said in the form of the specification, a full disk as 507. */
function expectSaid({ status, body }: { status: number; body: string }, errno: string, ok: readonly number[]): boolean {
  if (ok.includes(status)) return true;
  const { code, detail } = JSON.parse(body).errors[0];
  expect([status, code, detail?.limit ?? null]).toEqual(
    errno === "ENOSPC" ? [507, "DENIED", "disk"] : [500, "UNKNOWN", null],
  );
  return false;
}

/** What a client was told that it is there. */
interface Acknowledged {
  readonly blobs: string[];
  readonly manifests: string[];
}

async function push(registry: Registry, salt: string, errno: string, told: Acknowledged): Promise<string | null> {
  const digest = digestOf(salt);
  const started = await send(registry, "POST", `/v2/${repository}/blobs/uploads/`);
  if (!expectSaid(started, errno, [202])) return null;
  const put = await send(registry, "PUT", `${started.headers.location}?digest=${digest}`, salt);
  if (!expectSaid(put, errno, [201])) return null;
  told.blobs.push(digest);
  const config = { mediaType: mediaTypes.ociConfig, digest, size: salt.length };
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] });
  const answer = await send(registry, "PUT", `/v2/${repository}/manifests/moves`, manifest, mediaTypes.ociManifest);
  if (!expectSaid(answer, errno, [201])) return null;
  told.manifests.push(digestOf(manifest));
  return manifest;
}

/** Every so many calls one fails; `npm run test:long` has each fail. */
const step = randomRounds > 0 ? 1 : 5;
/** More than a push makes: the loop ends by itself. */
const mostCalls = 400;

for (const [at, errno] of ["ENOSPC", "EIO", "EMFILE"].entries()) {
  fault(
    "F38",
    `${errno} at some calls of a push, with random rounds at each, is an answer, and loses nothing that was there`,
    ["N1", "N4"],
    async () => {
      const healthy = createRegistryOn(new FilesystemStorage(directory, { durable: true }), {});
      const told: Acknowledged = { blobs: [], manifests: [] };
      let last = await push(healthy, "first", errno, told);
      let [failed, tried] = [0, 0];
      // each errno begins elsewhere, so that together they meet more of the calls
      for (let call = 1 + (at % step); call <= mostCalls; call += step) {
        const { fs, calls } = failingFileSystem(errno, call);
        const registry = createRegistryOn(new FilesystemStorage(directory, { durable: true, fs }), {});
        const done = await push(registry, `push ${errno} ${call}`, errno, told);
        const met = calls() >= call;
        if (met) {
          tried++;
          if (done === null) failed++;
          // a push that failed has moved the tag or has not: whoever reads it finds one of the two
          const seen = await send(healthy, "GET", `/v2/${repository}/manifests/moves`);
          expect(seen.status).toBe(200);
          if (done === null && seen.body !== last) expect(seen.body).toContain(digestOf(`push ${errno} ${call}`));
          // it goes on serving
          const again = await push(registry, `again ${errno} ${call}`, errno, told);
          expect(again, `the push after call ${call} had failed`).not.toBeNull();
          last = again;
        } else last = done;
        expect((await send(healthy, "GET", `/v2/${repository}/manifests/moves`)).body).toBe(last);
        await registry.close();
        if (!met) break;
      }
      expect(tried).toBeLessThan(mostCalls / step);
      expect(failed).toBeGreaterThan(100 / step / 2);
      expect((await healthy.upkeep.check()).problems).toEqual([]);
      await healthy.close();
      const restarted = await startOwnRegistry({ directory });
      try {
        return await nothingLost({ N1: [directory], N4: { repository: `${restarted.url}/${repository}`, ...told } });
      } finally {
        await restarted.close();
      }
    },
    300_000,
  );
}
