import type { LocalImage } from "./local-image.js";
import type { RemoteImage } from "./remote-image.js";

/** Statuses of a layer that is pushed, in the order in which they come. */
export type PushStatus = "waiting" | "exporting" | "compressing" | "checking" | "uploading";
/** Statuses of a layer that is pulled, in the order in which they come. */
export type PullStatus = "waiting" | "checking" | "downloading" | "verifying" | "loading";
/** How a layer of a successful transfer ends, exactly once. */
export type FinalStatus = "done" | "exists" | "mounted";
/** `retrying` returns to the interrupted status at its high-water mark. */
export type StepStatus = PushStatus | PullStatus | "retrying" | FinalStatus;

/** The transfer from a registry to the local side begins. */
export interface ImageProgressPull {
  readonly src: RemoteImage;
  readonly dst: LocalImage;
}

/** The transfer from the local side to a registry begins. */
export interface ImageProgressPush {
  readonly src: LocalImage;
  readonly dst: RemoteImage;
}

/** One step of one layer. */
export interface ImageProgressStep {
  /**
   * Opaque, constant and unique in a transfer: the compressed digest where it is known at the first step,
   * else the diff ID.
   */
  readonly layerId: string;
  /** A short text for people. */
  readonly message: string;
  readonly status: StepStatus;
  /** Bytes of this status that are done. Rises within a status. */
  readonly current: number;
  /** Bytes of this status in all. Rises where it was not known before. */
  readonly total: number;
}

/**
 * Receives the progress of a transfer. Derive from it, or give any object with some of these methods.
 * The methods are not awaited; one that throws, or whose promise rejects, stops the transfer (`callback-failed`).
 */
export abstract class AbstractDockerImageProgress {
  abstract pull(data: ImageProgressPull): void | Promise<void>;
  abstract push(data: ImageProgressPush): void | Promise<void>;
  abstract step(data: ImageProgressStep): void | Promise<void>;
}

/** The same three calls as one union. */
export type ImageProgressEvent =
  | ({ readonly type: "pull" } & ImageProgressPull)
  | ({ readonly type: "push" } & ImageProgressPush)
  | ({ readonly type: "step" } & ImageProgressStep);

/** An object with some of the methods, or a function of the union. */
export type ImageProgress =
  | Partial<Pick<AbstractDockerImageProgress, "pull" | "push" | "step">>
  | ((event: ImageProgressEvent) => void | Promise<void>);

/**
 * Where the parts of a transfer report what they do. They may call it as often as they like: the operation
 * behind it keeps the order of statuses, drops what is too frequent and calls the user.
 */
export interface LayerProgress {
  /**
   * @param layerId The digest or diff ID by which this layer is reported.
   * @param current Bytes of this status that are done.
   * @param total Bytes of this status in all; null where they are not known (yet).
   */
  report(layerId: string, status: Exclude<StepStatus, FinalStatus>, current: number, total: number | null): void;
  /**
   * What was reported as `layerId` (a diff ID) is the blob with this compressed digest: later reports may use
   * either, the user sees the first.
   */
  identify?(layerId: string, digest: string): void;
}
