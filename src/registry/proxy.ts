import { hostKind } from "./url-gate.js";

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
