// A registry as a value. First without a port, as a test would use it; then behind a port, for docker and everybody else.
import { createRegistry, listen } from "lading/registry";

const registry = createRegistry({ storage: "memory" });
try {
  const answer = await registry.fetch(new Request("http://registry.test/v2/"));
  console.log("without a port:", answer.status, answer.headers.get("docker-distribution-api-version"));

  const server = await listen(registry, { host: "127.0.0.1", port: 0 });
  try {
    const catalog = await fetch(`${server.url}/v2/_catalog`);
    console.log("behind a port:", catalog.status, await catalog.json());
  } finally {
    await server.close();
  }
} finally {
  await registry.close();
}
