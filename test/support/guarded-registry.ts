import { hashSync } from "bcryptjs";
import { digestOf } from "../../src/oci/digest.js";
import type { WireResponse } from "../../src/oci/wire.js";
import { type AccountDecision, createRegistry, type Registry, type RegistryOptions } from "../../src/server/index.js";
import { type ManualClock, manualClock } from "./manual-clock.js";

/** Who asks: nobody, or somebody who shows a secret. */
export type Caller = { readonly authorization: string } | null;

export interface AskOptions {
  readonly as?: Caller;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly address?: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The first code of an error body, else null. */
  readonly code: string | null;
  readonly json: Record<string, unknown>;
}

export const basic = (name: string, password: string): Caller => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`,
});
export const bearer = (token: string): Caller => ({ authorization: `Bearer ${token}` });

/** A registry with accounts, asked without a port. */
export class GuardedRegistry {
  readonly registry: Registry;
  readonly clock: ManualClock = manualClock();
  readonly decisions: AccountDecision[] = [];
  /** What went wrong in the registry itself. */
  readonly errors: unknown[] = [];

  constructor(options: Partial<RegistryOptions> = {}) {
    const accounts = options.accounts === true || !options.accounts ? {} : options.accounts;
    this.registry = createRegistry({
      storage: "memory",
      now: this.clock.now,
      onError: (error) => this.errors.push(error),
      ...options,
      accounts: { ...accounts, onDecision: (decision) => this.decisions.push(decision) },
    });
  }

  async ask(method: string, url: string, { as = null, headers = {}, body, address }: AskOptions = {}): Promise<Reply> {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const length: Record<string, string> = bytes === undefined ? {} : { "content-length": String(bytes.length) };
    const response = await this.registry.handle({
      method,
      url,
      headers: { host: "registry.test", ...(as ?? {}), ...length, ...headers },
      body: bytes ?? null,
      address: address ?? "192.0.2.1",
    });
    const text = await textOf(response);
    let json: Record<string, unknown> = {};
    try {
      json = JSON.parse(text) as Record<string, unknown>;
    } catch {
      // not every answer is JSON
    }
    const errors = json.errors as readonly { readonly code: string }[] | undefined;
    const { code } = (json.error ?? {}) as { readonly code?: string };
    return { status: response.status, headers: response.headers, text, json, code: errors?.[0]?.code ?? code ?? null };
  }

  /** A token for scopes, or the refusal. */
  async token(as: Caller, ...scopes: string[]): Promise<string> {
    const query = new URLSearchParams(scopes.map((scope): [string, string] => ["scope", scope]));
    const { status, json } = await this.ask("GET", `/auth/token?${query}`, { as });
    if (status !== 200) throw new Error(`the token service answered ${status}`);
    return String(json.token);
  }

  /** An API key's caller: fast, where a password is not what is tested. */
  async key(
    owner: string,
    grants: readonly { scope: string; role: "read" | "write" | "delete" | "admin" }[] | null = null,
  ) {
    const { key } = await (await this.registry.accounts()).keys.add({ owner, grants });
    return basic("key", key);
  }

  /** Users with keys, whose rights the test then gives them. */
  async users<Name extends string>(...names: Name[]): Promise<Record<Name, Caller>> {
    // cheap hashes: to make good ones for a dozen users would take most of a test's time
    const { users } = await this.registry.accounts();
    await users.import(names.map((name) => `${name}:${hashSync(passwordOf(name), 4)}`).join("\n"));
    const callers = {} as Record<Name, Caller>;
    for (const name of names) {
      callers[name] = await this.key(name);
    }
    return callers;
  }

  /** Pushes an image of one layer, by somebody who may. */
  async push(repository: string, tag: string, as: Caller, content = `layer of ${repository}`): Promise<PushedImage> {
    const layer = Buffer.from(content);
    const config = Buffer.from("{}");
    for (const bytes of [layer, config]) {
      const at = `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`;
      const { status } = await this.ask("POST", at, { as, body: bytes });
      if (status !== 201) throw new Error(`a blob was answered with ${status}`);
    }
    const manifest = manifestOf(config, layer);
    const put = await this.ask("PUT", `/v2/${repository}/manifests/${tag}`, {
      as,
      body: manifest,
      headers: { "content-type": manifestType },
    });
    if (put.status !== 201) throw new Error(`a manifest was answered with ${put.status}: ${put.text}`);
    return { digest: digestOf(manifest), manifest, layer: digestOf(layer), layerBytes: layer };
  }

  async close(): Promise<void> {
    await this.registry.close();
  }
}

export interface PushedImage {
  readonly digest: string;
  readonly manifest: Uint8Array;
  readonly layer: string;
  readonly layerBytes: Uint8Array;
}

export const manifestType = "application/vnd.oci.image.manifest.v1+json";

export function manifestOf(config: Uint8Array, layer: Uint8Array): Uint8Array {
  const descriptor = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: descriptor("application/vnd.oci.image.config.v1+json", config),
      layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }),
  );
}

export const passwordOf = (name: string): string => `canary-${name}-password`;

async function textOf(response: WireResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
