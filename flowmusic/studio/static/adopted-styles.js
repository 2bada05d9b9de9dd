// wavesurfer.js writes a <style> element into its shadow root, which the page's policy (no inline style) refuses.
// While `make` runs, such styles become constructed style sheets, which the policy allows.

const STYLE = /<style[^>]*>([\s\S]*?)<\/style>/g;

export function withAdoptedStyles(make) {
  const { attachShadow } = HTMLElement.prototype;
  const inner = Object.getOwnPropertyDescriptor(ShadowRoot.prototype, "innerHTML");
  HTMLElement.prototype.attachShadow = function attach(options) {
    const root = attachShadow.call(this, options);
    Object.defineProperty(root, "innerHTML", {
      configurable: true,
      get: () => inner.get.call(root),
      set(text) {
        const sheets = [...text.matchAll(STYLE)].map(([, rules]) => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(rules);
          return sheet;
        });
        root.adoptedStyleSheets = sheets;
        inner.set.call(root, text.replace(STYLE, ""));
      },
    });
    return root;
  };
  try {
    return make();
  } finally {
    HTMLElement.prototype.attachShadow = attachShadow;
  }
}
