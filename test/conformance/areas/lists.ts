import { expect } from "vitest";
import type { Area } from "../area.js";

/** Tags and repositories, page by page. */
export const lists: Area = ({ registry, client, point }) => {
  point(
    ["tags-200", "tags-order", "tags-json", "tags-count", "tags-link", "tags-order-pages", "Tag listing"],
    "tags are in byte order, whatever their case, and paged",
    async () => {
      const tags = ["v10", "V1", "v1", "latest", "_x", "1.0", "a-B", "A-b", "z".repeat(128), "Z".repeat(128)];
      for (const tag of tags) await client.pushImage("a", tag, tag);
      const sorted = [...tags].sort();
      const all = await registry.send("GET", "/v2/a/tags/list");
      expect([all.status, all.json()]).toEqual([200, { name: "a", tags: sorted }]);
      for (const n of [1, 3, 10, 11]) {
        const pages = await client.pages(`/v2/a/tags/list?n=${n}`);
        expect(pages.flatMap((page) => page.json().tags)).toEqual(sorted);
        expect(pages.length).toBe(Math.ceil(tags.length / n));
        for (const page of pages.slice(0, -1)) expect((page.json().tags as []).length).toBe(n);
      }
    },
  );

  point(
    ["tags-last", "tags-order-last", "tags-none", "tags-none-link"],
    "last is a place in the order, and n=0 asks for none",
    async () => {
      for (const tag of ["a", "c", "1", "2"]) await client.pushImage("a", tag, "same");
      const list = async (query: string) => (await registry.send("GET", `/v2/a/tags/list?${query}`)).json().tags;
      expect(await list("last=1")).toEqual(["2", "a", "c"]);
      expect(await list("last=2&n=1")).toEqual(["a"]);
      // whether such a tag is there or not
      expect(await list("last=b")).toEqual(["c"]);
      expect(await list("last=z")).toEqual([]);
      const none = await registry.send("GET", "/v2/a/tags/list?n=0");
      expect([none.status, none.json().tags, none.headers.link]).toEqual([200, [], undefined]);
    },
  );

  point(["tags-count", "trap-9"], "a huge n is the most, one that is none is refused", async () => {
    await client.pushImage("a", "v1", "n");
    for (const n of ["-1", "x", "1.5", "1e3", ""]) {
      expect([n, (await registry.send("GET", `/v2/a/tags/list?n=${n}`)).status]).toEqual([n, 400]);
    }
    const huge = await registry.send("GET", "/v2/a/tags/list?n=9223372036854775808");
    expect(huge.json().tags).toEqual(["v1"]);
  });

  point(["trap-9", "tags-count"], "without n, a thousand tags are one page", async () => {
    const { bytes, digest } = await client.pushImage("a", null, "many");
    const tags = Array.from({ length: 1001 }, (_, index) => `t${String(index).padStart(4, "0")}`);
    for (let at = 0; at < tags.length; at += 46) {
      await client.putManifest("a", `${digest}?tag=${tags.slice(at, at + 46).join("&tag=")}`, bytes);
    }
    const pages = await client.pages("/v2/a/tags/list");
    expect(pages.map((page) => (page.json().tags as []).length)).toEqual([1000, 1]);
    expect(pages.flatMap((page) => page.json().tags)).toEqual(tags);
  });

  point(["http"], "repositories are in byte order and paged", async () => {
    const names = ["b", "a", "a/b", "a-b", "a.b", "a0", "a__b", "a/b/c"];
    for (const name of names) await client.pushImage(name, "v1", "catalog");
    const sorted = [...names].sort();
    for (const n of [1, 3, 8, 100]) {
      const pages = await client.pages(`/v2/_catalog?n=${n}`);
      expect(pages.flatMap((page) => page.json().repositories)).toEqual(sorted);
    }
    expect((await registry.send("GET", "/v2/_catalog?n=0")).json()).toEqual({ repositories: [] });
  });

  point([], "repositories show to who may read them", async () => {
    const hidden = new Set<string | null>();
    await registry.remake({
      authorize: async ({ repository }) =>
        hidden.has(repository)
          ? { allowed: false, status: 404, message: "there is no such repository" }
          : { allowed: true, principal: { subject: null } },
    });
    for (const name of ["a", "b", "c", "d"]) await client.pushImage(name, "v1", name);
    hidden.add("b").add("c");
    const pages = await client.pages("/v2/_catalog?n=1");
    expect(pages.map((page) => page.json().repositories)).toEqual([["a"], ["d"]]);
  });
};
