import { defineConfig } from "vitest/config";

/** One project per suite; what a suite needs beside Node is started by its own setup, or it is skipped with the reason. */
const project = (name: string, include: string[], extra: Record<string, unknown> = {}) => ({
  test: { name, include, testTimeout: 60_000, hookTimeout: 120_000, ...extra },
});

export default defineConfig({
  test: {
    projects: [
      project("unit", ["src/**/*.test.ts", "test/*.test.ts"]),
      project("fuzz", ["test/fuzz/**/*.test.ts"]),
      project("sdk", ["test/sdk/**/*.test.ts"]),
      project("threats", ["test/threats/**/*.test.ts"], { testTimeout: 120_000, globalSetup: ["test/cli/build.ts"] }),
      project("faults", ["test/faults/**/*.test.ts"], { testTimeout: 120_000, globalSetup: ["test/cli/build.ts"] }),
      project("conformance", ["test/conformance/**/*.test.ts"]),
      project("client", ["test/client/**/*.test.ts"]),
      project("cli", ["test/cli/**/*.test.ts"], { testTimeout: 120_000, globalSetup: ["test/cli/build.ts"] }),
      project("package", ["test/package/**/*.test.ts"], { testTimeout: 300_000 }),
      project("engines", ["test/engines/**/*.test.ts"], {
        testTimeout: 300_000,
        hookTimeout: 300_000,
        fileParallelism: false,
        globalSetup: ["test/cli/build.ts"],
      }),
      project("interop", ["test/interop/**/*.test.ts"], {
        testTimeout: 300_000,
        hookTimeout: 300_000,
        fileParallelism: false,
        globalSetup: ["test/cli/build.ts"],
      }),
    ],
  },
});
