import { hostname, release } from "node:os";
import { join } from "node:path";
import { normalizePlatform } from "../oci/platform.js";
import { type EngineEndpoint, endpointText } from "./endpoint.js";
import type { EngineInfo } from "./engine.js";
import { canRead } from "./image-folders.js";
import type { JsonObject } from "./json-lines.js";

export interface AboutDocker {
  readonly info: EngineInfo;
  /** The engine's `localhost` is this machine's. */
  readonly onThisHost: boolean;
  /** Where an engine with the overlay2 driver keeps its images, if this process may read it. */
  readonly overlayRoot: string | null;
}

/** @param answer What `GET /info` says. */
export async function describeDocker(
  answer: JsonObject,
  endpoint: EngineEndpoint,
  apiVersion: string,
): Promise<AboutDocker> {
  const text = (value: unknown, otherwise: string): string =>
    typeof value === "string" && value !== "" ? value : otherwise;
  const containerd = JSON.stringify(answer.DriverStatus ?? null).includes("io.containerd.snapshotter");
  const local = endpoint.kind === "socket";
  const root = text(answer.DockerRootDir, "");
  const overlay = local && !containerd && root !== "" && answer.Driver === "overlay2";
  const readable = overlay && (await canRead(join(root, "image", "overlay2", "layerdb")));
  return {
    info: {
      kind: "docker",
      endpoint: endpointText(endpoint),
      version: text(answer.ServerVersion, "") || null,
      apiVersion,
      imageStore: containerd ? "containerd" : "graph-driver",
      moves: readable ? "folders" : local && containerd ? "by-itself" : "archive",
      platform: normalizePlatform({
        os: text(answer.OSType, "linux"),
        architecture: text(answer.Architecture, "amd64"),
      }),
    },
    // A rootless engine, and one in a virtual machine, has a loopback of its own.
    onThisHost:
      local &&
      answer.Name === hostname() &&
      answer.KernelVersion === release() &&
      !JSON.stringify(answer.SecurityOptions ?? null).includes("rootless"),
    overlayRoot: readable ? root : null,
  };
}
