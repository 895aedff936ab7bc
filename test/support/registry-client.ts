import { RegistryClient, type RegistryClientOptions } from "../../src/registry/client.js";
import { type ManualClock, manualClock } from "./manual-clock.js";

/** A client of a test's registry: nobody asks, waits are over at once, the jitter is always half. */
export function testClient(
  url: string,
  options: Partial<RegistryClientOptions> = {},
): { readonly client: RegistryClient; readonly clock: ManualClock; readonly warnings: readonly string[] } {
  const clock = manualClock();
  const warnings: string[] = [];
  const client = new RegistryClient({
    url,
    fetchCredentials: async () => null,
    insecure: false,
    perHost: 8,
    env: {},
    clock,
    random: () => 0.5,
    onWarning: (text) => warnings.push(text),
    ...options,
  });
  return { client, clock, warnings };
}
