import type { LookupAddress } from "node:dns";
import { type AddressKind, addressKind } from "../../src/registry/address.js";
import type { Network } from "../../src/registry/checked-lookup.js";

export interface TestNetwork extends Network {
  /** Names that were looked up so far. */
  readonly lookups: readonly string[];
}

export interface TestNetworkOptions {
  /** The addresses of each name; several lists are the answers to one lookup after the other, the last one stays. */
  readonly names: Readonly<Record<string, readonly string[] | readonly (readonly string[])[]>>;
  /** What addresses of this machine stand for, so that a test can have a public place. @default what they are */
  readonly kinds?: Readonly<Record<string, AddressKind>>;
}

/** A network of a test: its own names, and addresses of this machine in the parts of others. */
export function testNetwork({ names, kinds = {} }: TestNetworkOptions): TestNetwork {
  const lookups: string[] = [];
  return {
    lookups,
    kindOf: (address) => kinds[address] ?? addressKind(address),
    lookup: (hostname, options, callback) => {
      const before = lookups.filter((name) => name === hostname).length;
      lookups.push(hostname);
      const answers = names[hostname];
      const answer = Array.isArray(answers?.[0]) ? answers[Math.min(before, answers.length - 1)] : answers;
      const addresses: LookupAddress[] = ((answer ?? []) as readonly string[]).map((address) => ({
        address,
        family: address.includes(":") ? 6 : 4,
      }));
      const [first] = addresses;
      if (first === undefined) {
        const error = new Error(`no address for ${hostname}`);
        callback(Object.assign(error, { code: "ENOTFOUND", syscall: "getaddrinfo", hostname }), []);
      } else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    },
  };
}
