import { describe, expect, it } from "vitest";
import { type Digest, digestOf } from "../oci/digest.js";
import { chainIds, layerNames, legacyLayerIds } from "./legacy-layer-id.js";

/** What Docker 20.10 said of an image of three layers (labels, and an environment with characters that Go escapes). */
const inspected = {
  Comment: "",
  Created: "2026-11-24T03:07:07.389018695Z",
  Container: "ade03729ccea3e42ef73de9b21b1feeed29d0a570236c686b5dda41ff138aeea",
  ContainerConfig: {
    Hostname: "ade03729ccea",
    Domainname: "",
    User: "",
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "X=<&>"],
    Cmd: ["/bin/sh", "-c", "#(nop) ", "LABEL a=b"],
    Image: "sha256:21b99823663a93cca0d59612fd5ce0eead9bb0a1851c42473886608b96b7d6d0",
    Volumes: null,
    WorkingDir: "",
    Entrypoint: null,
    OnBuild: null,
    Labels: {
      a: "b",
    },
  },
  DockerVersion: "20.10.24+dfsg1",
  Author: "",
  Config: {
    Hostname: "",
    Domainname: "",
    User: "",
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "X=<&>"],
    Cmd: null,
    Image: "sha256:21b99823663a93cca0d59612fd5ce0eead9bb0a1851c42473886608b96b7d6d0",
    Volumes: null,
    WorkingDir: "",
    Entrypoint: null,
    OnBuild: null,
    Labels: {
      a: "b",
    },
  },
  Architecture: "amd64",
  Os: "linux",
  RootFS: {
    Type: "layers",
    Layers: [
      "sha256:be0ea8fd2b9b7094b8ceae72d8d6876473e5ed5dd20397a7bde9c6f6d3416b59",
      "sha256:3fb183b7772f51559fa381167d637f5188bd2799b8e668ba2fcfbf8955d089f9",
      "sha256:9337b26fc969b937766641ef2035a0b93cb276ea3eb18a25bf2d0f91a4f16574",
    ],
  },
};
const diffIds = inspected.RootFS.Layers as readonly string[] as readonly Digest[];
/** The folders of its export, lowest layer first. */
const folders = [
  "6c2d8b4f05bb2ae0cf036a24df189f3214728e059f55142d3ba7a054ce5764ad",
  "051f1260385bf3e23a7950a539e726e93fbd18eb725b291d2bc744ff08bff14e",
  "10f27dac07e011c3cebe67f286187086abaae3fccc5dcb1b96f686e09c2281f7",
];

describe("legacyLayerIds", () => {
  it("names the folders that Docker 20.10 wrote", () => {
    expect([...legacyLayerIds(diffIds, inspected, 0)]).toEqual(
      folders.map((folder, index) => [folder, diffIds[index]]),
    );
  });

  it("adds the folders that Docker 20.10 wrote with TZ=Europe/Berlin", () => {
    const both = legacyLayerIds(diffIds, inspected, -60);
    expect([...both.keys()]).toEqual([
      ...folders,
      "ab03fdc16b44d069569236717e81762c5d2682bcf42b1904fc499e5a3e71b357",
      "ea80e9d2458acebde16fc9953e02bd5b8bc8293c363418c51995f8861122911e",
      "3c0f19e91e8844dbaa49a494f0ad9e3ec3efa8d5fcca8d0312d1ee50ee06e187",
    ]);
  });

  it("knows nothing of an image without layers", () => {
    expect(legacyLayerIds([], inspected, 0).size).toBe(0);
  });
});

describe("layerNames", () => {
  it("covers the ways of Docker 25 and of Podman", () => {
    const names = layerNames(diffIds, inspected, 0);
    const [first] = diffIds;
    const hex = first?.slice(7);
    expect(names.get(`${hex}.tar`)).toBe(first);
    expect(names.get(`blobs/sha256/${hex}`)).toBe(first);
    expect(names.get(`${folders[0]}/layer.tar`)).toBe(first);
  });
});

describe("chainIds", () => {
  it("hashes each layer with the chain below", () => {
    const [a, b] = [digestOf("a"), digestOf("b")];
    expect(chainIds([a, b])).toEqual([a, digestOf(`${a} ${b}`)]);
    expect(chainIds([])).toEqual([]);
  });
});
