import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AddressKind, addressKind, hostKind } from "./address.js";

describe("addressKind", () => {
  test.each<[string, AddressKind]>([
    ["8.8.8.8", "public"],
    ["2606:4700::1111", "public"],
    ["::ffff:8.8.8.8", "public"],
    ["64:ff9b::808:808", "public"],
    ["2002:808:808::1", "public"],
    ["127.0.0.1", "loopback"],
    ["127.9.9.9", "loopback"],
    ["::1", "loopback"],
    ["::ffff:127.0.0.1", "loopback"],
    ["::ffff:7f00:1", "loopback"],
    ["64:ff9b::127.0.0.1", "loopback"],
    ["2002:7f00:1::", "loopback"],
    ["10.255.255.255", "private"],
    ["11.0.0.0", "public"],
    ["172.15.255.255", "public"],
    ["172.16.0.0", "private"],
    ["172.31.255.255", "private"],
    ["172.32.0.0", "public"],
    ["192.168.0.1", "private"],
    ["::ffff:192.168.0.1", "private"],
    ["64:ff9b::c0a8:1", "private"],
    ["100.63.255.255", "public"],
    ["100.64.0.1", "private"],
    ["100.127.255.255", "private"],
    ["100.128.0.0", "public"],
    ["198.18.0.1", "private"],
    ["fc00::1", "private"],
    ["fdff::1", "private"],
    ["fec0::1", "private"],
    ["169.254.169.254", "forbidden"],
    ["::ffff:169.254.169.254", "forbidden"],
    ["64:ff9b::a9fe:a9fe", "forbidden"],
    ["2002:a9fe:a9fe::", "forbidden"],
    ["169.254.170.2", "forbidden"],
    ["100.100.100.200", "forbidden"],
    ["168.63.129.16", "forbidden"],
    ["192.0.0.192", "forbidden"],
    ["fd00:ec2::254", "forbidden"],
    ["0.0.0.0", "forbidden"],
    ["0.1.2.3", "forbidden"],
    ["::", "forbidden"],
    ["::127.0.0.1", "forbidden"],
    ["::ffff:0:127.0.0.1", "forbidden"],
    ["64:ff9b:1::7f00:1", "forbidden"],
    ["2001::1", "forbidden"],
    ["fe80::1", "forbidden"],
    ["fe80::1%eth0", "forbidden"],
    ["::1%lo", "loopback"],
    ["febf::1", "forbidden"],
    ["224.0.0.1", "forbidden"],
    ["240.0.0.1", "forbidden"],
    ["255.255.255.255", "forbidden"],
    ["ff02::1", "forbidden"],
    ["localhost", "forbidden"],
    ["", "forbidden"],
  ])("%s is %s", (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });

  test("an IPv4 address is the same by every name that it has in IPv6", () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
        const words = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        const kind = addressKind(address);
        for (const name of [`::ffff:${address}`, `64:ff9b::${address}`, `2002:${words}::9`]) {
          expect(addressKind(name), name).toBe(kind);
        }
      }),
    );
  });
});

describe("hostKind", () => {
  test.each<[string, AddressKind]>([
    ["http://localhost:5000", "loopback"],
    ["http://LOCALHOST", "loopback"],
    ["http://localhost.", "loopback"],
    ["http://app.localhost:1", "loopback"],
    ["http://127.1", "loopback"],
    ["http://127.0.0.1.", "loopback"],
    ["http://2130706433", "loopback"],
    ["http://0x7f.0.0.1", "loopback"],
    ["http://0x7f000001", "loopback"],
    ["http://0177.0.0.1", "loopback"],
    ["http://%31%32%37.0.0.1", "loopback"],
    ["http://１２７.0.0.1", "loopback"],
    ["http://[::1]:5000", "loopback"],
    ["http://[::ffff:127.0.0.1]", "loopback"],
    ["http://0", "forbidden"],
    ["http://[::]", "forbidden"],
    ["http://0xa9fea9fe", "forbidden"],
    ["http://012.0.0.1", "private"],
    ["http://localhost.example", "public"],
    ["http://127.0.0.1.example", "public"],
    ["http://reg.local", "public"],
  ])("%s is %s", (url, kind) => {
    expect(hostKind(new URL(url))).toBe(kind);
  });

  test("a zone is no part of a URL", () => {
    expect(() => new URL("http://[fe80::1%25eth0]/")).toThrow(TypeError);
  });
});
