export { type Client, type OpenClientOptions, openClient } from "./client.js";
export type { ClusterConfig, Concurrency, Config, ConfigInput, RegistryValue } from "./config/config.js";
export type { ProblemKind } from "./content/audit.js";
export type { ImageFormat } from "./content/layer-cache.js";
export type { EngineAttempt, EngineImage, EngineKind } from "./engines/engine.js";
export {
  type ErrorCode,
  errorCodes,
  isLadingError,
  LadingError,
  type LadingErrorDetails,
  type LadingErrorJson,
  type Side,
} from "./errors.js";
export { LocalImage, type LocalImageJson } from "./image/local-image.js";
export {
  type LocalImageOptions,
  type NameContext,
  Parser,
  type RemoteImageOptions,
  type ToRemoteOptions,
} from "./image/parser.js";
export {
  AbstractDockerImageProgress,
  type FinalStatus,
  type ImageProgress,
  type ImageProgressEvent,
  type ImageProgressPull,
  type ImageProgressPush,
  type ImageProgressStep,
  type PullStatus,
  type PushStatus,
  type StepStatus,
} from "./image/progress.js";
export { type ProgressEvents, type ProgressEventsOptions, progressEvents } from "./image/progress-events.js";
export {
  type ExternalImageOptions,
  type NeuroImageOptions,
  RemoteImage,
  type RemoteImageFields,
  type RemoteImageJson,
} from "./image/remote-image.js";
export { Tag, type TagJson, type TagOption } from "./image/tag.js";
export type { Images } from "./images.js";
export type { EngineChoice, LocalImages, WaitOptions } from "./local-images.js";
export type { Credential, CredentialRequest, FetchCredentials, RepositoryAction } from "./oci/credential.js";
export type { Digest } from "./oci/digest.js";
export type { Platform } from "./oci/platform.js";
export type { WireHandler, WireRequest, WireResponse } from "./oci/wire.js";
export type { BlobCounts } from "./operations/blob-counts.js";
export type { CallOptions } from "./operations/context.js";
export type { CopyAllResult, CopyJson, CopyOptions, CopyResult } from "./operations/copy.js";
export type { DoctorCheck, DoctorJson, DoctorOptions, DoctorResult } from "./operations/doctor.js";
export type { ImportJson, ImportOptions, ImportResult, ImportSource } from "./operations/import.js";
export type {
  InspectedLayer,
  InspectedPlatform,
  InspectJson,
  InspectOptions,
  InspectResult,
} from "./operations/inspect.js";
export type { LoadedImage } from "./operations/into-engine.js";
export type { ListJson, ListOptions, ListResult } from "./operations/list.js";
export type { LoadJson, LoadOptions, LoadResult, LoadSource } from "./operations/load.js";
export type { LocalListJson, LocalListOptions, LocalListResult } from "./operations/local.js";
export type { LoginOptions, LoginResult, LogoutResult } from "./operations/login.js";
export type { Pruned, PrunedKind, PruneJson, PruneOptions, PruneResult } from "./operations/prune.js";
export type { PullOptions } from "./operations/pull.js";
export type { PullJson, PullResult, ReceivedCounts } from "./operations/pull-result.js";
export type { PushOptions } from "./operations/push.js";
export type { PushJson, PushResult } from "./operations/push-result.js";
export type { Removal, RemovalJson, RemovalOptions } from "./operations/removal-plan.js";
export type { RemovalJsonResult, RemovalResult } from "./operations/remove.js";
export type { RepairAction, RepairedBlob, RepairJson, RepairOptions, RepairResult } from "./operations/repair.js";
export type { SaveFormat, SaveJson, SaveOptions, SaveResult, SaveTarget } from "./operations/save.js";
export type { PlatformOption } from "./operations/selection.js";
export type { DigestJson, DigestResult, PlatformedOptions, SizeJson, SizeResult } from "./operations/size.js";
export type { TagInfoJson, TagInfoResult, TagRow, TagsJson, TagsOptions, TagsResult } from "./operations/tags.js";
export type { ProblemJson, VerifyJson, VerifyOptions, VerifyResult } from "./operations/verify.js";
