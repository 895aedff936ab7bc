import { LadingError } from "../errors.js";
import { hostKind } from "./address.js";

export type Environment = Readonly<Record<string, string | undefined>>;

function lookUp(env: Environment, name: string): string {
  // The lower-case form wins, as with curl and Go.
  return env[name.toLowerCase()] || env[name.toUpperCase()] || "";
}

function isExcepted(url: URL, exceptions: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port !== "" ? url.port : url.protocol === "http:" ? "80" : "443";
  return exceptions.split(/[\s,]+/).some((entry) => {
    const text = entry.toLowerCase();
    if (text === "") return false;
    if (text === "*") return true;
    const parts = /^(.*?)(?::(\d+))?$/.exec(text.includes("]") || !/:.*:/.test(text) ? text : `[${text}]`);
    if (parts?.[2] !== undefined && parts[2] !== port) return false;
    const name = (parts?.[1] ?? text).replace(/^\[|\]$/g, "").replace(/^\*/, "");
    return name.startsWith(".")
      ? host.endsWith(name) || host === name.slice(1)
      : host === name || host.endsWith(`.${name}`);
  });
}

/**
 * The proxy for a URL by `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of the given environment, or null.
 * Loopback is never proxied, as with Go's clients.
 */
export function proxyFor(url: URL, env: Environment): URL | null {
  if (hostKind(url) === "loopback" || isExcepted(url, lookUp(env, "no_proxy"))) return null;
  const value = lookUp(env, url.protocol === "http:" ? "http_proxy" : "https_proxy") || lookUp(env, "all_proxy");
  if (value === "") return null;
  try {
    const proxy = new URL(value.includes("://") ? value : `http://${value}`);
    return proxy.protocol === "http:" || proxy.protocol === "https:" ? proxy : null;
  } catch {
    return null;
  }
}

/** The header that tells a proxy who asks; it is the proxy's alone. */
export function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === "") return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}

/**
 * The error for a proxy that opens no tunnel. What it says comes without TLS, so it must not pass for the answer of
 * the registry: a redirect or a challenge of its making would be believed (FalseCONNECT).
 */
export function tunnelRefusal(proxy: URL, url: URL, status: number): LadingError {
  const code = status === 407 ? "unauthorized" : status === 403 ? "denied" : "unreachable";
  return new LadingError(code, `the proxy ${proxy.host} opens no way to ${url.host}: it answered ${status}`, {
    hint:
      status === 407
        ? "put the proxy's user and password into its URL (HTTPS_PROXY)"
        : `ask whoever runs the proxy, or name ${url.host} in NO_PROXY to go without it`,
  });
}
