import { readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { digestOf } from "../oci/digest.js";
import { type UploadClaim, type UploadEntry, UploadJournal } from "./upload-journal.js";
import type { UploadKey } from "./upload-record.js";
import type { Session } from "./upload-session.js";

const key: UploadKey = {
  registry: "https://reg.example",
  repository: "a/b",
  digest: digestOf("x"),
  size: 30_000_000,
  identity: "user carol",
};
const session: Session = {
  location: new URL("https://reg.example/v2/a/b/blobs/uploads/1?_state=x"),
  offset: 5,
  minimum: 0,
};
const minute = 60_000;

/** Journals as two processes have them, over one folder. */
async function journals() {
  const directory = join(await temporaryFolder(), "store", ".lading", "uploads");
  const open = () => new UploadJournal({ directory, beat: 10_000 });
  const file = async () => join(directory, (await readdir(directory))[0] ?? "none");
  /** As if the owner had been quiet for so long. */
  const age = async (milliseconds: number) => {
    const then = (Date.now() - milliseconds) / 1000;
    await utimes(await file(), then, then);
  };
  /** As if the owner had died: nothing else of it changes. */
  const kill = async () => {
    const record = JSON.parse(await readFile(await file(), "utf8"));
    record.owner.started = "another";
    await writeFile(await file(), JSON.stringify(record));
  };
  return { directory, one: open(), other: open(), file, age, kill };
}

function entryOf(claim: UploadClaim): UploadEntry {
  if (claim.kind !== "own") throw new Error(`the claim is ${claim.kind}`);
  return claim.entry;
}

describe("the journal of uploads", () => {
  test("gives an upload to one, and to the next when that has finished", async () => {
    const { one, other, directory } = await journals();
    const entry = entryOf(await one.claim(key));
    expect(await other.claim(key)).toEqual({ kind: "busy", pid: process.pid, offset: 0 });
    await entry.note({ ...session, offset: 0 });
    entry.reached(7_000_000);
    await entry.beat();
    expect(await other.claim(key)).toMatchObject({ kind: "busy", offset: 7_000_000 });
    await entry.remove();
    expect(await readdir(directory)).toEqual([]);
    const next = await other.claim(key);
    expect(next).toMatchObject({ kind: "own", session: null });
    await entryOf(next).remove();
  });

  test("of several that ask at once one has it", async () => {
    const { one, other } = await journals();
    const claims = await Promise.all([one, other, one, other].map((journal) => journal.claim(key)));
    expect(claims.map(({ kind }) => kind).sort()).toEqual(["busy", "busy", "busy", "own"]);
    for (const claim of claims) if (claim.kind === "own") await claim.entry.remove();
  });

  test("keeps what was left, for its owner's eyes alone", async () => {
    const { one, other, file } = await journals();
    const entry = entryOf(await one.claim(key));
    await entry.note(session);
    await entry.release();
    expect((await stat(await file())).mode & 0o777).toBe(0o600);
    const claim = await other.claim(key);
    expect(claim).toMatchObject({ kind: "own", session });
    await entryOf(claim).remove();
  });

  test("gives what a dead process had to one of those that ask", async () => {
    const { one, other, kill } = await journals();
    await entryOf(await one.claim(key)).note(session);
    await kill();
    const claims = await Promise.all([other.claim(key), other.claim(key)]);
    expect(claims.map(({ kind }) => kind).sort()).toEqual(["busy", "own"]);
    for (const claim of claims) {
      if (claim.kind !== "own") continue;
      expect(claim.session).toEqual(session);
      await claim.entry.remove();
    }
  });

  test("lets nobody wait for a process that does nothing, nor takes its session", async () => {
    const { one, other, age, file } = await journals();
    const entry = entryOf(await one.claim(key));
    await entry.note(session);
    await age(2 * minute);
    expect(await other.claim(key)).toEqual({ kind: "none" });
    expect(await readFile(await file(), "utf8")).toContain("_state=x");
    await entry.remove();
  });

  test.each([{ identity: "user dave" }, { identity: "" }, { repository: "a/c" }, { registry: "http://reg.example" }])(
    "takes an upload with %j for another one",
    async (other) => {
      const { one } = await journals();
      const entry = entryOf(await one.claim(key));
      await entry.note(session);
      await entry.release();
      const claim = await one.claim({ ...key, ...other });
      expect(claim).toMatchObject({ kind: "own", session: null });
      await entryOf(claim).remove();
    },
  );

  test("forgets after seven days", async () => {
    const { one, other, age, directory } = await journals();
    const entry = entryOf(await one.claim(key));
    await entry.note(session);
    await entry.release();
    await age(7 * 24 * 60 * minute + minute);
    // The first claim of a process looks through all of them.
    const claim = await other.claim({ ...key, repository: "a/other" });
    expect(await readdir(directory)).toHaveLength(1);
    await entryOf(claim).remove();
    expect(await readdir(directory)).toEqual([]);
  });

  test.each(["", "no json", "[]", '{"owner":1}'])("takes a record of %j for none", async (text) => {
    const { one, file } = await journals();
    await entryOf(await one.claim(key)).release();
    await writeFile(await file(), text);
    const claim = await one.claim(key);
    expect(claim).toMatchObject({ kind: "own", session: null });
    await entryOf(claim).remove();
  });

  test("a record that was removed does not come back", async () => {
    const { one, directory } = await journals();
    const entry = entryOf(await one.claim(key));
    const writes = [entry.note(session), entry.beat(), entry.remove(), entry.beat(), entry.note(session)];
    await Promise.all(writes);
    expect(await readdir(directory)).toEqual([]);
  });

  test("goes without where its folder can't be made", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "file"), "");
    const journal = new UploadJournal({ directory: join(folder, "file", ".lading", "uploads") });
    expect(await journal.claim(key)).toEqual({ kind: "none" });
  });
});
