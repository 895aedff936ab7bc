import { randomUUID, sign, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { makeCertificates } from "./certificates.js";

/** What an account may do: actions by the beginning of a repository's name. */
export interface TokenAccount {
  readonly password: string;
  readonly rights: Readonly<Record<string, readonly string[]>>;
}

export interface TokenRequest {
  /** Null for an anonymous one. */
  readonly account: string | null;
  readonly scopes: readonly string[];
}

export interface TokenServer {
  readonly realm: string;
  readonly service: string;
  /** What Debian's docker-registry needs to know of it. */
  readonly auth: object;
  /** Every request so far. */
  readonly requests: readonly TokenRequest[];
  close(): Promise<void>;
}

export interface TokenServerOptions {
  /** For its keys; the caller removes it. */
  readonly folder: string;
  readonly accounts: Readonly<Record<string, TokenAccount>>;
  /** Seconds. @default 300 */
  readonly lifetime?: number;
}

/** A token service as the distribution project describes it: signs what an account may do of what was asked. */
export async function startTokenServer({ folder, accounts, lifetime = 300 }: TokenServerOptions): Promise<TokenServer> {
  const { serverFolder } = await makeCertificates(folder);
  const [key, certificate] = await Promise.all(
    ["key.pem", "cert.pem"].map((name) => readFile(join(serverFolder, name), "utf8")),
  );
  const chain = [new X509Certificate(certificate ?? "").raw.toString("base64")];
  const issuer = "lading tests";
  const service = "tested registry";
  const requests: TokenRequest[] = [];

  const token = (account: string | null, access: readonly object[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, sub: account ?? "", aud: service, nbf: now - 10, iat: now, exp: now + lifetime };
    const parts = [
      { typ: "JWT", alg: "ES256", x5c: chain },
      { ...claims, jti: randomUUID(), access },
    ];
    const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    const signature = sign("sha256", Buffer.from(text), { key: key ?? "", dsaEncoding: "ieee-p1363" });
    return `${text}.${signature.toString("base64url")}`;
  };

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://token.invalid");
    const scopes = url.searchParams.getAll("scope").flatMap((scope) => scope.split(" "));
    const account = basicAccount(request, accounts);
    requests.push({ account: account ?? null, scopes });
    if (account === undefined) {
      response.writeHead(401, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "who are you?" }] }));
      return;
    }
    const rights = account === null ? {} : (accounts[account]?.rights ?? {});
    const access = scopes.flatMap((scope) => {
      const [type, name = "", wanted = ""] = scope.split(":");
      const own = Object.entries(rights).flatMap(([prefix, actions]) => (name.startsWith(prefix) ? actions : []));
      const actions = wanted.split(",").filter((action) => own.includes(action));
      return actions.length === 0 ? [] : [{ type, name, actions }];
    });
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ token: token(account, access), expires_in: lifetime }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  return {
    realm,
    service,
    auth: { token: { realm, service, issuer, rootcertbundle: join(serverFolder, "cert.pem") } },
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Null where nobody is named, undefined where the password is wrong. */
function basicAccount(
  { headers }: IncomingMessage,
  accounts: Readonly<Record<string, TokenAccount>>,
): string | null | undefined {
  const [kind, value = ""] = (headers.authorization ?? "").split(" ");
  if (kind !== "Basic") return null;
  const text = Buffer.from(value, "base64").toString();
  const name = text.slice(0, text.indexOf(":"));
  return accounts[name]?.password === text.slice(name.length + 1) ? name : undefined;
}
