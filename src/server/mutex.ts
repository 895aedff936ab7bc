interface Queue {
  /** Over once everything that was asked for has ended. */
  all: Promise<unknown>;
  /** Over once the last one that runs alone has ended. */
  alone: Promise<unknown>;
  users: number;
}

/**
 * Runs tasks of the same key one after the other, of different keys side by side. Tasks that share their key run
 * side by side too, never beside one that runs alone; nobody overtakes those who wait to run alone.
 */
export class KeyedMutex {
  readonly #queues = new Map<string, Queue>();

  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const queue = this.#enter(key);
    const result = queue.all.then(task);
    queue.alone = ended(result);
    queue.all = queue.alone;
    return await this.#leaveAfter(key, queue, result);
  }

  async share<T>(key: string, task: () => Promise<T>): Promise<T> {
    const queue = this.#enter(key);
    const result = queue.alone.then(task);
    queue.all = Promise.all([queue.all, ended(result)]);
    return await this.#leaveAfter(key, queue, result);
  }

  #enter(key: string): Queue {
    const queue = this.#queues.get(key) ?? { all: Promise.resolve(), alone: Promise.resolve(), users: 0 };
    this.#queues.set(key, queue);
    queue.users++;
    return queue;
  }

  async #leaveAfter<T>(key: string, queue: Queue, result: Promise<T>): Promise<T> {
    try {
      return await result;
    } finally {
      queue.users--;
      if (queue.users === 0) this.#queues.delete(key);
    }
  }
}

/** Runs a task alone among those that name one of the same parts of a key. In one order, so that no two wait for each other. */
export async function runInParts<T>(
  mutex: KeyedMutex,
  key: string,
  parts: readonly string[],
  task: () => Promise<T>,
): Promise<T> {
  const steps = [...new Set(parts)].sort().reverse();
  return await steps.reduce((inner, part) => () => mutex.run(`${key}:${part}`, inner), task)();
}

function ended(task: Promise<unknown>): Promise<void> {
  return task.then(
    () => undefined,
    () => undefined,
  );
}
