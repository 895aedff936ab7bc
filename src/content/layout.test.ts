import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeStore } from "../../test/support/store-contract.js";
import { LayoutStore } from "./layout.js";

for (const durability of ["full", "fast"] as const) {
  describeStore(`a layout on disk (${durability})`, async () => {
    const directory = await mkdtemp(join(tmpdir(), "lading-layout-"));
    return {
      store: LayoutStore.open(join(directory, "store"), { durability }),
      close: async () => await rm(directory, { recursive: true }),
    };
  });
}
