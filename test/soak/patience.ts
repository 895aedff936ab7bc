/** What was waited for did not come in time. */
export class PatienceError extends Error {
  constructor(what: string, milliseconds: number) {
    super(`waited ${milliseconds / 1000} s for ${what}`);
  }
}

/** Waits for something and no longer: no wait of the soak is without an end, and each says what it was for. */
export async function within<T>(what: string, milliseconds: number, awaited: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new PatienceError(what, milliseconds)), milliseconds);
  });
  try {
    return await Promise.race([awaited, expired]);
  } finally {
    clearTimeout(timer);
    // It may still fail, when nobody waits any more.
    awaited.catch(() => undefined);
  }
}
