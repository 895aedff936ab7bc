import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { PullJson } from "../../src/operations/pull-result.js";
import type { PushJson } from "../../src/operations/push-result.js";
import { Machine } from "../cli/machine.js";
import { conforms } from "../cli/schema.js";
import type { EngineUser } from "./engine-users.js";

/** Somebody with a home of their own who uses the built command line with one engine and one registry. */
export class Workplace {
  readonly home: string;
  readonly #machine: Machine;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(machine: Machine, env: Readonly<Record<string, string>>) {
    this.home = machine.home;
    this.#machine = machine;
    this.#env = env;
  }

  /** @param engine Null: Lading's own store. */
  static async create(engine: Pick<EngineUser, "env"> | null, registryUrl: string): Promise<Workplace> {
    const registry = { LADING_CLUSTER: "main", LADING_REGISTRY_URL: registryUrl };
    return new Workplace(await Machine.create(), { ...registry, ...engine?.env });
  }

  /** Where Lading keeps what it has seen, and its own images. */
  get store(): string {
    return join(this.home, ".local", "share", "lading", "store");
  }

  async push(...args: string[]): Promise<PushJson> {
    return (await this.#json("push", args)) as PushJson;
  }

  async pull(...args: string[]): Promise<PullJson> {
    return (await this.#json("pull", args)) as PullJson;
  }

  /** As after a long time, or on another machine. */
  async forget(): Promise<void> {
    await rm(this.store, { recursive: true });
  }

  async remove(): Promise<void> {
    await this.#machine.remove();
  }

  async #json(verb: string, args: readonly string[]): Promise<unknown> {
    const { code, stdout, stderr } = await this.#machine.lading([verb, ...args, "--json"], { env: this.#env });
    if (code !== 0) throw new Error(`lading ${verb} ${args.join(" ")} ended with ${code}\n${stderr}`);
    return conforms(verb, JSON.parse(stdout));
  }
}
