import { BlockList, isIP } from "node:net";
import { LadingError } from "../errors.js";
import type { Call, Send } from "./call.js";

/**
 * Who named a URL. `registry` is what the user configured; all others are a server's words: the target of a
 * redirect, an upload's `Location`, the next page's `Link`, a token service's `realm`.
 */
export type UrlRole = "registry" | "redirect" | "upload" | "page" | "realm";

/** What the user said, against which a server's URLs are held. */
export interface GateRules {
  /** The registry as it is dialled. */
  readonly registry: URL;
  /** The registry may be spoken to without TLS. */
  readonly insecure: boolean;
  /** Requests to the registry do not leave the process. */
  readonly inProcess: boolean;
  /** `host[:port]` that the user named beside the registry's: token services. */
  readonly authHosts: readonly string[];
  /** `host[:port]` that the user marked insecure, beside the registry. */
  readonly insecureHosts: readonly string[];
}

function addressList(...subnets: readonly (readonly [address: string, prefix: number])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of subnets) list.addSubnet(address, prefix, address.includes(":") ? "ipv6" : "ipv4");
  return list;
}

const loopback = addressList(["127.0.0.0", 8], ["::1", 128]);
/** Link-local (cloud metadata), unspecified, multicast and translated addresses: no registry has business there. */
const forbidden = addressList(
  ["169.254.0.0", 16],
  ["0.0.0.0", 8],
  ["224.0.0.0", 3],
  ["::", 128],
  ["fe80::", 10],
  ["ff00::", 8],
  ["64:ff9b::", 96],
);
const privateNetworks = addressList(
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
  ["fc00::", 7],
  ["fec0::", 10],
);

export type AddressKind = "public" | "private" | "loopback" | "forbidden";

/** The kind of a literal address. Also for the address that is dialled, once names are checked there. */
export function addressKind(address: string): AddressKind {
  const family = isIP(address) === 6 ? "ipv6" : "ipv4";
  if (loopback.check(address, family)) return "loopback";
  if (forbidden.check(address, family)) return "forbidden";
  return privateNetworks.check(address, family) ? "private" : "public";
}

/** The kind of a URL's host, by its literal form; other names than `localhost` are taken for public ones. */
export function hostKind(url: URL): AddressKind {
  const host = url.hostname.replace(/\.$/, "");
  if (host === "localhost" || host.endsWith(".localhost")) return "loopback";
  const literal = host.startsWith("[") ? host.slice(1, -1) : host;
  return isIP(literal) === 0 ? "public" : addressKind(literal);
}

/** `host:port`, the default port spelt out, so that two forms of one place compare equal. */
function place(url: URL): string {
  return `${url.hostname}:${url.port !== "" ? url.port : url.protocol === "http:" ? "80" : "443"}`;
}

function isListed(url: URL, hosts: readonly string[]): boolean {
  return hosts.some((host) => host.toLowerCase() === url.host || host.toLowerCase() === place(url));
}

const roleNames: Readonly<Record<UrlRole, string>> = {
  registry: "the registry's URL",
  redirect: "a redirect",
  upload: "an upload location",
  page: "a link to the next page",
  realm: "a token service",
};

/**
 * The one place that decides whether a URL may be dialled. What the user typed is free of all rules but that
 * of plain http; what a server names must not lead to where only this machine can reach.
 * @throws LadingError `unsafe-url`
 */
export function gateUrl(url: URL, role: UrlRole, rules: GateRules): void {
  const refuse = (why: string, hint: string | null = null) => {
    const shown = `${url.protocol}//${url.host}`;
    throw new LadingError("unsafe-url", `${roleNames[role]} (${shown}) is refused: ${why}`, { hint });
  };
  if (url.protocol !== "http:" && url.protocol !== "https:") refuse("only http and https are spoken");
  if (url.username !== "" || url.password !== "") refuse("it holds a user name or a password");

  const { registry } = rules;
  const typed = url.origin === registry.origin;
  if (typed && rules.inProcess) return;
  if (url.protocol === "http:") {
    if (registry.protocol === "https:") refuse("a registry that is reached with TLS must not lead out of it");
    const allowed = hostKind(url) === "loopback" || (typed && rules.insecure) || isListed(url, rules.insecureHosts);
    if (!allowed) refuse("plain http is only for loopback and hosts marked insecure", `--insecure ${url.host}`);
  }
  if (typed || isListed(url, rules.authHosts) || isListed(url, rules.insecureHosts)) return;

  const [from, to] = [hostKind(registry), hostKind(url)];
  if (to === "public") return;
  const storage = role === "redirect" || role === "upload";
  if (storage && to !== "forbidden" && to === from) return;
  refuse(`a server must not lead to the ${to === "forbidden" ? "reserved" : to} address ${url.hostname}`);
}

/** The gate as a layer: every hop of a redirect passes it. */
export function gate(send: Send, rules: GateRules): Send {
  return async (call: Call) => {
    gateUrl(call.url, call.role, rules);
    return await send(call);
  };
}
