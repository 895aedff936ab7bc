import { createHash } from "node:crypto";

/**
 * Digests of compressed output for fixed inputs. They are part of every image that Lading compresses: a change here means that images
 * pushed before get another digest, and needs a new `compressorId`.
 */
export const goldenVectors = {
  compressorId: "zlib-streams-1.0.4/1/1MiB",
  digests: {
    empty: "sha256:30e6fa98fb48c2b132824d1ac5e2243c0be9e9082ff32598d34d7687ca7f6c7f",
    "one byte": "sha256:7d705bfee2a0063d0274252759512c33cc0f6b698c815b4f5416603a9f3881f9",
    "zeros of a block": "sha256:5f8354db391a662f11ef9297125a63a53c76d026dd08aff32f97f19ac6a78a29",
    "a block and a byte": "sha256:904ee73936c1334dbe479cba1043b072ff03913ceed757ecd19a4f5f637d8d0d",
    "a full last byte": "sha256:2e271f9d0c12c01649bdaf752c406ef2f7bdee66b556574f9dcf99c316108918",
    "six bits over": "sha256:767c9b91ff044bb3e80b30b253d6ba1089774e434c3103247d575b85594bac19",
    "seven bits over": "sha256:11320011adb6d4cbda1d73ccf84015bce9ea4c76ca9568258f182bd355ce7f67",
    lines: "sha256:e4c5c061332e915ec2db4957b79163fdd4be261f784b5424a3bebc6c534a978c",
    noise: "sha256:9b35a33738105ac36cb83a87dd05c1cf911e85fbd6e2ce2d6d48cce12c8f3e5b",
    mixed: "sha256:d4b766da4a8d0d087322b844b382f986ad8c38e8ca3cb4019c1131d57f436a1c",
  },
};

/** Fixed bytes from a hash chain: text-like lines, so that there is something to find for a compressor. */
function lines(seed, size) {
  const parts = [];
  let state = createHash("sha256").update(seed).digest();
  for (let have = 0; have < size; ) {
    const line = `${state.toString("hex").slice(0, state[0] % 60)} usr/lib/${state[1] % 16}/${state.toString("base64")}\n`;
    parts.push(line);
    have += line.length;
    state = createHash("sha256").update(state).digest();
  }
  return Buffer.from(parts.join("")).subarray(0, size);
}

function noise(seed, size) {
  const parts = [];
  let state = createHash("sha512").update(seed).digest();
  for (let have = 0; have < size; have += 64) {
    parts.push(state);
    state = createHash("sha512").update(state).digest();
  }
  return Buffer.concat(parts).subarray(0, size);
}

/** @returns {[name: string, bytes: Buffer][]} */
export function goldenInputs() {
  const mixed = Buffer.concat([
    lines("mixed", 700_000),
    noise("mixed", 600_000),
    Buffer.alloc(900_000),
    lines("mixed", 700_000),
  ]);
  return [
    ["empty", Buffer.alloc(0)],
    ["one byte", Buffer.from("x")],
    ["zeros of a block", Buffer.alloc(1024 * 1024)],
    ["a block and a byte", lines("border", 1024 * 1024 + 1)],
    // What is compressed ends at several places of its last byte, before the border is made.
    ["a full last byte", lines("lines", 32)],
    ["six bits over", lines("lines", 138)],
    ["seven bits over", lines("lines", 82)],
    ["lines", lines("lines", 3_000_000)],
    ["noise", noise("noise", 1_500_000)],
    ["mixed", mixed],
  ];
}
