/** @typedef {{ loc: readonly (string | number)[], msg: string }} Reason where in what was sent, and what is wrong there */

/** What went wrong between this client and a hub. */
export class MilepostError extends Error {
  name = "MilepostError";

  /**
   * @param {number} status the HTTP status or WebSocket close code; 0 when there was no answer
   * @param {string} code a word for programs: the hub's, or `network`, `timeout`, `bad_answer`
   * @param {string} message the hub's own words where it had some
   * @param {readonly Reason[]} [reasons] each thing that is wrong with what was sent, where the hub told them
   */
  constructor(status, code, message, reasons = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.reasons = reasons;
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
