import { LadingError } from "../errors.js";
import { type AddressKind, hostKind } from "./address.js";
import type { Answer, Call, Send } from "./call.js";
import type { Permit } from "./checked-lookup.js";

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
  /** Where the registry's answers came from so far. Absent: its name is all that is known. */
  readonly standing?: Standing | undefined;
}

/** The answer that named a URL, where it was not the registry's own. */
export type Namer = Pick<Answer, "url" | "addressKind">;

/** From the least to the most that a place may lead to. */
const reach: readonly AddressKind[] = ["forbidden", "public", "private", "loopback"];

/**
 * What kind of address a registry answers from. The one with the least reach counts: a registry that was seen on
 * the public side can't talk itself into a private network by changing its name's address.
 */
export class Standing {
  #kind: AddressKind | null = null;

  /** Null before the first answer, and where answers come through a proxy. */
  get kind(): AddressKind | null {
    return this.#kind;
  }

  saw(kind: AddressKind): void {
    if (this.#kind === null || reach.indexOf(kind) < reach.indexOf(this.#kind)) this.#kind = kind;
  }
}

/** `host:port`, the default port spelt out, so that two forms of one place compare equal. */
function place(url: URL): string {
  return `${url.hostname}:${url.port !== "" ? url.port : url.protocol === "http:" ? "80" : "443"}`;
}

/** Whether a URL leads to one of these `host[:port]`; without a port it is the scheme's own. */
export function isListed(url: URL, hosts: readonly string[]): boolean {
  return hosts.some((host) => host.toLowerCase() === url.host || host.toLowerCase() === place(url));
}

/** What a server does when it names such a URL. */
const roleNames: Readonly<Record<UrlRole, string>> = {
  registry: "is at",
  redirect: "redirects to",
  upload: "wants an upload sent to",
  page: "names as its next page",
  realm: "names as its token service",
};

/** What somebody at an address of this kind may lead to. */
function reachable(from: AddressKind, role: UrlRole): ReadonlySet<AddressKind> {
  if (from === "private") return new Set(["public", "private"]);
  const storage = role === "redirect" || role === "upload";
  return new Set(from === "loopback" && storage ? ["public", "loopback"] : ["public"]);
}

/**
 * The one place that decides whether a URL may be dialled. What the user typed is free of all rules but that
 * of plain http; what a server names must not lead to where only this machine can reach.
 * @param namer Who named it, where a redirect did: it is held to its own address as well as to the registry's.
 * @returns What the host may turn out to be when it is dialled: a name says nothing of its address.
 * @throws LadingError `unsafe-url`
 */
export function gateUrl(url: URL, role: UrlRole, rules: GateRules, namer: Namer | null = null): Permit {
  const who = namer?.url.host ?? rules.registry.host;
  const refuse = (why: string, hint: string = `whoever runs ${who} should know; nothing was sent there`) => {
    const shown = `${url.protocol}//${url.host}`;
    throw new LadingError("unsafe-url", `${who} ${roleNames[role]} ${shown}, which is refused: ${why}`, { hint });
  };
  if (url.protocol !== "http:" && url.protocol !== "https:") refuse("only http and https are spoken");
  if (url.username !== "" || url.password !== "") refuse("it holds a user name or a password");

  const { registry } = rules;
  const typed = url.origin === registry.origin;
  if (typed && rules.inProcess) return null;
  const marked = (typed && rules.insecure) || isListed(url, rules.insecureHosts);
  if (url.protocol === "http:") {
    const secure = registry.protocol === "https:" || namer?.url.protocol === "https:";
    if (secure) refuse("who is reached with TLS must not lead out of it");
    if (!marked && hostKind(url) !== "loopback") {
      // Nobody should be told to mark an address that has secrets of the machine's own.
      const honest = role === "registry" || hostKind(url) !== "forbidden";
      const hint = honest ? `use https; or, if it must be plain http: --insecure ${url.host}` : undefined;
      refuse("plain http is only for loopback and hosts marked insecure", hint);
    }
  }
  const onlyLoopback: Permit = new Set(["loopback"]);
  if (marked || typed || isListed(url, rules.authHosts)) {
    return url.protocol === "https:" || marked ? null : onlyLoopback;
  }

  let allowed = reachable(rules.standing?.kind ?? hostKind(registry), role);
  if (namer !== null) {
    const further = reachable(namer.addressKind ?? hostKind(namer.url), role);
    allowed = new Set([...allowed].filter((kind) => further.has(kind)));
  }
  const to = hostKind(url);
  if (!allowed.has(to)) {
    const why = `a server must not lead to the ${to === "forbidden" ? "reserved" : to} address ${url.hostname}`;
    if (to === "forbidden") refuse(why);
    else
      refuse(why, `if ${url.host} belongs to ${rules.registry.host}, add to its cluster: authHosts = ["${url.host}"]`);
  }
  return url.protocol === "https:" ? allowed : onlyLoopback;
}

/** The gate as a layer: every hop of a redirect passes it, and every answer tells where the registry is. */
export function gate(send: Send, rules: GateRules): Send {
  return async (call: Call) => {
    const permit = gateUrl(call.url, call.role, rules, call.namer);
    const answer = await send({ ...call, permit });
    if (answer.addressKind !== undefined && answer.url.origin === rules.registry.origin) {
      rules.standing?.saw(answer.addressKind);
    }
    return answer;
  };
}
