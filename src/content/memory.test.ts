import { describeStore } from "../../test/support/store-contract.js";
import { MemoryStore } from "./memory.js";

describeStore("a store in memory", async () => ({ store: new MemoryStore(), close: async () => {} }));
