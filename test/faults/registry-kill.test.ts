/** F37: a server that is killed while clients send. */
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { Machine } from "../cli/machine.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { fault } from "./fault.js";
import { leaveForADay, serve, sweptAfterADay } from "./killed-server.js";
import { nothingLost } from "./nothing-lost.js";
import { type Chance, seeded } from "./seeded.js";

/** `npm run test:long` kills it oftener. */
const rounds = Number(process.env.LADING_KILL_ROUNDS ?? 5);
const clients = 100;
const repository = "team/app";

interface Session {
  /** Path and query, which outlive the server's port. */
  readonly at: string;
  readonly bytes: Uint8Array;
}

/** What the clients have been told. */
interface Told {
  readonly blobs: string[];
  readonly manifests: string[];
  /** Uploads of which half has been acknowledged, and no end. */
  readonly open: Set<Session>;
}

/** Sends blob after blob, each in two halves, and a manifest of it, until the server is gone. */
async function client(url: string, name: string, chance: Chance, told: Told, answered: () => void): Promise<void> {
  const ask = async (path: string, status: number, init: RequestInit): Promise<Response> => {
    const response = await fetch(new URL(path, url), init);
    await response.arrayBuffer();
    expect(response.status, path).toBe(status);
    return response;
  };
  const pathOf = (response: Response) => {
    const { pathname, search } = new URL(response.headers.get("location") ?? "", url);
    return pathname + search;
  };
  for (let count = 0; ; count++) {
    const bytes = randomBytesOf(`${name}/${count}`, 2 + chance.below(100_000));
    const [half, digest] = [bytes.length >> 1, digestOf(bytes)];
    const started = await ask(`/v2/${repository}/blobs/uploads/`, 202, { method: "POST" });
    answered();
    const sent = await ask(pathOf(started), 202, { method: "PATCH", body: bytes.subarray(0, half) });
    const session = { at: pathOf(sent), bytes };
    told.open.add(session);
    answered();
    await ask(`${session.at}?digest=${digest}`, 201, { method: "PUT", body: bytes.subarray(half) });
    told.blobs.push(digest);
    told.open.delete(session);
    answered();
    const config = { mediaType: mediaTypes.ociConfig, digest, size: bytes.length };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] });
    const headers = { "content-type": mediaTypes.ociManifest };
    await ask(`/v2/${repository}/manifests/${name}`, 201, { method: "PUT", body, headers });
    told.manifests.push(digestOf(body));
    answered();
  }
}

/** An upload that was open goes on where the server says, or is unknown. */
async function goOn(url: string, { at, bytes }: Session, told: Told): Promise<void> {
  const status = await fetch(new URL(at, url));
  expect([204, 404]).toContain(status.status);
  if (status.status === 404) return;
  const from = Number(/^0-(\d+)$/.exec(status.headers.get("range") ?? "")?.[1] ?? -1) + 1;
  // what was acknowledged is there
  expect(from).toBeGreaterThanOrEqual(bytes.length >> 1);
  const digest = digestOf(bytes);
  const done = await fetch(new URL(`${at}?digest=${digest}`, url), { method: "PUT", body: bytes.subarray(from) });
  expect(done.status, await done.text()).toBe(201);
  told.blobs.push(digest);
}

fault(
  "F37",
  `a server killed at ${rounds} random moments of ${clients} parallel uploads has all that it has acknowledged`,
  ["N1", "N4", "N5"],
  async () => {
    const machine = await Machine.create();
    onTestFinished(async () => await machine.remove());
    const data = join(machine.home, "images");
    const told: Told = { blobs: [], manifests: [], open: new Set() };
    let resumed = 0;
    await seeded("F37", rounds, async (chance, seed) => {
      const server = await serve(machine, data);
      // the moment is a number of answers, however slow the machine is
      let left = 4 + chance.below(clients * 4);
      let killed: Promise<void> | null = null;
      const answered = () => {
        if (--left <= 0) killed ??= server.end("SIGKILL");
      };
      const ends = await Promise.allSettled(
        Array.from({ length: clients }, (_, index) => client(server.url, `${seed}-${index}`, chance, told, answered)),
      );
      expect(killed).not.toBeNull();
      await killed;
      // they ended since nobody answered, and not by an answer that was wrong
      for (const end of ends) expect(end).toMatchObject({ status: "rejected", reason: expect.any(TypeError) });
      const again = await serve(machine, data);
      resumed += told.open.size;
      for (const session of told.open) await goOn(again.url, session, told);
      told.open.clear();
      await again.end("SIGTERM");
      const check = await machine.lading(["registry", "check", "--data", data, "--json"]);
      expect(check.code, check.stdout + check.stderr).toBe(0);
      // sessions of which nobody was told would come to be too many
      await leaveForADay(data);
    });
    expect(resumed).toBeGreaterThan(0);
    await sweptAfterADay(machine, data);
    const last = await serve(machine, data);
    try {
      const { blobs, manifests } = told;
      return await nothingLost({
        N1: [data],
        N5: { folders: [data] },
        N4: { repository: `${last.url}/${repository}`, blobs, manifests },
      });
    } finally {
      await last.end("SIGTERM");
    }
  },
  60_000 + rounds * 30_000,
);
