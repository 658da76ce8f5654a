// The latest of many things under their keys, bounded in number and in characters: beyond, the oldest go.

const MOST_CHARACTERS = 2 ** 20;

/** @template K, V */
export class Kept {
  /** @type {Map<K, V>} */
  #items = new Map();
  /** @type {Map<K, number>} */
  #sizes = new Map();
  #characters = 0;
  #most;
  /** @type {readonly V[] | null} */
  #list = null;

  /** @param {number} most */
  constructor(most) {
    this.#most = most;
  }

  /** @param {K} key */
  get(key) {
    return this.#items.get(key);
  }

  /** All of them, oldest key first: the same array until something changes. */
  get list() {
    return (this.#list ??= Object.freeze([...this.#items.values()]));
  }

  /**
   * @param {K} key
   * @param {V} item
   * @param {number} [size] in characters; as before when not given
   */
  put(key, item, size = this.#sizes.get(key) ?? 0) {
    this.#characters += size - (this.#sizes.get(key) ?? 0);
    this.#items.set(key, Object.freeze(item));
    this.#sizes.set(key, size);
    this.#list = null;
    for (const oldest of this.#items.keys()) {
      if (this.#items.size <= this.#most && this.#characters <= MOST_CHARACTERS) return;
      this.#characters -= this.#sizes.get(oldest) ?? 0;
      this.#items.delete(oldest);
      this.#sizes.delete(oldest);
    }
  }
}
