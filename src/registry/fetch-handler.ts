import type { WireHandler, WireRequest } from "../oci/wire.js";
import { emptyBody } from "./body.js";

/** A function of the Fetch standard, such as the `fetch` of a registry value. */
export type FetchFunction = (request: Request) => Promise<Response>;

/** Makes a wire handler of a fetch-like function, for registry values that have no `handle`. */
export function fetchHandler(fetchFunction: FetchFunction): WireHandler {
  return async (request) => {
    const url = new URL(request.url, `http://${request.headers.host ?? "localhost"}`);
    const response = await fetchFunction(new Request(url, requestInit(request)));
    return { status: response.status, headers: Object.fromEntries(response.headers), body: response.body ?? emptyBody };
  };
}

function requestInit({ method, headers, body, signal }: WireRequest): RequestInit {
  const content = body === undefined || body === null || body instanceof Uint8Array ? body : ReadableStream.from(body);
  return {
    method,
    headers: { ...headers },
    redirect: "manual",
    signal: signal ?? null,
    ...(content === undefined || content === null ? {} : { body: content, duplex: "half" }),
  };
}
