/**
 * Markdown of a model → HTML that the page may show. DOMPurify comes last, and only what it returns can become HTML:
 * the page's Content-Security-Policy allows no other Trusted Types policy than its own.
 *
 * No text of a model makes the browser fetch anything: HTML is shown as text, an image as its words and its address,
 * and a link is followed by a click alone.
 */

import DOMPurify, { type Config } from "dompurify";
import MarkdownIt from "markdown-it";
import type { TrustedHTML } from "trusted-types/lib";
import { highlighted } from "./highlight.ts";

const ALLOWED: Config & { RETURN_TRUSTED_TYPE: true } = {
  ALLOWED_TAGS: [
    ...["a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"],
    ...["s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ],
  ALLOWED_ATTR: ["class", "href", "rel", "start", "target"],
  // Values of every other attribute have to look like such an address too, unless the attribute is said to be safe.
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["rel", "start", "target"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_TRUSTED_TYPE: true,
};

// The first call makes the policy: its name is taken before anything else on the page could take it.
DOMPurify.sanitize("<p></p>", ALLOWED);

const markdown = new MarkdownIt("default", {
  html: false,
  linkify: true,
  breaks: true,
  highlight: (code, language) => highlighted(code, language),
});
markdown.validateLink = (url) => /^(?:https?|mailto):/i.test(url.trim());
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

const { rules } = markdown.renderer;
rules["link_open"] = (tokens, place, options, _environment, self) => {
  tokens[place]?.attrSet("target", "_blank");
  tokens[place]?.attrSet("rel", "noopener noreferrer");
  return self.renderToken(tokens, place, options);
};
rules["image"] = (tokens, place) => {
  const words = `${tokens[place]?.content ?? ""} (${tokens[place]?.attrGet("src") ?? ""})`;
  return `<span class="image-text">${markdown.utils.escapeHtml(words.trim())}</span>`;
};
for (const cell of ["th_open", "td_open"]) {
  // The alignment comes as a style attribute, which the page's policy does not allow.
  rules[cell] = (tokens, place, options, _environment, self) => {
    const token = tokens[place];
    const side = /text-align:(\w+)/.exec(String(token?.attrGet("style") ?? ""))?.[1];
    if (token !== undefined) token.attrs = side === undefined ? null : [["class", `align-${side}`]];
    return self.renderToken(tokens, place, options);
  };
}

/** The HTML of a block of Markdown. */
export function markdownHtml(source: string): TrustedHTML {
  return DOMPurify.sanitize(markdown.render(source), ALLOWED);
}

/** The HTML of code, with its words coloured where the language is known. */
export function codeHtml(code: string, language: string): TrustedHTML {
  return DOMPurify.sanitize(highlighted(code, language) || markdown.utils.escapeHtml(code), ALLOWED);
}
