import { afterEach, beforeEach, expect } from "vitest";
import type { ErrorCode } from "../../src/errors.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { failureOf } from "../cli/failure.js";
import { Machine } from "../cli/machine.js";
import { faultyLading } from "../faults/faulty-process.js";
import { type Handler, on } from "../support/scripted-registry.js";
import { sendEndlessly } from "./endless.js";
import { imageParts, serveManifest } from "./hostile-image.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const growth = 32 * 1024 * 1024;
const chunk = Buffer.alloc(64 * 1024, " ");

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.create();
});
afterEach(async () => {
  await machine.remove();
});

/** What the client may have taken of a gigabyte: its limit, and what sockets and buffers on the way hold. */
const mostTaken = (limit: number) => limit + 8 * 1024 * 1024;

const endless: readonly (readonly [
  what: string,
  args: (host: string) => readonly string[],
  handler: (taken: (bytes: number) => void) => Handler,
  limit: number,
  code: ErrorCode,
])[] = [
  [
    "manifest",
    (host) => ["digest", `${host}/a/b:big`, "--platform", "linux/amd64"],
    (taken) =>
      on("GET", /\/manifests\/big/, async ({ response }) => {
        response.writeHead(200, { "content-type": mediaTypes.ociManifest });
        taken(await sendEndlessly(response, chunk));
      }),
    4 * 1024 * 1024,
    "limit-exceeded",
  ],
  [
    "list of tags",
    (host) => ["tags", `${host}/a/b`],
    (taken) =>
      on("GET", /\/tags\/list/, async ({ response }) => {
        taken(await sendEndlessly(response.writeHead(200), chunk, '{"name":"a/b","tags":['));
      }),
    8 * 1024 * 1024,
    "limit-exceeded",
  ],
  [
    "catalog",
    (host) => ["ls", "--registry", host],
    (taken) =>
      on("GET", /\/_catalog/, async ({ response }) => {
        taken(await sendEndlessly(response.writeHead(200), chunk, '{"repositories":['));
      }),
    8 * 1024 * 1024,
    "limit-exceeded",
  ],
  [
    "config",
    (host) => ["inspect", `${host}/a/b:v1`],
    (taken) =>
      on("GET", /\/blobs\//, async ({ response }) => {
        taken(await sendEndlessly(response.writeHead(200), chunk));
      }),
    4 * 1024 * 1024,
    "size-mismatch",
  ],
  [
    "error",
    (host) => ["tags", `${host}/a/b`],
    (taken) =>
      on("GET", /\/tags\/list/, async ({ response }) => {
        taken(await sendEndlessly(response.writeHead(403), chunk, '{"errors":['));
      }),
    64 * 1024,
    "denied",
  ],
  [
    "token answer",
    (host) => ["tags", `${host}/a/b`],
    (taken) => async (exchange) => {
      if (exchange.target.startsWith("/token")) {
        taken(await sendEndlessly(exchange.response.writeHead(200), chunk, '{"token":"'));
      } else {
        const realm = `http://${exchange.headers.host}/token`;
        exchange.send(401, { "www-authenticate": `Bearer realm="${realm}",service="s"` });
      }
      return true;
    },
    64 * 1024,
    "limit-exceeded",
  ],
];

for (const [what, args, handler, limit, code] of endless) {
  threat("A25", `a ${what} without an end costs no memory`, async () => {
    // The same verb where all is well, or ends at once.
    const calm = await stage.registry();
    serveManifest(calm, mediaTypes.ociManifest, imageParts(calm).manifest, "v1", "big");
    const usual = await faultyLading(machine, args(calm.host));
    let most = 0;
    const registry = await stage.registry(
      handler((bytes) => {
        most = Math.max(most, bytes);
      }),
    );
    serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1", "big");
    const { report, ...outcome } = await faultyLading(machine, [...args(registry.host), "--json"]);
    expect(failureOf(outcome)).toMatchObject({ code });
    expect(report.peak).toBeGreaterThan(0);
    expect(report.peak - usual.report.peak).toBeLessThan(growth);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(mostTaken(limit));
  });
}
