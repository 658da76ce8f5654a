/** What went wrong between this client and a hub. */
export class MilepostError extends Error {
  /**
   * @param {number} status the HTTP status or WebSocket close code; 0 when there was no answer
   * @param {string} code a word for programs: the hub's, or `network`, `timeout`, `bad_answer`
   * @param {string} message the hub's own words where it had some
   */
  constructor(status, code, message) {
    super(message);
    this.name = "MilepostError";
    this.status = status;
    this.code = code;
  }
}

/** The hub has said nothing for too long. */
export const silence = () => new MilepostError(0, "idle", "the hub is silent");

/** A handle's `error`: its job cannot be watched, or took longer than `jobTimeout`. */
export class FailureEvent extends Event {
  /** @param {MilepostError} error */
  constructor(error) {
    super("error");
    this.error = error;
  }
}
