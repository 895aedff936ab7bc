import { describe, expect, it } from "vitest";
import { digestHex, digestOf } from "../oci/digest.js";
import type { Context } from "./context.js";
import { linkBlob, readLink } from "./links.js";
import { Quotas } from "./quotas.js";
import { MemoryStorage } from "./storage/memory.js";
import { encodeRecord, folders } from "./storage/storage.js";

const [repository, bytes] = ["team/app", Buffer.from("content")];
const digest = digestOf(bytes);

describe("the link of a repository to a blob", () => {
  it.each([
    ["condemned", "2026-01-01T00:00:00.000Z"],
    ["taken", null],
  ])("that is %s while the same blob is pushed again is there and live after it", async (_, condemned) => {
    const now = () => Date.parse("2026-01-02");
    const storage = new MemoryStorage(now);
    const context = { storage, now, quotas: new Quotas(storage, now), automaticMount: "no" } as unknown as Context;
    const push = (during: () => Promise<unknown>) =>
      linkBlob(context, { repository, digest, size: bytes.length }, async () => {
        await during();
        await storage.addBlob(digest, bytes);
        return true;
      });
    expect(await push(async () => undefined)).toBe(true);
    const [folder, name] = [folders.links(repository, digest), digestHex(digest)];
    const collected = push(() =>
      condemned === null
        ? storage.delete(folder, name)
        : storage.put(folder, name, encodeRecord({ size: bytes.length, linked: condemned, condemned })),
    );
    expect(await collected).toBe(true);
    expect(await readLink(storage, repository, digest)).toEqual({
      size: bytes.length,
      linked: "2026-01-02T00:00:00.000Z",
    });
  });
});
