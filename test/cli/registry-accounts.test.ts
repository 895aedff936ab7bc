import type { ChildProcess } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hashSync } from "bcryptjs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Accounts, createRegistry } from "../../src/server/index.js";
import { missingPrograms, output, suiteName } from "../support/programs.js";
import { failureOf } from "./failure.js";
import { type LadingOptions, Machine } from "./machine.js";
import { conforms } from "./schema.js";

/** Nothing but the verb that makes it may print it, and only files for one user may hold it. */
const password = "canary-91c4-secret";

let machine: Machine;
let data: string;

beforeEach(async () => {
  machine = await Machine.create();
  data = join(machine.home, "images");
});
afterEach(async () => {
  await machine.remove();
});

const registry = (line: string, options: LadingOptions = {}) =>
  machine.lading(["registry", ...line.split(" "), "--data", data], options);

/** The value of `--json`, held to its schema. */
async function value<Value>(line: string, options: LadingOptions = {}): Promise<Value> {
  const { code, stdout, stderr } = await registry(`${line} --json`, options);
  expect({ line, code }, stderr).toEqual({ line, code: 0 });
  const [first, second] = line.split(" ");
  const verb = first === "init" ? "registry-init" : `registry-${first}-${second}`;
  return conforms(verb, JSON.parse(stdout)) as Value;
}

/** The accounts of the folder, by the SDK. */
async function bySdk<Value>(ask: (accounts: Accounts) => Promise<Value>): Promise<Value> {
  const opened = createRegistry({ storage: { directory: data }, accounts: true });
  try {
    return await ask(await opened.accounts());
  } finally {
    await opened.close();
  }
}

/** Serves the folder while a task runs. */
async function served<Value>(
  flags: readonly string[],
  task: (url: string, child: ChildProcess) => Promise<Value>,
): Promise<{ readonly value: Value; readonly stderr: string }> {
  let result: Promise<Value> | null = null;
  const outcome = await machine.lading(["serve", "--data", data, "--port", "0", ...flags], {
    onStart: (child) => {
      child.stdout?.once("data", (chunk: Buffer) => {
        result = task(chunk.toString().trim(), child);
        result.then(
          () => child.kill("SIGTERM"),
          () => child.kill("SIGTERM"),
        );
      });
    },
  });
  if (result === null) throw new Error(`it did not start: ${outcome.stderr}`);
  return { value: await result, stderr: outcome.stderr };
}

describe("accounts in the folder of a stopped registry", () => {
  it("begin with an admin whose password is printed once", async () => {
    expect(failureOf(await registry("user list --json"))).toMatchObject({ code: "not-found", exit: 72 });
    const made = await value<{ user: string; password: string }>("init --admin boss");
    expect(made.user).toBe("boss");
    const again = await registry("init --json");
    expect(failureOf(again)).toMatchObject({ code: "conflict", exit: 73 });
    expect(await registry("user list")).toMatchObject({ code: 0, stdout: "boss\n" });
  });

  it("are what the SDK says they are, by every verb", async () => {
    await registry("init");
    const [same, member] = [{ input: `${password}\n` }, "bob:write"];
    expect(await value("user add bob --password-stdin", same)).toMatchObject({ name: "bob", newPassword: null });
    expect(await value("user show bob")).toEqual(await bySdk(({ users }) => users.show("bob")));
    expect(await value("user list")).toEqual({ users: await bySdk(({ users }) => users.list()) });
    expect(await value("user set bob --admin")).toMatchObject({ admin: true });
    expect(await value("user set bob --no-admin --disable")).toMatchObject({ admin: false, disabled: true });
    expect(await value("user set bob --enable")).toEqual(await bySdk(({ users }) => users.show("bob")));
    expect(failureOf(await registry("user set bob --json"))).toMatchObject({ code: "usage", exit: 64 });
    expect(failureOf(await registry("user set bob --enable --disable --json"))).toMatchObject({ code: "usage" });

    expect(await value("org add acme")).toMatchObject({ name: "acme", members: [] });
    expect(await value(`org set acme --member ${member}`)).toEqual(await bySdk(({ orgs }) => orgs.show("acme")));
    expect(await value("org show acme")).toMatchObject({ members: [{ user: "bob", role: "write" }] });
    expect(await value("org list")).toEqual({ orgs: await bySdk(({ orgs }) => orgs.list()) });

    expect(await value("project add acme/web --public")).toMatchObject({ visibility: "public" });
    expect(await value(`project set acme/web --private --member ${member}`)).toMatchObject({ visibility: "private" });
    expect(await value("project show acme/web")).toEqual(await bySdk(({ projects }) => projects.show("acme/web")));
    expect(await value("project list")).toEqual({ projects: await bySdk(({ projects }) => projects.list()) });
    expect(await value("project set acme/web --remove-member bob")).toMatchObject({ members: [] });

    const key = await value<{ id: string; key: string }>(
      "key add acme --label ci --scope acme/web:write --expires 90d",
    );
    expect(key).toMatchObject({ owner: "acme", robot: true, grants: [{ scope: "acme/web", role: "write" }] });
    expect(await value(`key show ${key.id}`)).toEqual(await bySdk(({ keys }) => keys.show(key.id)));
    expect(await value("key list")).toEqual({ keys: await bySdk(({ keys }) => keys.list()) });
    expect((await registry(`key show ${key.id}`)).stdout).not.toContain(key.key);

    expect(await value(`key remove ${key.id}`)).toMatchObject({ id: key.id });
    expect(failureOf(await registry("org remove acme --json"))).toMatchObject({ code: "conflict", exit: 73 });
    expect(await value("project remove acme/web")).toMatchObject({ name: "acme/web" });
    expect(await value("org remove acme")).toMatchObject({ name: "acme" });
    expect(await value("user remove bob")).toMatchObject({ name: "bob" });
    expect(failureOf(await registry("user remove admin --json"))).toMatchObject({ code: "conflict", exit: 73 });
  });

  it.each([
    "user add UPPER",
    "user add a/b",
    "org add admin",
    "project add acme",
    "project add nobody/web",
    "org set acme --member bob:king",
    "org set acme --member bob",
    "key add admin --scope admin:sudo",
    "key add admin --expires yesterday",
    "key add admin --expires 2001-01-01",
    "user add short --password-stdin",
    "user show nobody",
  ])("refuse %s, and change nothing", async (line) => {
    await registry("init");
    await registry("org add acme");
    const before = await bySdk(async ({ users, orgs, projects, keys }) => [
      ...[await users.list(), await orgs.list(), await projects.list(), await keys.list()],
    ]);
    const failure = failureOf(await registry(`${line} --json`, { input: "short\n" }));
    expect(["usage", "conflict", "not-found"]).toContain(failure.code);
    expect(failure.hint ?? "").not.toBe("");
    const after = await bySdk(async ({ users, orgs, projects, keys }) => [
      ...[await users.list(), await orgs.list(), await projects.list(), await keys.list()],
    ]);
    expect(after).toEqual(before);
  });

  it("come out of an htpasswd file, where its hashes are good ones", async () => {
    await registry("init");
    const file = join(machine.home, "htpasswd");
    const hash = hashSync(password, 5);
    const lines = [
      `carol:${hash.replace("$2b$", "$2y$")}`,
      `dave:${hash}`,
      "eve:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00",
      `admin:${hash}`,
      "# a comment",
      "",
      "No Name",
    ];
    await writeFile(file, lines.join("\n"));
    const result = await value<{ imported: string[]; skipped: { name: string }[] }>(`user import ${file}`);
    expect(result.imported).toEqual(["carol", "dave"]);
    expect(result.skipped.map(({ name }) => name)).toEqual(["eve", "admin", "line 7"]);
    const { value: statuses } = await served([], async (url) => {
      const login = async (user: string, secret: string) => {
        const headers = { authorization: `Basic ${Buffer.from(`${user}:${secret}`).toString("base64")}` };
        return (await fetch(`${url}/auth/token`, { headers })).status;
      };
      // the second time against the hash that it became
      return [await login("carol", password), await login("carol", password), await login("dave", "wrong-password")];
    });
    expect(statuses).toEqual([200, 200, 401]);
    expect(await readFile(join(data, "auth", "users", "carol"), "utf8")).toContain("$scrypt$");
    expect(await readFile(join(data, "auth", "users", "dave"), "utf8")).toContain("$2b$");
  });
});

const noHtpasswd = missingPrograms(["htpasswd"]);
it.skipIf(noHtpasswd !== null)(suiteName("reads what htpasswd -B itself writes", noHtpasswd), async () => {
  await registry("init");
  const file = join(machine.home, "htpasswd");
  await output("htpasswd", ["-cbB", file, "carol", password]);
  expect(await value(`user import ${file}`)).toEqual({ imported: ["carol"], skipped: [] });
  await served([], async (url) => {
    const login = ["login", new URL(url).host, "-u", "carol", "--password-stdin"];
    expect((await machine.lading(login, { input: "wrong-password" })).code).toBe(77);
    expect(await machine.lading(login, { input: password })).toMatchObject({ code: 0 });
  });
});

describe("accounts of a registry that is served", () => {
  it("are managed through the server of the folder, and hold at once", async () => {
    await registry("init");
    await served([], async (url) => {
      const host = new URL(url).host;
      expect(await value("user add bob --password-stdin", { input: password })).toMatchObject({ name: "bob" });
      const login = (user: string, secret: string) =>
        machine.lading(["login", host, "-u", user, "--password-stdin", "--json"], { input: secret });
      expect(failureOf(await login("bob", "not-this-one"))).toMatchObject({ code: "unauthorized", exit: 77 });
      expect(await login("bob", password)).toMatchObject({ code: 0 });
      await machine.putImage("app:1");
      expect(await machine.lading(["push", "app:1", `${host}/bob/app:1`])).toMatchObject({ code: 0 });
      const denied = await machine.lading(["push", "app:1", `${host}/admin/app:1`, "--json"]);
      expect(failureOf(denied)).toMatchObject({ code: "denied", exit: 77 });
      const hidden = await machine.lading(["tags", `${host}/admin/app`, "--json"]);
      expect(failureOf(hidden)).toMatchObject({ code: "not-found", exit: 72 });

      // by the login instead of the folder: what bob may, and no more
      const remote = (line: string) => machine.lading(["registry", ...line.split(" "), "--registry", host, "--json"]);
      expect(JSON.parse((await remote("user show bob")).stdout)).toEqual(await value("user show bob"));
      expect(failureOf(await remote("user add mallory"))).toMatchObject({ code: "denied", exit: 77 });
      expect(failureOf(await remote("user show admin"))).toMatchObject({ code: "not-found", exit: 72 });
      expect(JSON.parse((await remote("project add bob/open --public")).stdout)).toMatchObject({
        visibility: "public",
      });
      await machine.lading(["logout", host]);
      expect(failureOf(await remote("user list"))).toMatchObject({ code: "unauthorized", exit: 77 });

      await value("user set bob --disable");
      expect(failureOf(await login("bob", password))).toMatchObject({ code: "unauthorized", exit: 77 });
    });
    expect(await value("user show bob")).toMatchObject({ disabled: true });
  });

  it("need no account where the folder is one's own", async () => {
    const folder = join(machine.home, ".local", "share", "lading", "registry");
    data = folder;
    await registry("init");
    await machine.putImage("app:1");
    await served([], async () => {
      expect(await machine.lading(["push", "app:1"])).toMatchObject({ code: 0 });
      expect(await machine.lading(["tags", "image:app"])).toMatchObject({ code: 0, stdout: "1\n" });
      expect(await machine.lading(["ls"])).toMatchObject({ code: 0, stdout: "image://local/alice/app\n" });
    });
  });

  it("begin with the server where it is asked for: the password is in a file, the log has no secrets", async () => {
    const log = join(machine.home, "log");
    const { stderr } = await served(["--accounts", "--host", "0.0.0.0", "--log", log], async (url) => {
      const path = join(data, "auth", "registry", "first-password");
      const first = JSON.parse(await readFile(path, "utf8")) as { user: string; password: string };
      const host = `127.0.0.1:${new URL(url).port}`;
      const args = ["login", host, "-u", first.user, "--password-stdin"];
      expect(await machine.lading(args, { input: first.password })).toMatchObject({ code: 0 });
      await value("user set admin --password-stdin", { input: password });
      expect((await machine.lading(args, { input: first.password })).code).toBe(77);
      expect(await machine.lading(args, { input: password })).toMatchObject({ code: 0 });
      return first.password;
    }).then(({ value: secret, stderr: text }) => {
      expect(text).not.toContain(secret);
      return { stderr: text };
    });
    expect(stderr).toContain("first-password");
    const lines = (await readFile(log, "utf8")).trimEnd().split("\n");
    const decisions = lines.map((line) => JSON.parse(line) as { kind: string; allowed: boolean });
    expect(decisions).toContainEqual(expect.objectContaining({ kind: "login", allowed: false, account: "admin" }));
    expect(decisions).toContainEqual(expect.objectContaining({ kind: "login", allowed: true }));
    for (const line of [...lines, stderr]) {
      expect(line).not.toContain(password);
      expect(line).not.toMatch(/eyJ|Basic |Bearer |lading_[0-9a-f]/);
    }
    // from now on it is never served without them
    await served([], async (url) => {
      expect((await fetch(`${url}/v2/`)).status).toBe(401);
    });
  });

  it("are not there where the server was started without: that is said, and nothing is made", async () => {
    await served([], async () => {
      expect(failureOf(await registry("user add bob --json"))).toMatchObject({ code: "conflict", exit: 73 });
      expect(failureOf(await registry("init --json"))).toMatchObject({ code: "conflict", exit: 73 });
    });
    const beyond = await machine.lading(["serve", "--data", data, "--host", "0.0.0.0", "--port", "0", "--json"]);
    expect(failureOf(beyond)).toMatchObject({ code: "usage", exit: 64 });
  });
});
