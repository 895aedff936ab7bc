import { describe } from "vitest";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { describeClient } from "./client-suite.js";

const program = await findDockerRegistry();

if (program === null) {
  describe.skip("Debian's docker-registry (skipped: the program docker-registry is not installed)", () => {});
} else {
  describeClient("Debian's docker-registry", { deletesTags: false, sha512: false }, () => startDockerRegistry(program));
}
