import { describe, expect, it } from "vitest";
import { recordedIo } from "../../test/support/recorded-io.js";
import { candidates } from "./completion.js";
import { buildProgram } from "./program.js";
import { run } from "./run.js";

const program = buildProgram(recordedIo(), async () => undefined);
const values = (...words: string[]) => candidates(program, words).map(({ value }) => value);

describe("completion", () => {
  it("offers verbs, and verbs of verbs", () => {
    expect(values("pu")).toEqual(["push", "pull"]);
    expect(values("")).toContain("doctor");
    expect(values("")).not.toContain("complete");
    expect(values("config", "")).toEqual(["show", "get", "set", "use"]);
  });

  it("offers flags of the verb and of all verbs", () => {
    expect(values("rm", "--")).toEqual(expect.arrayContaining(["--dry-run", "--force", "--json", "--engine"]));
    expect(values("--")).not.toContain("--dry-run");
    expect(values("push", "app:1", "--no")).toEqual(["--no-clobber"]);
  });

  it("offers the values of a flag", () => {
    expect(values("push", "--engine", "")).toEqual(["auto", "docker", "podman", "store"]);
    expect(values("tags", "--sort", "s")).toEqual(["size"]);
    // Bash takes the sign for a word of its own.
    expect(values("push", "--format", "=", "o")).toEqual(["oci"]);
    expect(values("push", "--format=d")).toEqual(["docker"]);
  });

  it("leaves names and files to the shell", () => {
    expect(values("push", "")).toEqual([]);
    expect(values("load", "--ca-file", "")).toEqual([]);
    expect(values("load", '""')).toEqual([]);
  });

  it("answers the scripts with a candidate and its description per line", async () => {
    const io = recordedIo();
    expect(await run(["complete", "--", "pul"], io)).toBe(0);
    expect(io.stdout.text).toBe("pull\tpull an image into the local engine\n");
  });
});
