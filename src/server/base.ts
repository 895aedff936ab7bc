import type { WireResponse } from "../oci/wire.js";
import type { Context } from "./context.js";
import { replyJson } from "./reply.js";
import type { Route } from "./route.js";

/** By which a client of the folder knows that it is the one that serves it. */
export async function instanceHeaders({ storage }: Context): Promise<Readonly<Record<string, string>>> {
  const instance = await storage.instanceId();
  return instance === null ? {} : { "lading-instance": instance };
}

export async function getBase(route: Route, context: Context): Promise<WireResponse> {
  const headers = { "docker-distribution-api-version": "registry/2.0", ...(await instanceHeaders(context)) };
  return replyJson(200, {}, { head: route.method === "HEAD", headers });
}
