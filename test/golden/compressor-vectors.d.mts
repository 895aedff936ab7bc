/** Digests of compressed output for fixed inputs, with the compressor that made them. */
export declare const goldenVectors: {
  readonly compressorId: string;
  readonly digests: Readonly<Record<string, string>>;
};
export declare function goldenInputs(): [name: string, bytes: Buffer][];
