import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import { type EngineEndpoint, endpointText, parseEndpoint, requireSafeEndpoint } from "./endpoint.js";
import { type SshEndpoint, sshArguments } from "./ssh-socket.js";

const parse = (text: string, options = {}): EngineEndpoint =>
  parseEndpoint(text, { origin: "DOCKER_HOST", ...options });
const code = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    return isLadingError(error) ? error.code : `no LadingError: ${String(error)}`;
  }
  return "none";
};

describe("parseEndpoint", () => {
  it.each([
    ["unix:///var/run/docker.sock", { kind: "socket", path: "/var/run/docker.sock" }],
    ["/var/run/docker.sock", { kind: "socket", path: "/var/run/docker.sock" }],
    ["npipe:////./pipe/docker_engine", { kind: "socket", path: "\\\\.\\pipe\\docker_engine" }],
    ["tcp://127.0.0.1:4243", { kind: "tcp", host: "127.0.0.1", port: 4243, tls: null }],
    ["tcp://lab", { kind: "tcp", host: "lab", port: 2375, tls: null }],
    ["tcp://[::1]:2375", { kind: "tcp", host: "::1", port: 2375, tls: null }],
    ["http://lab:80", { kind: "tcp", host: "lab", port: 80, tls: null }],
  ])("reads %s", (text, expected) => {
    expect(parse(text)).toEqual(expected);
  });

  it("takes the TLS port where TLS is wanted", () => {
    const tls = { ca: "/c/ca.pem", cert: null, key: null, verify: true };
    expect(parse("tcp://lab", { tls })).toEqual({ kind: "tcp", host: "lab", port: 2376, tls });
    expect(parse("https://lab")).toMatchObject({ port: 443, tls: { verify: true } });
  });

  it.each([
    "",
    "docker.sock",
    "unix://relative.sock",
    "ftp://host",
    "fd://",
    "tcp://",
    "tcp://user@host:1",
    "tcp://host:1/path",
    "tcp://host:1?x=y",
    "npipe:////./pipe/../x",
    "ssh://user:secret@host",
    "ssh://host?x=y",
    "ssh://host#x",
    "ssh://-oProxyCommand=touch",
    "ssh://-l@host",
    "ssh://host/run/x;touch",
    "ssh://host/$(touch)",
    "ssh://host/`x`",
    "ssh://host/a'b",
    'ssh://host/a"b',
    "ssh://ho st",
  ])("refuses %j", (text) => {
    expect(code(() => parse(text))).toBe("config-invalid");
  });

  it("throws nothing but LadingErrors, and never gives ssh an argument that it reads as an option", () => {
    const text = fc.oneof(
      fc.string(),
      fc.string().map((rest) => `ssh://${rest}`),
      fc.tuple(fc.string(), fc.string()).map(([user, host]) => `ssh://${user}@${host}/run/docker.sock`),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        let endpoint: EngineEndpoint;
        try {
          endpoint = parse(candidate);
        } catch (error) {
          return isLadingError(error);
        }
        if (endpoint.kind !== "ssh") return true;
        const list = sshArguments(endpoint);
        const host = list.indexOf("--") + 1;
        const user = list.indexOf("-l") + 1;
        return !list[host]?.startsWith("-") && (user === 0 || !list[user]?.startsWith("-"));
      }),
    );
  });
});

describe("sshArguments", () => {
  it("is an exact list, with -- before the host", () => {
    const endpoint = parse("ssh://bob@lab.example:2222/run/user/1000/docker.sock") as SshEndpoint;
    expect(sshArguments(endpoint)).toEqual([
      ...["-T", "-o", "ConnectTimeout=30", "-l", "bob", "-p", "2222", "--", "lab.example"],
      ...["docker", "--host", "unix:///run/user/1000/docker.sock", "system", "dial-stdio"],
    ]);
  });

  it("runs podman for Podman, with its identity", () => {
    const endpoint = parse("ssh://lab/run/podman.sock", { program: "podman", identityFile: "/k" }) as SshEndpoint;
    expect(sshArguments(endpoint).slice(3)).toEqual([
      ...["-i", "/k", "--", "lab", "podman", "--url", "unix:///run/podman.sock", "system", "dial-stdio"],
    ]);
  });
});

describe("endpointText", () => {
  it.each([
    "unix:///var/run/docker.sock",
    "npipe:////./pipe/docker_engine",
    "http://[::1]:2375",
    "ssh://bob@lab:22/run/d.sock",
  ])("shows %s as it was given", (text) => {
    expect(endpointText(parse(text))).toBe(text);
  });
});

describe("requireSafeEndpoint", () => {
  const check = (text: string, insecure: readonly string[] = [], tls = false): string =>
    code(() => {
      const material = { ca: null, cert: null, key: null, verify: true };
      requireSafeEndpoint(parse(text, tls ? { tls: material } : {}), insecure, "DOCKER_HOST");
    });

  it("refuses an engine on another host without TLS", () => {
    expect(check("tcp://10.0.0.1:2375")).toBe("unsafe-url");
    expect(check("tcp://127.example:2375")).toBe("unsafe-url");
  });

  it("takes loopback, TLS, sockets, ssh, and what is listed", () => {
    expect(check("tcp://127.0.0.1:2375")).toBe("none");
    expect(check("tcp://localhost:2375")).toBe("none");
    expect(check("tcp://10.0.0.1:2376", [], true)).toBe("none");
    expect(check("ssh://lab")).toBe("none");
    expect(check("tcp://10.0.0.1:2375", ["10.0.0.1:2375"])).toBe("none");
    expect(check("tcp://10.0.0.1:2375", ["10.0.0.1:9999"])).toBe("unsafe-url");
  });
});
