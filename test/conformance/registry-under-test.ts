import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { registryErrorCodes } from "../../src/oci/error-codes.js";
import { createRegistry, type Listening, listen, type Registry, type RegistryOptions } from "../../src/server/index.js";
import { Answer } from "./answer.js";

/** Where a registry keeps things, and how it is reached. */
export interface Standing {
  readonly storage: "memory" | "file system";
  readonly over: "calls" | "HTTP";
}

type Body = Uint8Array | string | AsyncIterable<Uint8Array> | null;

/** A fresh registry per test, with what a test sends to it. Every answer is held to the rules that all answers have. */
export class RegistryUnderTest {
  readonly standing: Standing;
  /** ms since the epoch; moves only by hand. */
  clock = 0;
  #folder = "";
  #registry: Registry | null = null;
  #server: Listening | null = null;
  #agent: Agent | null = null;
  #failures: unknown[] = [];

  constructor(standing: Standing) {
    this.standing = standing;
  }

  async begin(): Promise<void> {
    this.clock = Date.now();
    this.#failures = [];
    this.#folder = await mkdtemp(join(tmpdir(), "lading-conformance-"));
    await this.#start({});
  }

  /** Ends it; what went wrong inside is an error unless it was expected. */
  async end(): Promise<void> {
    await this.#stop();
    await rm(this.#folder, { recursive: true, force: true });
    expect(this.#failures).toEqual([]);
  }

  /** Begins again with other options; memory is empty then, a folder keeps what it has. */
  async remake(options: Partial<RegistryOptions>): Promise<void> {
    await this.#stop();
    await this.#start(options);
  }

  /** Closes the registry, not what listens for it. */
  async close(): Promise<void> {
    await this.#registry?.close();
  }

  /** A request that broke off, or another failure that was meant. */
  forgive(): void {
    this.#failures = [];
  }

  async #start(options: Partial<RegistryOptions>): Promise<void> {
    this.#registry = createRegistry({
      storage: this.standing.storage === "memory" ? "memory" : { directory: join(this.#folder, "data") },
      durability: "fast",
      now: () => this.clock,
      onError: (error) => this.#failures.push(error),
      ...options,
    });
    if (this.standing.over === "calls") return;
    this.#server = await listen(this.#registry, { port: 0 });
    this.#agent = new Agent({ keepAlive: true });
  }

  async #stop(): Promise<void> {
    this.#agent?.destroy();
    await this.#server?.close(0);
    await this.#registry?.close();
    this.#server = null;
  }

  async send(
    method: string,
    url: string,
    body: Body = null,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const whole = typeof body === "string" ? Buffer.from(body) : body;
    const length = whole instanceof Uint8Array ? { "content-length": String(whole.length) } : {};
    const answer = await (this.#server === null ? this.#call : this.#request).call(this, {
      method,
      url,
      headers: { ...length, ...headers },
      body: whole,
    });
    holdToRules(method, answer);
    return answer;
  }

  async #call(request: Request): Promise<Answer> {
    if (this.#registry === null) throw new Error("the registry has not begun");
    const { status, headers, body } = await this.#registry.handle(request);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return new Answer(status, headers, Buffer.concat(chunks));
  }

  async #request({ method, url, headers, body }: Request): Promise<Answer> {
    const { port } = new URL(this.#server?.urls[0] ?? "");
    const request = httpRequest({ host: "127.0.0.1", port, method, path: url, headers, agent: this.#agent ?? false });
    const answered = new Promise<Answer>((resolve, reject) => {
      request.once("error", reject);
      request.once("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () => {
          const given = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
          resolve(new Answer(response.statusCode ?? 0, Object.fromEntries(given), Buffer.concat(chunks)));
        });
      });
    });
    void answered.catch(() => undefined);
    await write(request, body, answered);
    return await answered;
  }
}

interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | AsyncIterable<Uint8Array> | null;
}

/** Sends a body as long as nobody has answered. */
async function write(
  request: ReturnType<typeof httpRequest>,
  body: Request["body"],
  answered: Promise<Answer>,
): Promise<void> {
  if (body === null || body instanceof Uint8Array) {
    request.end(body ?? undefined);
    return;
  }
  const ended = new AbortController();
  const over = answered.then(
    () => "over" as const,
    () => "over" as const,
  );
  const iterator = body[Symbol.asyncIterator]();
  try {
    while (true) {
      const next = await Promise.race([iterator.next(), over]);
      if (next === "over" || next.done) break;
      if (!request.write(next.value)) {
        await Promise.race([once(request, "drain", { signal: ended.signal }).catch(() => undefined), over]);
      }
    }
    request.end();
  } catch (error) {
    request.destroy(error as Error);
  } finally {
    ended.abort();
  }
}

/** What every answer of the registry has to be, whatever was asked. */
function holdToRules(method: string, { status, headers, body }: Answer): void {
  expect(headers["transfer-encoding"]).toBeUndefined();
  expect(headers["content-encoding"]).toBeUndefined();
  expect(headers.warning).toBeUndefined();
  if (method === "HEAD" || status === 204 || status === 304) expect(body.length).toBe(0);
  else expect(headers["content-length"]).toBe(String(body.length));
  const isJson = headers["content-type"]?.startsWith("application/json");
  if (status < 400 || !isJson || method === "HEAD") return;
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string; message: string }[] };
  expect(errors.length).toBeGreaterThan(0);
  for (const { code, message } of errors) {
    // the list is for errors of the client
    if (status < 500) expect(registryErrorCodes).toContain(code);
    expect(code).toMatch(/^[A-Z_]+$/);
    expect(message).toMatch(/^[\x20-\x7e]+$/);
  }
}
