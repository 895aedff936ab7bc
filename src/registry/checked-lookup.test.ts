import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { describe, expect, test } from "vitest";
import { withCode } from "../../test/support/store-contract.js";
import { addressKind } from "./address.js";
import { checkedLookup, type Network, type Permit } from "./checked-lookup.js";

/** Answers as the system does: one address, or all that were asked for. */
function network(...answers: readonly (readonly string[])[]): Network {
  let count = 0;
  const lookup: LookupFunction = (_hostname, options, callback) => {
    const addresses: LookupAddress[] = (answers[Math.min(count++, answers.length - 1)] ?? []).map((address) => ({
      address,
      family: address.includes(":") ? 6 : 4,
    }));
    const [first] = addresses;
    if (options.all === true) callback(null, addresses);
    else callback(null, first?.address ?? "", first?.family ?? 4);
  };
  return { lookup, kindOf: addressKind };
}

function look(from: Network, permit: Permit, all: boolean): Promise<unknown> {
  return new Promise((resolve, reject) => {
    checkedLookup(from, permit)("name.example", { all }, (error, found) => (error ? reject(error) : resolve(found)));
  });
}

const onlyPublic: Permit = new Set(["public"]);

describe("checkedLookup", () => {
  test("gives what is permitted, in the form that was asked for", async () => {
    const good = network(["203.0.113.7", "2606:4700::1"]);
    expect(await look(good, onlyPublic, true)).toEqual([
      { address: "203.0.113.7", family: 4 },
      { address: "2606:4700::1", family: 6 },
    ]);
    expect(await look(good, onlyPublic, false)).toBe("203.0.113.7");
  });

  test.each([true, false])("one stray among good ones spoils them all (all: %s)", async (all) => {
    for (const stray of ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "nonsense"]) {
      await expect(look(network(["203.0.113.7", stray]), onlyPublic, all)).rejects.toEqual(withCode("unsafe-url"));
    }
    await expect(look(network([]), onlyPublic, false)).rejects.toEqual(withCode("unsafe-url"));
  });

  test("every lookup is checked by itself", async () => {
    const rebinding = network(["203.0.113.7"], ["127.0.0.1"]);
    expect(await look(rebinding, onlyPublic, false)).toBe("203.0.113.7");
    await expect(look(rebinding, onlyPublic, false)).rejects.toEqual(withCode("unsafe-url"));
  });

  test("without a permit it is the network's own", () => {
    const own = network(["127.0.0.1"]);
    expect(checkedLookup(own, null)).toBe(own.lookup);
  });

  test("a failure stays what it was", async () => {
    const failure = Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
    const lost: Network = { lookup: (_name, _options, callback) => callback(failure, []), kindOf: addressKind };
    await expect(look(lost, onlyPublic, true)).rejects.toBe(failure);
  });
});
