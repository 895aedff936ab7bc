import { request } from "node:http";
import type { Place, TagState } from "./place.js";

/** What Docker has, asked over its socket. */
export class DockerView implements Place {
  readonly name = "docker";
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async read(image: string): Promise<ReadonlyMap<string, TagState>> {
    const states = new Map<string, TagState>();
    for (const { Id, RepoTags } of await this.#images()) {
      for (const name of RepoTags ?? []) {
        const at = name.lastIndexOf(":");
        if (name.slice(0, at) === image)
          states.set(name.slice(at + 1), { id: Id, engineId: Id, digest: Id, children: [], broken: null });
      }
    }
    return states;
  }

  async names(): Promise<readonly string[]> {
    return (await this.#images()).flatMap(({ RepoTags }) => RepoTags ?? []).filter((name) => name !== "<none>:<none>");
  }

  #images(): Promise<readonly { readonly Id: string; readonly RepoTags: readonly string[] | null }[]> {
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath: this.#socketPath, path: "/images/json", timeout: 60_000 }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        answer.on("error", reject);
        answer.on("end", () => {
          try {
            resolve(JSON.parse(text));
          } catch (error) {
            reject(error);
          }
        });
      });
      asked.on("timeout", () => asked.destroy(new Error("Docker does not answer /images/json")));
      asked.on("error", reject);
      asked.end();
    });
  }
}
