import { KeyedMutex, runInParts } from "../../src/server/mutex.js";
import type { Storage, Upload } from "../../src/server/storage/storage.js";
import type { Seeded } from "./seeded.js";

const done: Promise<unknown> = Promise.resolve();

interface Waiting {
  readonly go: () => void;
}

/**
 * Lets one call to the storage happen at a time, in an order that a seed decides: so tasks interleave in every way,
 * and the same seed gives the same run. A crash is that nothing that waits goes on, ever.
 */
export class Stepper {
  readonly #random: Seeded;
  #waiting: Waiting[] = [];
  #running: Promise<unknown> = done;
  steps = 0;
  /** Chance that a call fails with a full disk. */
  failures = 0;

  constructor(random: Seeded) {
    this.#random = random;
  }

  get idle(): boolean {
    return this.#waiting.length === 0;
  }

  /** Waits for its turn, and runs a call alone. */
  async step<T>(call: () => Promise<T>): Promise<T> {
    await new Promise<void>((go) => this.#waiting.push({ go }));
    this.steps++;
    // before or after it has happened: a caller can't tell
    const fails = this.#random.chance(this.failures) ? (this.#random.chance(0.5) ? "before" : "after") : null;
    const full = () => Object.assign(new Error("ENOSPC: injected"), { code: "ENOSPC" });
    if (fails === "before") throw full();
    const running = call();
    const ended = running.then(
      () => {
        if (this.#running === ended) this.#running = done;
      },
      () => undefined,
    );
    this.#running = ended;
    const result = await running;
    if (fails === "after") throw full();
    // the process may die after a call and before anybody hears of it
    if (this.#random.chance(0.2)) await new Promise<void>((go) => this.#waiting.push({ go }));
    return result;
  }

  /** One of those that wait goes on; resolves once all has come to rest again. False where none waits. */
  async advance(): Promise<boolean> {
    const [next] = this.#waiting.splice(this.#random.below(this.#waiting.length), 1);
    if (next === undefined) return false;
    next.go();
    await this.settle();
    return true;
  }

  /** What was called runs to its end, and whoever waited for it comes to its next call. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    // what needs no disk has ended already
    for (let running = this.#running; running !== done; running = this.#running) {
      await running;
      if (this.#running === running) this.#running = done;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Whatever waits never goes on. */
  crash(): void {
    this.#waiting = [];
  }
}

/** A storage each of whose calls waits for its turn. Its locks die with the process. */
export function steppedStorage(inner: Storage, stepper: Stepper): Storage {
  const mutex = new KeyedMutex();
  async function* stepwise<T>(source: () => AsyncIterable<T>): AsyncIterable<T> {
    const all: T[] = [];
    await stepper.step(async () => {
      for await (const one of source()) all.push(one);
    });
    yield* all;
  }
  const wrapUpload = (upload: Upload): Upload => ({
    get size() {
      return upload.size;
    },
    get touched() {
      return upload.touched;
    },
    subject: upload.subject,
    append: async (source) => {
      for await (const chunk of source) {
        await stepper.step(() =>
          upload.append(
            (async function* () {
              yield chunk;
            })(),
          ),
        );
      }
    },
    truncate: (size) => stepper.step(() => upload.truncate(size)),
    read: () => upload.read(),
    sync: () => stepper.step(() => upload.sync()),
    commit: (digest) => stepper.step(() => upload.commit(digest)),
    remove: () => stepper.step(() => upload.remove()),
  });
  return {
    open: (options) => stepper.step(() => inner.open(options)),
    close: async () => undefined,
    get: (...key) => stepper.step(() => inner.get(...key)),
    read: (...key) => stepper.step(() => inner.read(...key)),
    put: (...record) => stepper.step(() => inner.put(...record)),
    putIfAbsent: (...record) => stepper.step(() => inner.putIfAbsent(...record)),
    putIfMatch: (...record) => stepper.step(() => inner.putIfMatch(...record)),
    delete: (...key) => stepper.step(() => inner.delete(...key)),
    deleteIfMatch: (...key) => stepper.step(() => inner.deleteIfMatch(...key)),
    list: (...page) => stepper.step(() => inner.list(...page)),
    folders: (under) => stepwise(() => inner.folders(under)),
    blobSize: (digest) => stepper.step(() => inner.blobSize(digest)),
    blobBytes: (...range) => stepwise(() => inner.blobBytes(...range)),
    addBlob: (...blob) => stepper.step(() => inner.addBlob(...blob)),
    adoptBlob: (...blob) => stepper.step(() => inner.adoptBlob(...blob)),
    blobPath: (digest) => stepper.step(() => inner.blobPath(digest)),
    blobs: () => stepwise(() => inner.blobs()),
    condemnedBlobs: () => stepwise(() => inner.condemnedBlobs()),
    reviveBlob: (digest) => stepper.step(() => inner.reviveBlob(digest)),
    condemnBlob: (...blob) => stepper.step(() => inner.condemnBlob(...blob)),
    removeBlob: (...blob) => stepper.step(() => inner.removeBlob(...blob)),
    quarantineBlob: (digest) => stepper.step(() => inner.quarantineBlob(digest)),
    quarantinedBlobs: () => inner.quarantinedBlobs(),
    createUpload: async (...upload) => wrapUpload(await stepper.step(() => inner.createUpload(...upload))),
    openUpload: async (...upload) => {
      const found = await stepper.step(() => inner.openUpload(...upload));
      return found === null ? null : wrapUpload(found);
    },
    countUploads: (repository) => stepper.step(() => inner.countUploads(repository)),
    uploads: () => stepwise(() => inner.uploads()),
    exclusive: (scope, _signal, task) => mutex.run(scope, task),
    shared: ({ scope, parts }, _signal, task) => mutex.share(scope, () => runInParts(mutex, scope, parts, task)),
    sweep: (before) => stepper.step(() => inner.sweep(before)),
    instanceId: async () => null,
  };
}
