import { describe, expect, test } from "vitest";
import { withCode } from "../../test/support/store-contract.js";
import { addressKind, type GateRules, gateUrl, hostKind, type UrlRole } from "./url-gate.js";

const rulesFor = (registry: string, more: Partial<GateRules> = {}): GateRules => ({
  registry: new URL(registry),
  insecure: false,
  inProcess: false,
  authHosts: [],
  insecureHosts: [],
  ...more,
});

const publicRegistry = rulesFor("https://reg.example");
const loopbackRegistry = rulesFor("http://127.0.0.1:5000");

describe("gateUrl", () => {
  test.each<[string, UrlRole, GateRules]>([
    ["https://reg.example/v2/", "registry", publicRegistry],
    ["https://storage.example/blob?sig=1", "redirect", publicRegistry],
    ["https://auth.example/token", "realm", publicRegistry],
    ["http://127.0.0.1:5000/token", "realm", loopbackRegistry],
    ["http://127.0.0.1:9000/bucket", "redirect", loopbackRegistry],
    ["http://localhost:9000/upload", "upload", loopbackRegistry],
    ["https://10.0.0.5:5000/v2/", "registry", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.5:5000/token", "realm", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.6:9000/blob", "redirect", rulesFor("https://10.0.0.5:5000")],
    ["http://reg.lan:5000/v2/", "registry", rulesFor("http://reg.lan:5000", { insecure: true })],
    ["http://store.lan/x", "redirect", rulesFor("http://reg.lan", { insecure: true, insecureHosts: ["store.lan"] })],
    ["https://10.1.1.1/token", "realm", rulesFor("https://reg.example", { authHosts: ["10.1.1.1"] })],
    ["http://registry.invalid/v2/", "registry", rulesFor("http://registry.invalid", { inProcess: true })],
  ])("lets %s through as %s", (url, role, rules) => {
    expect(() => gateUrl(new URL(url), role, rules)).not.toThrow();
  });

  test.each<[string, UrlRole, GateRules]>([
    ["http://reg.lan:5000/v2/", "registry", rulesFor("http://reg.lan:5000")],
    ["http://10.0.0.5/v2/", "registry", rulesFor("http://10.0.0.5")],
    ["http://storage.example/blob", "redirect", publicRegistry],
    ["http://reg.example/v2/", "upload", publicRegistry],
    ["http://auth.example/token", "realm", publicRegistry],
    ["https://user@storage.example/blob", "redirect", publicRegistry],
    ["https://:pass@auth.example/token", "realm", publicRegistry],
    ["file:///etc/passwd", "realm", publicRegistry],
    ["ftp://storage.example/", "redirect", publicRegistry],
    ["https://127.0.0.1/blob", "redirect", publicRegistry],
    ["https://localhost./blob", "redirect", publicRegistry],
    ["https://2130706433/blob", "redirect", publicRegistry],
    ["https://[::1]/token", "realm", publicRegistry],
    ["https://[::ffff:127.0.0.1]/token", "realm", publicRegistry],
    ["https://[::ffff:10.0.0.1]/token", "upload", publicRegistry],
    ["https://[64:ff9b::7f00:1]/token", "upload", publicRegistry],
    ["https://169.254.169.254/latest/meta-data", "upload", publicRegistry],
    ["https://0.0.0.0/", "upload", publicRegistry],
    ["https://[::]/", "realm", publicRegistry],
    ["https://192.168.1.1/", "redirect", publicRegistry],
    ["https://[fd00::1]/", "redirect", publicRegistry],
    ["http://127.0.0.1:5001/token", "realm", loopbackRegistry],
    ["http://169.254.169.254/", "redirect", loopbackRegistry],
    ["https://127.0.0.1:9000/", "redirect", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.5:5001/token", "realm", rulesFor("https://10.0.0.5:5000")],
  ])("refuses %s as %s", (url, role, rules) => {
    expect(() => gateUrl(new URL(url), role, rules)).toThrow(withCode("unsafe-url"));
  });

  test("names the flag for plain http", () => {
    expect(() => gateUrl(new URL("http://reg.lan:5000/"), "registry", rulesFor("http://reg.lan:5000"))).toThrow(
      expect.objectContaining({ hint: "--insecure reg.lan:5000" }),
    );
  });
});

describe("kinds of addresses", () => {
  test.each([
    ["8.8.8.8", "public"],
    ["2606:4700::1111", "public"],
    ["127.9.9.9", "loopback"],
    ["::1", "loopback"],
    ["::ffff:127.0.0.1", "loopback"],
    ["172.31.255.255", "private"],
    ["172.32.0.0", "public"],
    ["100.64.0.1", "private"],
    ["fe80::1", "forbidden"],
    ["255.255.255.255", "forbidden"],
  ])("%s is %s", (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });

  test("a name is judged by its form", () => {
    expect(hostKind(new URL("http://app.localhost:1"))).toBe("loopback");
    expect(hostKind(new URL("http://localhost.example"))).toBe("public");
  });
});
