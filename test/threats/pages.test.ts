import { expect } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { limits } from "../../src/oci/limits.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import type { RegistryClient } from "../../src/registry/client.js";
import { type Handler, on } from "../support/scripted-registry.js";
import { withCode } from "../support/store-contract.js";
import { secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const subject = digestOf("subject");

interface List {
  readonly what: string;
  readonly target: RegExp;
  /** The body of page `number`, with something on it that no other page has. */
  body(number: number): string;
  readonly type: string;
  read(client: RegistryClient): Promise<unknown>;
}

async function drain(pages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of pages);
}

const lists: readonly List[] = [
  {
    what: "tags",
    target: /^\/v2\/a\/b\/tags\/list/,
    body: (number) => JSON.stringify({ name: "a/b", tags: [`t${number}`] }),
    type: "application/json",
    read: (client) => drain(client.repository("a/b").tags()),
  },
  {
    what: "the catalog",
    target: /^\/v2\/_catalog/,
    body: (number) => JSON.stringify({ repositories: [`r${number}`] }),
    type: "application/json",
    read: (client) => drain(client.catalog()),
  },
  {
    what: "referrers",
    target: /^\/v2\/a\/b\/referrers\//,
    body: (number) =>
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [{ mediaType: mediaTypes.ociManifest, digest: digestOf(`r${number}`), size: 10 }],
      }),
    type: mediaTypes.ociIndex,
    read: (client) => client.repository("a/b").referrers(subject),
  },
];

/** Pages one after the other, each with the `Link` that is said. */
function paged({ target, body, type }: List, link: (number: number, url: URL) => string): Handler {
  let number = 0;
  return on("GET", target, (exchange) => {
    exchange.send(200, { "content-type": type, link: `<${link(number, exchange.url)}>; rel="next"` }, body(number));
    number += 1;
  });
}

for (const list of lists) {
  threat("A15", `${list.what}: the next page is at no other place`, async () => {
    const canary = await stage.canary();
    for (const link of [
      `http://${canary.host}/v2/a/b/tags/list`,
      `//${canary.host}/v2/a/b/tags/list`,
      `https://${canary.host}/`,
      "http://user@SELF",
      "/v2/other/tags/list?last=x",
      "/v2/a/b/blobs/x",
      "..",
      "file:///etc/passwd",
      "https://[",
    ]) {
      const registry = await stage.registry();
      registry.handlers.push(paged(list, (_, url) => link.replace("SELF", `${registry.host}${url.pathname}?last=x`)));
      const { client } = stage.client(registry.url, { fetchCredentials: async () => secrets });
      await expect(list.read(client), link).rejects.toEqual(withCode("unsafe-url"));
      expect(registry.requests, link).toHaveLength(1);
    }
    expect(canary.connections).toBe(0);
  });

  threat("A16", `${list.what}: pages that go in a circle, repeat themselves or never end come to an end`, async () => {
    for (const [link, most] of [
      [(_: number, url: URL) => url.href, 2],
      [(number: number, url: URL) => `${url.pathname}?last=${number % 3}`, 5],
      [(number: number, url: URL) => `${url.pathname}?last=${number}`, limits.pages],
    ] as const) {
      const registry = await stage.registry();
      registry.handlers.push(
        paged(list, (number, url) => link(number, new URL(url.href.replace(url.origin, registry.url)))),
      );
      const { client } = stage.client(registry.url);
      await expect(list.read(client)).rejects.toEqual(withCode("limit-exceeded"));
      expect(registry.requests.length).toBeLessThanOrEqual(most);
    }
    const registry = await stage.registry();
    const same = { ...list, body: () => list.body(0) };
    registry.handlers.push(paged(same, (number, url) => `${url.pathname}?last=${number}`));
    await expect(list.read(stage.client(registry.url).client)).rejects.toEqual(withCode("limit-exceeded"));
    expect(registry.requests).toHaveLength(2);
  });
}
