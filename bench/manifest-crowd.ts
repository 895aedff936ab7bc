import { createHash } from "node:crypto";
import { Agent, request } from "node:http";
import { type Sample, watchMemory } from "./measure.js";
import { treeUsage } from "./process-tree.js";
import type { BenchRegistry } from "./registry.js";

const path = "bench/crowd";
const mediaType = "application/vnd.oci.image.manifest.v1+json";
const config = "{}";
const digestOf = (bytes: string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export interface Crowd {
  readonly manifests: number;
  readonly clients: number;
}

/** Small manifests of one repository, each with a tag of its own, pushed by many clients at a time; then each is read. */
export async function timeCrowd(registry: BenchRegistry, { manifests, clients }: Crowd): Promise<Sample> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const send = async (method: string, target: string, body: string, headers: Record<string, string> = {}) => {
    const [host, port] = registry.host.split(":");
    return await new Promise<{ status: number; text: string; location: string }>((resolve, reject) => {
      const options = {
        host,
        port,
        agent,
        method,
        path: target,
        headers: { ...headers, "content-length": Buffer.byteLength(body) },
      };
      const asked = request(options, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
        });
        response.once("error", reject);
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, text, location: response.headers.location ?? "" }),
        );
      });
      asked.once("error", reject);
      asked.end(body);
    });
  };
  const expectStatus = ({ status, text }: { status: number; text: string }, wanted: number, what: string) => {
    if (status !== wanted) throw new Error(`${what} was answered with ${status}: ${text.slice(0, 200)}`);
  };
  const bytesOf = (index: number) => {
    const blob = { mediaType: "application/vnd.oci.empty.v1+json", digest: digestOf(config), size: config.length };
    return JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: blob,
      layers: [blob],
      annotations: { index: String(index) },
    });
  };
  const all = async (task: (index: number) => Promise<void>) => {
    let next = 0;
    const client = async () => {
      while (next < manifests) await task(next++);
    };
    await Promise.all(Array.from({ length: clients }, client));
  };
  try {
    const start = await send("POST", `/v2/${path}/blobs/uploads/`, "");
    const session = new URL(start.location, `http://${registry.host}`);
    session.searchParams.set("digest", digestOf(config));
    const type = { "content-type": "application/octet-stream" };
    expectStatus(await send("PUT", `${session.pathname}${session.search}`, config, type), 201, "the config");
    const before = (await treeUsage(registry.pid)).cpu;
    const watch = watchMemory([registry.pid]);
    const started = performance.now();
    await all(async (index) => {
      const answer = await send("PUT", `/v2/${path}/manifests/t${index}`, bytesOf(index), {
        "content-type": mediaType,
      });
      expectStatus(answer, 201, `manifest ${index}`);
    });
    const seconds = (performance.now() - started) / 1000;
    const memory = await watch.end();
    const cpu = (await treeUsage(registry.pid)).cpu - before;
    await all(async (index) => {
      const answer = await send("GET", `/v2/${path}/manifests/t${index}`, "", { accept: mediaType });
      if (answer.text !== bytesOf(index))
        throw new Error(`manifest ${index} came back as ${answer.text.slice(0, 200)}`);
    });
    return { seconds, cpu, memory };
  } finally {
    agent.destroy();
  }
}
