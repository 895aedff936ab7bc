import { expect, it } from "vitest";
import { type Client, openClient } from "../../src/index.js";
import { Machine } from "./machine.js";

/** Verbs with the method of the SDK that each of them is. */
const pairs: readonly (readonly [argv: string, call: (client: Client) => Promise<unknown>])[] = [
  ["ls", (client) => client.images.listDetailed()],
  ["tags image:app", (client) => client.images.tagsDetailed(app(client, "deny"))],
  ["tags -l image:app", (client) => client.images.tagsDetailed(app(client, "deny"), { details: true })],
  ["size image:app", (client) => client.images.sizeDetailed(app(client))],
  ["digest image:app", (client) => client.images.digestDetailed(app(client))],
  ["info image:app", (client) => client.images.info(app(client))],
  ["inspect image:app", (client) => client.images.inspect(app(client))],
  ["rm --dry-run image:app:latest", (client) => client.images.planRemoval(app(client))],
  ["images", (client) => client.local.list()],
  ["verify app", (client) => client.local.verify([client.parse.localImage("app")])],
  ["repair", (client) => client.local.repair()],
  ["prune --dry-run --older-than 1h", (client) => client.local.prune({ dryRun: true, olderThan: 3600 })],
  ["inspect --local app", (client) => client.local.inspect(client.parse.localImage("app"))],
];

const app = (client: Client, tagOption: "default" | "deny" = "default") =>
  client.parse.remoteImage("image:app", { tagOption });

it("prints with --json exactly what the SDK's method gives", async () => {
  const machine = await Machine.create();
  try {
    await machine.putImage("app:latest", { layers: 2 });
    await machine.lading(["push", "app"]);
    const client = await openClient({ env: machine.env });
    try {
      for (const [argv, call] of pairs) {
        const { stdout } = await machine.lading([...argv.split(" "), "--json"]);
        expect(JSON.parse(stdout), argv).toEqual(JSON.parse(JSON.stringify(await call(client))));
      }
    } finally {
      await client.close();
    }
  } finally {
    await machine.remove();
  }
});
