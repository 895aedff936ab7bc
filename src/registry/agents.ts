import type { Agent } from "node:http";
import type { Permit } from "./checked-lookup.js";

/** Bytes that are buffered per direction of a connection: large chunks cost less than many small ones. */
const highWaterMark = 1024 * 1024;

/** What a connection is wanted for. */
export interface Errand {
  readonly url: URL;
  /** Null goes to the host itself. */
  readonly proxy: URL | null;
  readonly permit: Permit;
  /** Content is sent. */
  readonly sending: boolean;
}

/** The kept connections of one client, made when they are first needed. */
export class Agents {
  readonly #perHost: number;
  readonly #agents = new Map<string, Promise<Agent>>();

  /** @param perHost Connections to one host; as many again for content that is being sent. */
  constructor(perHost: number) {
    this.#perHost = perHost;
  }

  /**
   * Content that is sent has connections of its own: a copy within one registry reads what it sends over the
   * others, and would wait for itself if senders could take them all. A kept connection was checked for the permit
   * that it was opened with, so each permit has its own, too.
   */
  async agent({ url, proxy, permit, sending }: Errand): Promise<Agent> {
    const tunnel = proxy !== null && url.protocol === "https:";
    const secure = (tunnel ? url : (proxy ?? url)).protocol === "https:";
    const way = tunnel ? `tunnel ${proxy.href}` : secure ? "https" : "http";
    const key = `${sending ? "send" : "ask"} ${way} ${permit === null ? "any" : [...permit].sort().join()}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      // The types know nothing of it, but it reaches the socket's constructor and sizes its buffers.
      const options = { keepAlive: true, maxSockets: this.#perHost, highWaterMark };
      agent = tunnel
        ? import("https-proxy-agent").then(({ HttpsProxyAgent }) => new HttpsProxyAgent(proxy, options))
        : secure
          ? import("node:https").then((https) => new https.Agent(options))
          : import("node:http").then((http) => new http.Agent(options));
      this.#agents.set(key, agent);
    }
    return await agent;
  }

  /** Ends all connections at once. */
  close(): void {
    for (const agent of this.#agents.values())
      agent.then(
        (made) => made.destroy(),
        () => {},
      );
    this.#agents.clear();
  }
}
