// The box for a token.

import { elementOf, setText } from "../client/view/element_of.js";

const WHAT =
  "A token says whose jobs you may see. Make one where the hub's secret is, or open a link that carries one.";
const COMMAND = "milepost token --tenant acme --scope watch --scope cancel";

/** Asks for a token; what is typed is sent nowhere by the form itself. */
export class SignIn {
  #field = elementOf("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
    placeholder: "eyJ…",
    "aria-describedby": "token-why",
  });
  #why = elementOf("p", { class: "refused", id: "token-why", role: "alert" });
  element = elementOf("section", { class: "sign-in panel" });

  /** @param {(token: string) => void} onToken */
  constructor(onToken) {
    const form = elementOf(
      "form",
      {},
      elementOf("label", { for: "token" }, "Token"),
      elementOf("div", { class: "row" }, this.#field, elementOf("button", { class: "main" }, "Sign in")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#field.value.trim();
      this.#field.value = "";
      if (token) onToken(token);
    });
    this.element.append(
      elementOf("h1", {}, "Sign in"),
      this.#why,
      elementOf("p", { class: "quiet" }, WHAT),
      form,
      elementOf("pre", { class: "example", tabindex: 0, "aria-label": "the command that makes a token" }, COMMAND),
      elementOf("p", { class: "quiet small" }, "It stays in this tab, and is sent to this hub only."),
    );
  }

  /** @param {string} why the hub's own words, or nothing */
  show(why) {
    setText(this.#why, why);
    this.#why.hidden = why === "";
  }

  focus() {
    this.#field.focus();
  }
}
