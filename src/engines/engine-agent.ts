import { readFile } from "node:fs/promises";
import { Agent, type AgentOptions } from "node:http";
import { Agent as TlsAgent } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { LadingError } from "../errors.js";
import { type EngineEndpoint, type EngineTls, endpointText } from "./endpoint.js";
import { programPath } from "./program-path.js";
import { SshSocket } from "./ssh-socket.js";

export interface ConnectionOptions {
  readonly endpoint: EngineEndpoint;
  /** For `ssh`: PATH, agent and home. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
}

/**
 * The connections to an endpoint. Local ones are cheap and made anew for each call; one over ssh is kept, since each
 * is a process and a login on the other machine.
 * @throws LadingError `config-invalid` for certificates that can't be read, `engine-unavailable` without `ssh`
 */
export async function openAgent({ endpoint, env, platform }: ConnectionOptions): Promise<Agent> {
  if (endpoint.kind === "tcp" && endpoint.tls !== null) return await openTlsAgent(endpoint.tls, endpoint.host);
  if (endpoint.kind !== "ssh") return new Agent({ keepAlive: false });
  const program = await programPath("ssh", env, platform);
  if (program === null) {
    throw new LadingError(
      "engine-unavailable",
      `${endpointText(endpoint)} needs the program ssh, which is not on PATH`,
      {
        hint: "install an ssh client, or use --engine store",
      },
    );
  }
  return new SshAgent({ keepAlive: true, maxFreeSockets: 1 }, () => new SshSocket(program, endpoint, env));
}

class SshAgent extends Agent {
  readonly #connect: () => Duplex;
  constructor(options: AgentOptions, connect: () => Duplex) {
    super(options);
    this.#connect = connect;
  }
  override createConnection(): Duplex {
    return this.#connect();
  }
}

async function openTlsAgent(tls: EngineTls, host: string): Promise<Agent> {
  const read = async (path: string | null): Promise<string | undefined> => {
    if (path === null) return undefined;
    try {
      return await readFile(path, "utf8");
    } catch (cause) {
      throw new LadingError("config-invalid", `the engine's TLS file ${path} can't be read`, {
        hint: "DOCKER_CERT_PATH must hold ca.pem, cert.pem and key.pem",
        cause,
      });
    }
  };
  const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)]);
  return new TlsAgent({
    keepAlive: false,
    rejectUnauthorized: tls.verify,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
}
