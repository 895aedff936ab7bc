import { BlockList, isIP } from "node:net";

/** What an address is to this machine. `forbidden`: no registry has business there, whoever names it. */
export type AddressKind = "public" | "private" | "loopback" | "forbidden";

type Subnet = readonly [address: string, prefix: number];

const loopback = listOf(["127.0.0.0", 8], ["::1", 128]);

/** Asked before the private ones: cloud metadata services also sit in private ranges. */
const forbidden = listOf(
  // Link-local, where clouds serve metadata; and where they serve it elsewhere (Oracle, Alibaba, Azure, AWS).
  ["169.254.0.0", 16],
  ["fe80::", 10],
  ["192.0.0.0", 24],
  ["100.100.100.200", 32],
  ["168.63.129.16", 32],
  ["fd00:ec2::", 32],
  // Unspecified: on many systems another name for loopback.
  ["0.0.0.0", 8],
  ["::", 96],
  // Multicast, reserved, broadcast.
  ["224.0.0.0", 3],
  ["ff00::", 8],
  // Tunnels whose end cannot be told, or that a network translates as it likes: Teredo, SIIT, local NAT64.
  ["2001::", 32],
  ["::ffff:0:0:0", 96],
  ["64:ff9b:1::", 48],
);

const privateNetworks = listOf(
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
  // Meant for benchmarks; local proxies hand out such addresses for every name.
  ["198.18.0.0", 15],
  ["fc00::", 7],
  ["fec0::", 10],
);

/**
 * Made when it is first asked, which most runs never do. An IPv4 network is listed under its IPv6 names too: NAT64 and 6to4.
 * The mapped form is node's own business.
 * @see https://www.rfc-editor.org/rfc/rfc6052#section-2.1
 * @see https://www.rfc-editor.org/rfc/rfc3056#section-2
 */
function listOf(...subnets: readonly Subnet[]): () => BlockList {
  let made: BlockList | undefined;
  return () => (made ??= blockList(subnets));
}

function blockList(subnets: readonly Subnet[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of subnets) {
    if (address.includes(":")) {
      list.addSubnet(address, prefix, "ipv6");
      continue;
    }
    const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
    const words = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
    list.addSubnet(address, prefix, "ipv4");
    list.addSubnet(`64:ff9b::${words}`, 96 + prefix, "ipv6");
    list.addSubnet(`2002:${words}::`, 16 + prefix, "ipv6");
  }
  return list;
}

/** The kind of an IP address. What is none counts as `forbidden`: it could be anything. */
export function addressKind(text: string): AddressKind {
  const address = text.replace(/%.*$/s, "");
  const version = isIP(address);
  if (version === 0) return "forbidden";
  const family = version === 6 ? "ipv6" : "ipv4";
  if (loopback().check(address, family)) return "loopback";
  if (forbidden().check(address, family)) return "forbidden";
  return privateNetworks().check(address, family) ? "private" : "public";
}

/**
 * The kind of a URL's host as it is written. A name other than `localhost` is taken for a public one: what it
 * stands for is seen when it is dialled.
 */
export function hostKind(url: URL): AddressKind {
  const host = url.hostname.replace(/\.$/, "");
  if (host === "localhost" || host.endsWith(".localhost")) return "loopback";
  const literal = host.startsWith("[") ? host.slice(1, -1) : host;
  return isIP(literal) === 0 ? "public" : addressKind(literal);
}
