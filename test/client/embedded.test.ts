import { createRegistry, listen } from "../../src/server/index.js";
import { describeClient } from "./client-suite.js";

const abilities = { deletesTags: true, sha512: true };

describeClient("the embedded registry in memory, without a port", abilities, async () => {
  const registry = createRegistry({ storage: "memory" });
  return { url: "http://registry.invalid", handler: registry.handle, close: () => registry.close() };
});

describeClient("the embedded registry over HTTP", abilities, async () => {
  const registry = createRegistry({ storage: "memory" });
  const { url, close } = await listen(registry, { port: 0 });
  return {
    url,
    close: async () => {
      await close(0);
      await registry.close();
    },
  };
});
