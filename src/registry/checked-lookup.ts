import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { LadingError } from "../errors.js";
import { type AddressKind, addressKind } from "./address.js";

/** The kinds of addresses that a name may turn out to have; null: any. */
export type Permit = ReadonlySet<AddressKind> | null;

/** How names become addresses, and what those are: the system's, unless a test brings a network of its own. */
export interface Network {
  readonly lookup: LookupFunction;
  readonly kindOf: (address: string) => AddressKind;
}

/** The system's resolver, loaded when first needed. */
export async function systemNetwork(): Promise<Network> {
  const { lookup } = await import("node:dns");
  return { lookup: lookup as LookupFunction, kindOf: addressKind };
}

/**
 * A lookup that gives a name's addresses only where every one of them is permitted. A connection takes them from
 * here and asks nobody again, so that what was checked is what is dialled: a name that changes its mind between
 * two lookups (DNS rebinding) gains nothing, and neither does one forbidden address among good ones.
 */
export function checkedLookup({ lookup, kindOf }: Network, permit: Permit): LookupFunction {
  if (permit === null) return lookup;
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) {
        callback(error, []);
        return;
      }
      const addresses: readonly LookupAddress[] = typeof found === "string" ? [] : found;
      const stray = addresses.find(({ address }) => !permit.has(kindOf(address)));
      const [first] = addresses;
      if (stray !== undefined) callback(refusal(hostname, stray.address, kindOf(stray.address)), []);
      else if (options.all === true) callback(null, [...addresses]);
      else if (first === undefined) callback(refusal(hostname, "nowhere", "forbidden"), []);
      else callback(null, first.address, first.family);
    });
  };
}

function refusal(hostname: string, address: string, kind: AddressKind): LadingError {
  const named = kind === "forbidden" ? "reserved" : kind;
  return new LadingError(
    "unsafe-url",
    `${hostname} is refused: its name stands for the ${named} address ${address}, where a server must not lead`,
  );
}
