import { afterEach, beforeEach, expect } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { accountOperations } from "../../src/server/accounts/account-operations.js";
import type { Role } from "../../src/server/index.js";
import { endpointActions, type Route } from "../../src/server/route.js";
import {
  basic,
  bearer,
  type Caller,
  GuardedRegistry,
  manifestOf,
  manifestType,
  type PushedImage,
  passwordOf,
} from "../support/guarded-registry.js";
import { threat } from "./threat.js";

const unknownDigest = digestOf("nobody has this");
const noUpload = "00000000-0000-0000-0000-000000000000";

let guarded: GuardedRegistry;
/** By name; `nobody` shows no secret. */
let callers: Record<"nobody" | "other" | "reader" | "writer" | "deleter" | "owner" | "root", Caller>;
let secret: PushedImage;

/** One organisation with a private project, members of every role, and somebody who is none. */
beforeEach(async () => {
  guarded = new GuardedRegistry();
  const accounts = await guarded.registry.accounts();
  callers = { nobody: null, ...(await guarded.users("other", "reader", "writer", "deleter", "owner", "root")) };
  await accounts.users.set("root", { admin: true });
  await accounts.orgs.add({ name: "acme" });
  await accounts.projects.add({ name: "acme/web" });
  const roles: readonly Role[] = ["read", "write", "delete", "admin"];
  const members = ["reader", "writer", "deleter", "owner"].map((user, at) => ({ user, role: roles[at] ?? "none" }));
  await accounts.projects.set("acme/web", { members });
  secret = await guarded.push("acme/web/app", "v1", callers.owner);
});
afterEach(async () => {
  await guarded.close();
  expect(guarded.errors).toEqual([]);
});

const pull = (repository: string, as: Caller) => guarded.ask("GET", `/v2/${repository}/manifests/v1`, { as });

/** The manifest, its tag and its layer are all there. */
async function expectWhole(): Promise<void> {
  const as = callers.root;
  expect(await pull("acme/web/app", as)).toMatchObject({ status: 200 });
  expect((await guarded.ask("GET", `/v2/acme/web/app/manifests/${secret.digest}`, { as })).status).toBe(200);
  const blob = await guarded.ask("GET", `/v2/acme/web/app/blobs/${secret.layer}`, { as });
  expect(blob.text).toBe(Buffer.from(secret.layerBytes).toString());
}

threat("D1", "a mount reads no repository that its caller may not, and answers as if nothing were there", async () => {
  const { other, reader } = callers;
  const start = (query: string, as: Caller) =>
    guarded.ask("POST", `/v2/${as === other ? "other" : "reader"}/x/blobs/uploads/?${query}`, { as });
  const missing = await start(`mount=${unknownDigest}&from=acme/web/app`, other);
  expect(missing.status).toBe(202);
  for (const from of [
    "&from=acme/web/app",
    "",
    "&from=ACME/WEB/APP",
    "&from=acme%2Fweb%2Fapp",
    "&from=acme/web",
    "&from=..%2Facme/web/app",
  ]) {
    const answer = await start(`mount=${secret.layer}${from}`, other);
    expect({ from, status: answer.status, headers: Object.keys(answer.headers) }).toEqual({
      ...{ from, status: 202, headers: Object.keys(missing.headers) },
    });
    expect((await guarded.ask("GET", `/v2/other/x/blobs/${secret.layer}`, { as: other })).status).toBe(404);
  }
  // whoever may read it may mount it, and only by its name
  expect((await start(`mount=${secret.layer}`, reader)).status).toBe(202);
  expect((await start(`mount=${secret.layer}&from=acme/web/app`, reader)).status).toBe(201);
});

threat("D1", "a token for the target alone mounts nothing: it is told to ask for the source too", async () => {
  const { reader } = callers;
  const at = `/v2/reader/x/blobs/uploads/?mount=${secret.layer}&from=acme/web/app`;
  const narrow = bearer(await guarded.token(reader, "repository:reader/x:pull,push"));
  const answer = await guarded.ask("POST", at, { as: narrow });
  expect(answer.status).toBe(401);
  expect(answer.headers["www-authenticate"]).toContain(
    'scope="repository:reader/x:pull,push repository:acme/web/app:pull"',
  );
  const wide = bearer(await guarded.token(reader, "repository:reader/x:pull,push repository:acme/web/app:pull"));
  expect((await guarded.ask("POST", at, { as: wide })).status).toBe(201);
});

threat("D2", "a digest that another repository has is as unknown as one that nobody has", async () => {
  const { other } = callers;
  for (const method of ["GET", "HEAD"]) {
    const headersOf = { as: other, headers: { range: "bytes=0-1" } };
    for (const options of [{ as: other }, headersOf]) {
      const known = await guarded.ask(method, `/v2/other/x/blobs/${secret.layer}`, options);
      const unknown = await guarded.ask(method, `/v2/other/x/blobs/${unknownDigest}`, options);
      expect(known).toEqual(unknown);
      expect(known.status).toBe(404);
    }
  }
  const config = Buffer.from("{}");
  await guarded.ask("POST", `/v2/other/x/blobs/uploads/?digest=${digestOf(config)}`, { as: other, body: config });
  const body = manifestOf(config, secret.layerBytes);
  const options = { as: other, body, headers: { "content-type": manifestType } };
  const answer = await guarded.ask("PUT", "/v2/other/x/manifests/stolen", options);
  expect(answer).toMatchObject({ status: 400, code: "MANIFEST_BLOB_UNKNOWN" });
});

threat(
  "D3",
  "what was taken is gone with the next request: content, rights, accounts and keys, tokens or not",
  async () => {
    const { reader, owner, writer } = callers;
    const accounts = await guarded.registry.accounts();
    const scope = "repository:acme/web/app:pull,push,delete";
    const [readerToken, writerToken] = [
      bearer(await guarded.token(reader, scope)),
      bearer(await guarded.token(writer, scope)),
    ];
    for (const as of [reader, readerToken]) expect((await pull("acme/web/app", as)).status).toBe(200);

    await accounts.projects.set("acme/web", { removeMembers: ["reader"] });
    for (const as of [reader, readerToken])
      expect(await pull("acme/web/app", as)).toMatchObject({ status: 404, code: "NAME_UNKNOWN" });
    await accounts.projects.set("acme/web", { members: [{ user: "writer", role: "none" }] });
    const start = (as: Caller) => guarded.ask("POST", "/v2/acme/web/app/blobs/uploads/", { as });
    for (const as of [writer, writerToken]) expect(await start(as)).toMatchObject({ status: 403, code: "DENIED" });

    await accounts.users.set("writer", { disabled: true });
    for (const as of [writer, writerToken]) expect((await guarded.ask("GET", "/v2/", { as })).status).toBe(401);
    await accounts.users.remove("reader");
    await accounts.users.add({ name: "reader", password: passwordOf("reader") });
    // the next one of that name is somebody else
    for (const as of [reader, readerToken]) expect((await guarded.ask("GET", "/v2/", { as })).status).toBe(401);

    // a blob that one repository gave up, while another still has it
    await guarded.push("owner/copy", "v1", owner, Buffer.from(secret.layerBytes).toString());
    expect((await guarded.ask("DELETE", `/v2/acme/web/app/blobs/${secret.layer}`, { as: owner })).status).toBe(202);
    expect((await guarded.ask("GET", `/v2/owner/copy/blobs/${secret.layer}`, { as: owner })).status).toBe(200);
    expect((await guarded.ask("GET", `/v2/acme/web/app/blobs/${secret.layer}`, { as: owner })).status).toBe(404);
  },
);

/** One request of each endpoint and method. A route without a row fails the test. */
const requests: Readonly<Record<string, () => readonly [path: string, body?: Uint8Array, type?: string]>> = {
  "base GET": () => ["/v2/"],
  "base HEAD": () => ["/v2/"],
  "catalog GET": () => ["/v2/_catalog"],
  "catalog HEAD": () => ["/v2/_catalog"],
  "tags GET": () => ["/v2/acme/web/app/tags/list"],
  "tags HEAD": () => ["/v2/acme/web/app/tags/list"],
  "referrers GET": () => [`/v2/acme/web/app/referrers/${secret.digest}`],
  "referrers HEAD": () => [`/v2/acme/web/app/referrers/${secret.digest}`],
  "blob GET": () => [`/v2/acme/web/app/blobs/${secret.layer}`],
  "blob HEAD": () => [`/v2/acme/web/app/blobs/${secret.layer}`],
  "blob DELETE": () => [`/v2/acme/web/app/blobs/${secret.layer}`],
  "manifest GET": () => ["/v2/acme/web/app/manifests/v1"],
  "manifest HEAD": () => ["/v2/acme/web/app/manifests/v1"],
  "manifest PUT": () => ["/v2/acme/web/app/manifests/v2", secret.manifest, manifestType],
  "manifest DELETE": () => ["/v2/acme/web/app/manifests/v1"],
  "uploads POST": () => ["/v2/acme/web/app/blobs/uploads/"],
  "upload GET": () => [`/v2/acme/web/app/blobs/uploads/${noUpload}`],
  "upload HEAD": () => [`/v2/acme/web/app/blobs/uploads/${noUpload}`],
  "upload PATCH": () => [`/v2/acme/web/app/blobs/uploads/${noUpload}`, Buffer.from("x")],
  "upload PUT": () => [`/v2/acme/web/app/blobs/uploads/${noUpload}?digest=${unknownDigest}`],
  "upload DELETE": () => [`/v2/acme/web/app/blobs/uploads/${noUpload}`],
};

const people = ["nobody", "other", "reader", "writer", "deleter", "owner", "root"] as const;

/** Which of them may do what with a private repository, and how the others are refused. */
const rights = {
  ping: { may: people.slice(1), stranger: 401, other: 401 },
  catalog: { may: people.slice(1), stranger: 401, other: 401 },
  pull: { may: people.slice(2), stranger: 401, other: 404 },
  push: { may: people.slice(3), stranger: 401, other: 403 },
  delete: { may: people.slice(4), stranger: 401, other: 403 },
} as const;

const routes = Object.entries(endpointActions).flatMap(([endpoint, methods]) =>
  Object.entries(methods).map(([method, action]) => ({ endpoint: endpoint as Route["endpoint"], method, action })),
);

threat("D4", "every route asks who comes, and lets in no more than the table says", async () => {
  for (const { endpoint, method, action } of routes) {
    const make = requests[`${endpoint} ${method}`];
    if (make === undefined) throw new Error(`${endpoint} ${method} has no row`);
    // those who may not come first: what they do must leave everything as it is
    for (const name of people) {
      const [path, body, type] = make();
      const secretShown = callers[name];
      const scope = `repository:acme/web/app:pull,push,delete registry:catalog:*`;
      const ways = [secretShown, bearer(await guarded.token(secretShown, scope))];
      for (const [at, as] of ways.entries()) {
        const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
        const { status } = await guarded.ask(method, path, { as, headers, ...(body === undefined ? {} : { body }) });
        const may =
          (rights[action].may as readonly string[]).includes(name) ||
          (name === "nobody" && at === 1 && (action === "ping" || action === "catalog"));
        const wanted = name === "nobody" ? rights[action].stranger : rights[action].other;
        const cell = `${method} ${path} by ${name}${at === 1 ? " with a token" : ""}`;
        if (!may) expect(`${cell}: ${status}`).toBe(`${cell}: ${wanted}`);
        else if (endpoint === "upload") expect(`${cell}: ${status}`).toBe(`${cell}: 404`);
        else expect(`${cell}: ${status}`).toMatch(/: 20\d$/);
        if (!may) await expectWhole();
        else if (action === "delete") await guarded.push("acme/web/app", "v1", callers.owner);
      }
    }
  }
});

threat("D4", "a public project is read by everybody, and written by nobody else for that", async () => {
  const accounts = await guarded.registry.accounts();
  await accounts.projects.set("acme/web", { visibility: "public" });
  const token = bearer(await guarded.token(null, "repository:acme/web/app:pull,push,delete"));
  for (const as of [null, token, callers.other]) {
    expect((await pull("acme/web/app", as)).status).toBe(200);
    const refused = as === callers.other ? 403 : 401;
    expect((await guarded.ask("POST", "/v2/acme/web/app/blobs/uploads/", { as })).status).toBe(refused);
    expect((await guarded.ask("DELETE", "/v2/acme/web/app/manifests/v1", { as })).status).toBe(refused);
  }
  // a longer project decides for what is in it
  await accounts.projects.add({ name: "acme/web/inner" });
  await guarded.push("acme/web/inner/app", "v1", callers.root);
  expect((await pull("acme/web/inner/app", null)).status).toBe(401);
  // and components are whole
  await accounts.users.add({ name: "acme-evil", password: passwordOf("evil") });
  await guarded.push("acme-evil/web", "v1", callers.root);
  expect((await pull("acme-evil/web", callers.owner)).status).toBe(404);
});

/** How each operation on accounts is asked for, and who may. */
const operations: Readonly<Record<string, { path: string; body?: object; may: readonly string[]; refused: number }>> = {
  "users GET list": { path: "/auth/users", may: people.slice(1), refused: 401 },
  "users POST list": { path: "/auth/users", body: { name: "fresh" }, may: ["root"], refused: 403 },
  "users GET one": { path: "/auth/users/writer", may: ["root"], refused: 404 },
  "users PATCH one": { path: "/auth/users/writer", body: { disabled: false }, may: ["root"], refused: 404 },
  "users DELETE one": { path: "/auth/users/fresh", may: ["root"], refused: 403 },
  "htpasswd POST list": { path: "/auth/htpasswd", body: { text: "" }, may: ["root"], refused: 403 },
  "orgs GET list": { path: "/auth/orgs", may: people.slice(1), refused: 401 },
  "orgs POST list": { path: "/auth/orgs", body: { name: "freshorg" }, may: ["root"], refused: 403 },
  "orgs GET one": { path: "/auth/orgs/acme", may: ["root"], refused: 404 },
  "orgs PATCH one": { path: "/auth/orgs/acme", body: { members: [] }, may: ["root"], refused: 404 },
  "orgs DELETE one": { path: "/auth/orgs/freshorg", may: ["root"], refused: 403 },
  "projects GET list": { path: "/auth/projects", may: people.slice(1), refused: 401 },
  "projects POST list": {
    path: "/auth/projects",
    body: { name: "acme/web/fresh" },
    may: ["owner", "root"],
    refused: 403,
  },
  "projects GET one": { path: "/auth/projects/acme/web", may: people.slice(2), refused: 404 },
  "projects PATCH one": {
    path: "/auth/projects/acme/web",
    body: { visibility: "private" },
    may: ["owner", "root"],
    refused: 403,
  },
  "projects DELETE one": { path: "/auth/projects/acme/web/fresh", may: ["owner", "root"], refused: 403 },
  "keys GET list": { path: "/auth/keys", may: people.slice(1), refused: 401 },
  "keys POST list": { path: "/auth/keys", body: { owner: "writer" }, may: ["root"], refused: 403 },
  "keys GET one": { path: "/auth/keys/0123456789abcdef", may: [], refused: 404 },
  "keys DELETE one": { path: "/auth/keys/0123456789abcdef", may: [], refused: 404 },
};

threat("D4", "every way to manage accounts has its row, and is open to those alone who may", async () => {
  const all = Object.entries(accountOperations).flatMap(([group, list]) =>
    list.map(({ method, named }) => ({ method, key: `${group} ${method} ${named ? "one" : "list"}` })),
  );
  expect(all.map(({ key }) => key).sort()).toEqual(Object.keys(operations).sort());
  for (const { method, key } of all) {
    const { path, body, may, refused } = operations[key] ?? { path: "", may: [], refused: 0 };
    for (const name of people) {
      const as = callers[name];
      const scope = "repository:acme/web/app:pull,push,delete";
      const options = body === undefined ? {} : { body: JSON.stringify(body) };
      // a token is for repositories, whoever has it
      const byToken = bearer(await guarded.token(as, scope));
      expect((await guarded.ask(method, path, { as: byToken, ...options })).status).toBe(401);
      const { status } = await guarded.ask(method, path, { as, ...options });
      const cell = `${key} by ${name}`;
      const hidden = name === "nobody" ? 401 : name === "other" && path.startsWith("/auth/projects/") ? 404 : refused;
      // one made or removed it already
      if (may.includes(name))
        expect([cell, [200, 404, 409].includes(status) ? "fine" : status]).toEqual([cell, "fine"]);
      else
        expect([cell, status]).toEqual([cell, name === "reader" && key === "projects DELETE one" ? refused : hidden]);
    }
  }
});

threat("D5", "who may push may not delete: not by tag, digest or blob, nor another's upload", async () => {
  const { writer, owner } = callers;
  const mine = await guarded.ask("POST", "/v2/acme/web/app/blobs/uploads/", { as: owner });
  const upload = mine.headers.location ?? "";
  const token = bearer(await guarded.token(writer, "repository:acme/web/app:pull,push,delete"));
  for (const as of [writer, token]) {
    for (const path of [
      "/v2/acme/web/app/manifests/v1",
      `/v2/acme/web/app/manifests/${secret.digest}`,
      `/v2/acme/web/app/blobs/${secret.layer}`,
    ]) {
      expect(await guarded.ask("DELETE", path, { as })).toMatchObject({ status: 403, code: "DENIED" });
    }
    expect((await guarded.ask("DELETE", upload, { as })).status).toBe(404);
  }
  for (const method of ["TRACE", "OPTIONS", "DELETE", "PROPFIND"]) {
    expect((await guarded.ask(method, "/v2/acme/web/app/tags/list", { as: callers.root })).status).toBe(405);
  }
  await expectWhole();
  expect((await guarded.ask("GET", upload, { as: owner })).status).toBe(204);
});

threat(
  "D6",
  "a tag that must not be there yet is made once, however many try, and `latest` is no exception",
  async () => {
    const { writer } = callers;
    const put = (tag: string) =>
      guarded.ask("PUT", `/v2/acme/web/app/manifests/${tag}`, {
        as: writer,
        body: secret.manifest,
        headers: { "content-type": manifestType, "if-none-match": "*" },
      });
    for (const tag of ["fresh", "latest"]) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => put(tag)));
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 412)).toHaveLength(49);
      expect((await put(tag)).status).toBe(412);
    }
  },
);

threat(
  "D6",
  "where every tag is immutable a writer may only make tags: whatever the tag, however many try",
  async () => {
    const { writer } = callers;
    await guarded.registry.upkeep.setPolicy({
      ...{ scope: "acme/web", keepLast: null, keep: [], untaggedDays: null, immutable: ["*"] },
    });
    const put = (tag: string, number: number) =>
      guarded.ask("PUT", `/v2/acme/web/app/manifests/${tag}`, {
        as: writer,
        body: Buffer.from(
          JSON.stringify({ ...JSON.parse(secret.manifest.toString()), annotations: { number: `${number}` } }),
        ),
        headers: { "content-type": manifestType },
      });
    for (const tag of ["created", "latest"]) {
      const statuses = (await Promise.all(Array.from({ length: 50 }, (_, number) => put(tag, number)))).map(
        ({ status }) => status,
      );
      expect(statuses.filter((status) => status === 201)).toHaveLength(1);
      expect(statuses.filter((status) => status === 409)).toHaveLength(49);
      const winner = statuses.indexOf(201);
      expect([(await put(tag, winner)).status, (await put(tag, winner + 1)).status]).toEqual([201, 409]);
      expect((await guarded.ask("DELETE", `/v2/acme/web/app/manifests/${tag}`, { as: callers.root })).status).toBe(409);
    }
  },
);

threat("D7", "where nothing is deleted, nothing is: by tag, digest or blob, and whoever asks", async () => {
  const kept = new GuardedRegistry({ deletes: false });
  try {
    const { root } = await kept.users("root");
    await (await kept.registry.accounts()).users.set("root", { admin: true });
    const image = await kept.push("root/app", "v1", root);
    for (const path of [`manifests/v1`, `manifests/${image.digest}`, `blobs/${image.layer}`]) {
      expect((await kept.ask("DELETE", `/v2/root/app/${path}`, { as: root })).status).toBe(405);
    }
    expect((await kept.ask("GET", "/v2/root/app/manifests/v1", { as: root })).status).toBe(200);
    expect((await kept.ask("GET", `/v2/root/app/blobs/${image.layer}`, { as: root })).status).toBe(200);
  } finally {
    await kept.close();
  }
});

threat("D8", "no decision looks at a body: too much of one is refused, and none at all changes nothing", async () => {
  const { writer, root } = callers;
  const padded = Buffer.concat([secret.manifest, Buffer.alloc(4 * 1024 * 1024, " ")]);
  const headers = { "content-type": manifestType };
  expect(
    (await guarded.ask("PUT", "/v2/acme/web/app/manifests/big", { as: writer, body: padded, headers })).status,
  ).toBe(413);
  expect((await guarded.ask("PUT", "/v2/acme/web/app/manifests/none", { as: writer, headers })).status).toBe(400);
  const long = JSON.stringify({ name: "sneaky" }) + " ".repeat(100_000);
  expect(await guarded.ask("POST", "/auth/users", { as: root, body: long })).toMatchObject({
    status: 413,
    code: "limit-exceeded",
  });
  for (const group of Object.keys(accountOperations)) {
    expect((await guarded.ask("POST", `/auth/${group}`, { as: root })).status).toBe(400);
  }
  const form = `grant_type=password&username=root&password=x&${"a".repeat(70_000)}`;
  expect((await guarded.ask("POST", "/auth/token", { body: form })).status).toBe(413);
  expect((await guarded.ask("GET", "/v2/acme/web/app/tags/list", { as: root })).json.tags).toEqual(["v1"]);
  expect((await guarded.ask("GET", "/auth/users/sneaky", { as: root })).status).toBe(404);
});

threat(
  "D9",
  "an upload is its starter's alone: another user, another repository, another key find nothing",
  async () => {
    const { writer, owner, root } = callers;
    const started = await guarded.ask("POST", "/v2/acme/web/app/blobs/uploads/", { as: writer });
    const at = started.headers.location ?? "";
    const id = at.split("/").at(-1);
    const elsewhere = `/v2/acme/web/other/blobs/uploads/${id}`;
    const otherKey = await guarded.key("writer");
    const digest = digestOf("mine");
    const tries: readonly (readonly [string, string, Caller])[] = [
      ...[owner, root, otherKey].map((as) => ["", at, as] as const),
      ["", elsewhere, writer],
    ].map(([, path, as]) => ["", path as string, as as Caller] as const);
    for (const [, path, as] of tries) {
      expect((await guarded.ask("GET", path, { as })).status).toBe(404);
      expect((await guarded.ask("PATCH", path, { as, body: "evil" })).status).toBe(404);
      expect((await guarded.ask("PUT", `${path}?digest=${digestOf("evil")}`, { as, body: "evil" })).status).toBe(404);
      expect((await guarded.ask("DELETE", path, { as })).status).toBe(404);
    }
    expect((await guarded.ask("PATCH", at, { as: writer, body: "mine" })).status).toBe(202);
    // a new token of the same starter goes on
    const token = bearer(await guarded.token(writer, "repository:acme/web/app:pull,push"));
    expect((await guarded.ask("PUT", `${at}?digest=${digest}`, { as: token })).status).toBe(201);
  },
);

threat("D13", "nobody learns what is there from lists, challenges, errors or headers", async () => {
  const { other, reader } = callers;
  await guarded.push("other/own", "v1", other);
  const lists = async (as: Caller) =>
    (await guarded.ask("GET", "/v2/_catalog", { as: as ?? bearer(await guarded.token(null, "registry:catalog:*")) }))
      .json;
  expect(await lists(other)).toEqual({ repositories: ["other/own"] });
  expect(await lists(null)).toEqual({ repositories: [] });
  expect(await lists(reader)).toEqual({ repositories: ["acme/web/app"] });
  for (const as of [other, null]) {
    for (const path of [
      "manifests/v1",
      "tags/list",
      `referrers/${secret.digest}`,
      `blobs/${secret.layer}`,
      `manifests/${secret.digest}`,
    ]) {
      for (const method of ["GET", "HEAD"]) {
        const there = await guarded.ask(method, `/v2/acme/web/app/${path}`, { as });
        const not = await guarded.ask(method, `/v2/acme/web/non/${path}`, { as });
        const text = JSON.stringify(there);
        expect(text.replaceAll("acme/web/app", "acme/web/non")).toBe(JSON.stringify(not));
        expect(there.status).toBe(as === null ? 401 : 404);
      }
    }
  }
  const users = await guarded.ask("GET", "/auth/users", { as: basic("other", passwordOf("other")) });
  expect((users.json as unknown as readonly { name: string }[]).map(({ name }) => name)).toEqual(["other"]);
  for (const group of ["orgs", "projects", "keys"]) {
    const { text } = await guarded.ask("GET", `/auth/${group}`, { as: other });
    expect(text).not.toContain("acme");
  }
  const allowed =
    /^(?:content-(?:type|length|disposition)|docker-content-digest|etag|accept-ranges|x-content-type-options)$/;
  const { headers } = await guarded.ask("GET", `/v2/acme/web/app/blobs/${secret.layer}`, { as: reader });
  expect(Object.keys(headers).filter((name) => !allowed.test(name))).toEqual([]);
});

threat("D30", "fields and ids of others are no way to more rights", async () => {
  const { writer } = callers;
  const accounts = await guarded.registry.accounts();
  const self = basic("writer", passwordOf("writer"));
  const patch = (as: Caller, body: object) =>
    guarded.ask("PATCH", "/auth/users/writer", { as, body: JSON.stringify(body) });
  for (const field of ["admin", "disabled"]) expect((await patch(self, { [field]: true })).status).toBe(403);
  for (const field of ["role", "owner", "id", "generation", "name", "__proto__", "constructor"]) {
    const body = `{"password":"another-password-1","${field}":"x"}`;
    expect((await guarded.ask("PATCH", "/auth/users/writer", { as: self, body })).status).toBe(400);
  }
  // a key is not its owner: it can't take the account over, nor outlive itself
  expect((await patch(writer, { password: "another-password-1" })).status).toBe(404);
  expect((await guarded.ask("POST", "/auth/keys", { as: writer, body: '{"owner":"writer"}' })).status).toBe(403);
  expect((await patch(self, { password: "another-password-1" })).status).toBe(200);
  expect(await accounts.users.show("writer")).toMatchObject({ admin: false, disabled: false });
  // ids of others
  const foreign = await accounts.keys.add({ owner: "owner" });
  const own = basic("writer", "another-password-1");
  for (const method of ["GET", "DELETE"]) {
    expect((await guarded.ask(method, `/auth/keys/${foreign.id}`, { as: own })).status).toBe(404);
    for (const id of ["..%2Fusers%2Froot", "../users/root", "%00", "constructor"]) {
      expect((await guarded.ask(method, `/auth/keys/${id}`, { as: callers.root })).status).toBe(404);
    }
  }
  expect(await accounts.keys.show(foreign.id)).toMatchObject({ owner: "owner" });
  // a key that was given less than its owner has
  const narrow = await guarded.key("owner", [{ scope: "acme/web/app", role: "read" }]);
  expect((await pull("acme/web/app", narrow)).status).toBe(200);
  expect((await guarded.ask("DELETE", "/v2/acme/web/app/manifests/v1", { as: narrow })).status).toBe(403);
  const wide = await guarded.key("reader", [{ scope: "acme/web", role: "admin" }]);
  expect((await guarded.ask("DELETE", "/v2/acme/web/app/manifests/v1", { as: wide })).status).toBe(403);
});
