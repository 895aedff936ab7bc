import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { RegistryTarget } from "../engines/engine.js";
import type { WireHandler } from "../oci/wire.js";

/** A way to a repository that an engine can go by itself. */
export interface EngineRoute {
  readonly target: RegistryTarget;
  close(): Promise<void>;
}

/** How long a request that is under way may take once the route is closed, in ms. */
const grace = 1_000;

/** Lets an engine of this machine into a registry of this process, and nobody else: the password lives as long as the route. */
export async function openRoute(handler: WireHandler, path: string): Promise<EngineRoute> {
  const { listen } = await import("../server/index.js");
  const credential = { username: "lading", password: randomBytes(32).toString("base64url") };
  const expected = sha256(`Basic ${Buffer.from(`lading:${credential.password}`).toString("base64")}`);
  const handle: WireHandler = async (request) => {
    const { authorization = "", ...headers } = request.headers;
    if (timingSafeEqual(sha256(authorization), expected)) return await handler({ ...request, headers });
    return {
      status: 401,
      headers: { "www-authenticate": 'Basic realm="lading"', "content-length": "0" },
      body: nothing(),
    };
  };
  const server = await listen({ handle }, { host: "127.0.0.1", port: 0 });
  const host = `127.0.0.1:${new URL(server.url).port}`;
  return { target: { host, path, loopback: true, credential }, close: () => server.close(grace) };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
