import { describe, expect, test } from "vitest";
import { withCode } from "../../test/support/store-contract.js";
import { limits } from "../oci/limits.js";
import { nextPage, pages } from "./link.js";

const page = new URL("https://reg.example/v2/a/b/tags/list?n=2");

describe("nextPage", () => {
  test.each([
    ['</v2/a/b/tags/list?n=2&last=x>; rel="next"', "https://reg.example/v2/a/b/tags/list?n=2&last=x"],
    ['<https://reg.example/v2/a/b/tags/list?last=x>; rel="next"', "https://reg.example/v2/a/b/tags/list?last=x"],
    ["<?last=a%2Fb>;rel=next", "https://reg.example/v2/a/b/tags/list?last=a%2Fb"],
    ['/v2/a/b/tags/list?last=x; rel="next"', "https://reg.example/v2/a/b/tags/list?last=x"],
    ['</v2/a/b/tags/list?p=1>; rel="prev", </v2/a/b/tags/list?p=3>; rel="next"', `${page.origin}/v2/a/b/tags/list?p=3`],
    ['</v2/a/b/tags/list?p=1>; rel="prev"', undefined],
    ["", undefined],
  ])("%s", (header, expected) => {
    expect(nextPage(header, page)?.href).toBe(expected);
  });

  test.each([
    '<https://other.example/v2/a/b/tags/list?last=x>; rel="next"',
    '<//other.example/v2/a/b/tags/list>; rel="next"',
    '<http://reg.example/v2/a/b/tags/list>; rel="next"',
    '<https://reg.example:444/v2/a/b/tags/list>; rel="next"',
    '<https://user@reg.example/v2/a/b/tags/list>; rel="next"',
    '</v2/other/tags/list?last=x>; rel="next"',
    '<../../c/tags/list>; rel="next"',
  ])("refuses %s", (header) => {
    expect(() => nextPage(header, page)).toThrow(withCode("unsafe-url"));
  });

  test("refuses a huge header", () => {
    expect(() => nextPage(`<${"x".repeat(1_000_000)}>; rel="next"`, page)).toThrow(withCode("limit-exceeded"));
  });
});

describe("pages", () => {
  const collect = async (read: (url: URL) => { entries: string[]; next: URL | null }) => {
    const found: string[] = [];
    for await (const entries of pages(
      page,
      async (url) => read(url),
      (entry) => entry,
    ))
      found.push(...entries);
    return found;
  };
  const numbered = (number: number) => new URL(`?p=${number}`, page);

  test("stops at a page that links to itself, and in a longer circle", async () => {
    await expect(collect(() => ({ entries: ["a"], next: page }))).rejects.toEqual(withCode("limit-exceeded"));
    let count = 0;
    await expect(collect(() => ({ entries: [`${count++}`], next: numbered(count % 3) }))).rejects.toEqual(
      withCode("limit-exceeded"),
    );
  });

  test("stops at a list that never ends", async () => {
    let count = 0;
    await expect(collect(() => ({ entries: [`${count++}`], next: numbered(count) }))).rejects.toEqual(
      withCode("limit-exceeded"),
    );
    expect(count).toBe(limits.pages);
  });

  test("stops at pages that bring nothing new", async () => {
    let count = 0;
    await expect(collect(() => ({ entries: ["a", "b"], next: numbered(count++) }))).rejects.toEqual(
      withCode("limit-exceeded"),
    );
    expect(count).toBe(2);
  });

  test("gives an entry once where pages overlap", async () => {
    const lists = [["a", "b"], ["b", "c"], []];
    let at = 0;
    expect(
      await collect(() => ({ entries: lists[at++] ?? [], next: at < lists.length ? numbered(at) : null })),
    ).toEqual(["a", "b", "c"]);
  });
});
