/** `text/event-stream`, as it comes: text in, in any pieces; the `data` of each event out. */
export class SseParser {
  #rest = "";
  /** @type {string[]} */
  #data = [];

  /**
   * @param {string} text
   * @returns {string[]} of the events that this piece completed
   */
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line));
  }

  /**
   * @param {string} line
   * @returns {string[]}
   */
  #line(line) {
    if (line === "") {
      const data = this.#data.splice(0);
      return data.length ? [data.join("\n")] : [];
    }
    const data = /^data(?:: ?(.*))?$/s.exec(line);
    if (data) this.#data.push(data[1] ?? "");
    return [];
  }
}
